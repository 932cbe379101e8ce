//! What the Servant and a runner say to each other over a socket: first the order, with its three descriptors beside its
//! length; then single bytes there and lines of JSON back.

use crate::holder::words::{Confinement, GroupOrder};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What to run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunOrder {
    pub arguments: Vec<String>,
    /// The whole environment.
    pub environment: BTreeMap<String, String>,
    pub directory: PathBuf,
    /// Whether its standard input is a terminal that it shall control.
    pub terminal: bool,
    /// Where what it starts is.
    pub reach: Reach,
    /// The control groups that hold all of it to its limits.
    pub groups: Vec<GroupOrder>,
    /// As whom, and within which limits of each process.
    pub confinement: Confinement,
}

/// Where the processes of a run are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    /// Below the runner, which ends them.
    Runner,
    /// In a container, below the engine: what is left of them is found by its environment.
    Container,
}

/// Ask all of it to end.
pub const TERMINATE: u8 = b'T';
/// End all of it.
pub const KILL: u8 = b'K';

/// What a runner says: started or not, and then the end, when nothing of it is left.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "said", rename_all = "kebab-case")]
pub enum Said {
    Started { pid: u32 },
    NotStarted { reason: String },
    Ended { code: Option<i32>, signal: Option<i32> },
}

/// Largest order: arguments and environment are far below.
pub const ORDER_BYTES: usize = 1 << 20;
