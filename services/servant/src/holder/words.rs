//! What the Servant and a holder say to each other: one JSON object per line, over a Unix socket.

use events::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What the Servant orders.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "kebab-case")]
pub enum Order {
    /// Start the process; only when none runs.
    Start(StartOrder),
    /// Signal the whole group.
    Signal(SignalOrder),
    /// End: only when nothing runs.
    Leave,
}

/// How to start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StartOrder {
    pub arguments: Vec<String>,
    /// The whole environment.
    pub environment: BTreeMap<String, String>,
    pub directory: PathBuf,
}

/// How to end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SignalOrder {
    #[serde(flatten)]
    pub told: Told,
    /// How long after SIGTERM the holder sends SIGKILL by itself: the Servant may be gone by then.
    #[serde(default)]
    pub grace_ms: Option<u64>,
}

/// How an instance was told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "told", rename_all = "kebab-case")]
pub enum Told {
    /// It was not: it ended by itself.
    Nothing,
    /// SIGTERM: what it leaves behind may end in its own time.
    Terminate,
    /// SIGKILL.
    Kill,
}

/// What a holder says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "said", rename_all = "kebab-case")]
pub enum Said {
    /// First on every connection.
    State(State),
    Started(Run),
    /// `passing`: the same may work later.
    StartFailed {
        reason: String,
        passing: bool,
    },
    /// Recorded and synced before it is said.
    Exited(Exit),
    /// There are new lines in the spool.
    Spooled,
    /// It ends now.
    Left,
}

/// The last run and, if it has ended, how.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    pub run: Option<Run>,
    pub exit: Option<Exit>,
}

/// A process that was started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// From 1, over all holders of the instance.
    pub run: u64,
    pub pid: u32,
    /// When it was started, in clock ticks since boot; with `boot` it tells a process from its namesakes.
    pub start_ticks: u64,
    pub boot: String,
    pub at: Timestamp,
}

/// The end of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exit {
    pub run: u64,
    pub pid: u32,
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub at: Timestamp,
    pub uptime_ms: u64,
    #[serde(flatten)]
    pub told: Told,
}
