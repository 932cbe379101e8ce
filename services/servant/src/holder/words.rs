//! What the Servant and a holder say to each other: one JSON object per line, over a Unix socket.
//!
//! A holder may be older than its Servant, which was replaced meanwhile, and it is never replaced itself while something
//! runs. So words are only ever added to: a new field has a default that means what was meant before, a word that one
//! side does not know is passed over, and [`State::protocol`] tells the Servant what it may order.

pub use events::Slot;

use events::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

/// What this holder understands: 1 knew one process and no sockets.
pub const PROTOCOL: u32 = 2;
/// Most ends of earlier runs that a state tells.
pub const PAST: usize = 16;

/// What the Servant orders.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "kebab-case")]
pub enum Order {
    /// Start the process of a slot; only when none runs there.
    Start(Box<StartOrder>),
    /// Signal all that runs in a slot.
    Signal(SignalOrder),
    /// End: only when nothing runs.
    Leave,
}

/// How to start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StartOrder {
    #[serde(default, skip_serializing_if = "is_first")]
    pub slot: Slot,
    pub arguments: Vec<String>,
    /// The whole environment, but for what the holder adds: `KING_SLOT` and, where there are sockets, `LISTEN_*`.
    pub environment: BTreeMap<String, String>,
    pub directory: PathBuf,
    /// Sockets that the holder listens on and hands over, from descriptor 3 on in this order. It binds each once and
    /// keeps it until a start names it no more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sockets: Vec<SocketOrder>,
    /// Control groups that it runs in, made already; the first holds all of it together.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<GroupOrder>,
    /// What each process may, beside that.
    #[serde(default, skip_serializing_if = "Confinement::is_none")]
    pub confinement: Confinement,
}

/// A control group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupOrder {
    pub path: PathBuf,
    /// Of version 2: a process can be born in it.
    pub is_unified: bool,
}

/// What each process of a slot may.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_files: Option<u64>,
    /// Its own memory, where no control group can limit that of all together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nice: Option<i8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserOrder>,
}

impl Confinement {
    fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// As whom a process runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserOrder {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
}

/// A socket to listen on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SocketOrder {
    /// Its name in `LISTEN_FDNAMES`.
    pub name: String,
    pub address: SocketAddr,
    /// Most connections that wait to be accepted.
    #[serde(default = "backlog")]
    pub backlog: u16,
}

fn backlog() -> u16 {
    4096
}

/// How to end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SignalOrder {
    #[serde(default, skip_serializing_if = "is_first")]
    pub slot: Slot,
    #[serde(flatten)]
    pub told: Told,
    /// How long after it was told to end the holder kills it by itself: the Servant may be gone by then.
    #[serde(default)]
    pub grace_ms: Option<u64>,
    /// What tells it to end, if not SIGTERM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
}

/// How an instance was told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "told", rename_all = "kebab-case")]
pub enum Told {
    /// It was not: it ended by itself.
    Nothing,
    /// By SIGTERM, or what its manifest names: what it leaves behind may end in its own time.
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
    StartFailed(StartFailure),
    /// Recorded before it is said.
    Exited(Exit),
    /// There are new lines in the spool.
    Spooled,
    /// It ends now.
    Left,
}

/// Why a process could not be started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StartFailure {
    #[serde(default, skip_serializing_if = "is_first")]
    pub slot: Slot,
    pub reason: String,
    /// The same may work later.
    pub passing: bool,
    /// The port of a socket that a stranger listens on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// How an instance stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// What the holder understands.
    #[serde(default = "first_protocol")]
    pub protocol: u32,
    /// The last run in slot 0 and, if it has ended, how.
    pub run: Option<Run>,
    pub exit: Option<Exit>,
    /// The same of every other slot in which something ran.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<SlotState>,
    /// The ends of the runs before those, oldest first, at most [`PAST`]: a Servant that was killed may have started a
    /// successor and not told of the end of what was there before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub past: Vec<Exit>,
}

/// The last run in a slot and, if it has ended, how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SlotState {
    pub run: Run,
    pub exit: Option<Exit>,
}

fn first_protocol() -> u32 {
    1
}

impl State {
    /// How a slot stands; none when nothing ran there.
    pub fn slot(&self, slot: Slot) -> Option<SlotState> {
        match slot {
            0 => self.run.clone().map(|run| SlotState { run, exit: self.exit.clone() }),
            other => self.others.iter().find(|state| state.run.slot == other).cloned(),
        }
    }

    /// A process was started: it takes the place of the last in its slot.
    pub fn begin(&mut self, run: Run) {
        let ended = match run.slot {
            0 => {
                self.run = Some(run);
                self.exit.take()
            }
            slot => match self.other(slot) {
                Some(state) => std::mem::replace(state, SlotState { run, exit: None }).exit,
                None => {
                    self.others.push(SlotState { run, exit: None });
                    None
                }
            },
        };
        self.past.extend(ended);
        let surplus = self.past.len().saturating_sub(PAST);
        self.past.drain(..surplus);
    }

    /// The process of a slot has ended.
    pub fn end(&mut self, exit: Exit) {
        match exit.slot {
            0 => self.exit = Some(exit),
            slot => {
                if let Some(state) = self.other(slot) {
                    state.exit = Some(exit);
                }
            }
        }
    }

    fn other(&mut self, slot: Slot) -> Option<&mut SlotState> {
        self.others.iter_mut().find(|state| state.run.slot == slot)
    }

    /// What runs.
    pub fn open(&self) -> Vec<Run> {
        let first = self.run.as_ref().filter(|_| self.exit.is_none());
        let others = self.others.iter().filter(|slot| slot.exit.is_none()).map(|slot| &slot.run);
        first.into_iter().chain(others).cloned().collect()
    }

    /// The number of the last run in any slot; 0 when there was none.
    pub fn last_run(&self) -> u64 {
        let others = self.others.iter().map(|slot| slot.run.run);
        self.run.iter().map(|run| run.run).chain(others).max().unwrap_or(0)
    }
}

/// A process that was started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    #[serde(default, skip_serializing_if = "is_first")]
    pub slot: Slot,
    /// From 1, over all slots and all holders of the instance.
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
    #[serde(default, skip_serializing_if = "is_first")]
    pub slot: Slot,
    pub run: u64,
    pub pid: u32,
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub at: Timestamp,
    pub uptime_ms: u64,
    #[serde(flatten)]
    pub told: Told,
    /// Something of it was killed because its memory was used up.
    #[serde(default, skip_serializing_if = "is_not")]
    pub out_of_memory: bool,
}

fn is_not(so: &bool) -> bool {
    !so
}

fn is_first(slot: &Slot) -> bool {
    *slot == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_the_first_protocol_still_mean_the_same() {
        let start = r#"{"order":"start","arguments":["a"],"environment":{"B":"c"},"directory":"/d"}"#;
        let Order::Start(start) = serde_json::from_str(start).unwrap() else { panic!() };
        assert_eq!((start.slot, start.sockets.len(), start.arguments[0].as_str()), (0, 0, "a"));
        let signal: Order =
            serde_json::from_str(r#"{"order":"signal","told":"terminate","grace_ms":7}"#).unwrap();
        let expected = SignalOrder { slot: 0, told: Told::Terminate, grace_ms: Some(7), signal: None };
        assert_eq!(signal, Order::Signal(expected));
        let state =
            r#"{"said":"state","run":{"run":3,"pid":9,"start_ticks":5,"boot":"b","at":1},"exit":null}"#;
        let Said::State(state) = serde_json::from_str(state).unwrap() else { panic!() };
        assert_eq!((state.protocol, state.open().len(), state.last_run()), (1, 1, 3));
        let failed = r#"{"said":"start-failed","reason":"r","passing":true}"#;
        let Said::StartFailed(failed) = serde_json::from_str(failed).unwrap() else { panic!() };
        assert_eq!((failed.slot, failed.passing, failed.port), (0, true, None));
    }

    #[test]
    fn a_holder_of_the_first_protocol_reads_what_it_needs() {
        let order =
            Order::Start(Box::new(StartOrder { arguments: vec!["a".into()], ..StartOrder::default() }));
        let text = serde_json::to_string(&order).unwrap();
        assert_eq!(text, r#"{"order":"start","arguments":["a"],"environment":{},"directory":""}"#);
    }

    #[test]
    fn ends_that_a_successor_follows_are_kept_up_to_a_bound() {
        let mut state = State::default();
        for number in 1..=40_u64 {
            let (slot, pid, at) = ((number % 2) as Slot, 1, Timestamp(1));
            state.begin(Run { slot, run: number, pid, start_ticks: 1, boot: String::new(), at });
            let (code, signal, uptime_ms, told) = (Some(0), None, 0, Told::Nothing);
            let out_of_memory = false;
            state.end(Exit { slot, run: number, pid, code, signal, at, uptime_ms, told, out_of_memory });
        }
        assert_eq!((state.last_run(), state.open().len()), (40, 0));
        let past: Vec<u64> = state.past.iter().map(|exit| exit.run).collect();
        assert_eq!(past, (23..=38).collect::<Vec<u64>>());
    }
}
