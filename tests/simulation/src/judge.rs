//! The judge: it sees everything that is stored, told and done, and knows what must never be.
//!
//! It keeps its own fold of the log and compares everybody with it. The first thing that is wrong ends the run. What it
//! checks are the invariants of ARCHITECTURE, one function each.

mod log;
mod hosts;
mod told;

pub use hosts::Process;

use crate::jetstream::{JetStream, Message};
use crate::world::net::Micros;
use crate::world::packet::Node;
use events::subject::{INBOX_STREAM, LOG_SUBJECT};
use log::LogJudge;
use std::collections::BTreeMap;

/// What must never be, and was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which invariant.
    pub rule: &'static str,
    pub what: String,
}

/// The judge.
#[derive(Default)]
pub struct Judge {
    names: Vec<String>,
    violation: Option<Violation>,
    pub(crate) log: LogJudge,
    hosts: hosts::HostsJudge,
    told: told::ToldJudge,
    views: BTreeMap<String, events::view::Stamp>,
    published: u64,
    /// Kings that write, as far as they know: their nodes with the epochs.
    reigning: BTreeMap<Node, u64>,
}

impl Judge {
    /// The names of the nodes, for what is written.
    pub fn introduce(&mut self, names: Vec<String>) {
        self.names = names;
    }

    /// The name of a node.
    pub fn name(&self, node: Node) -> String {
        self.names.get(node).cloned().unwrap_or_else(|| "server".to_owned())
    }

    /// The first thing that was wrong.
    pub fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    /// Something is wrong.
    pub fn blame(&mut self, rule: &'static str, what: impl FnOnce() -> String) {
        if self.violation.is_none() {
            self.violation = Some(Violation { rule, what: what() });
        }
    }

    fn require(&mut self, holds: bool, rule: &'static str, what: impl FnOnce() -> String) {
        if !holds {
            self.blame(rule, what);
        }
    }

    /// Something was stored in a stream.
    pub fn stored(&mut self, by: Node, message: &Message, sequence: u64, jetstream: &JetStream, _: Micros) {
        let subject = message.subject.as_str();
        if subject == LOG_SUBJECT {
            self.committed(by, message, sequence);
        } else if let Some(key) = subject.strip_prefix("$KV.KING_VIEWS.") {
            self.viewed(key, message);
        } else if subject.starts_with("king.event.") {
            self.publicised(message);
        } else if subject.starts_with("king.queue.") {
            let state = jetstream.stream(INBOX_STREAM).map(|stream| stream.state().created);
            self.queued(message, sequence, state.unwrap_or_default());
        }
    }

    /// A King takes itself for the writer from now on; whether another does so too.
    pub fn reigns(&mut self, node: Node, epoch: u64) -> bool {
        self.reigning.insert(node, epoch);
        self.reigning.len() > 1
    }

    /// A King no longer takes itself for the writer.
    pub fn retires(&mut self, node: Node) {
        self.reigning.remove(&node);
    }

    /// A process is dead.
    pub fn died(&mut self, node: Node) {
        self.retires(node);
    }

    /// The number of the last event that was published for everybody.
    pub fn published(&self) -> u64 {
        self.published
    }

    /// Public events come once, in order, and only what is stored.
    fn publicised(&mut self, message: &Message) {
        let number = message.header("ce-id").and_then(|id| id.parse::<u64>().ok()).unwrap_or_default();
        let wanted = self.published + 1;
        self.require(number == wanted, "public events once and in order", || {
            format!("event {number} was published where {wanted} should be")
        });
        let stored = self.log.event(number).map(events::wire::encode);
        self.require(stored.as_deref() == Some(&message.payload), "public events are stored events", || {
            format!("public event {number} is not the event of the log")
        });
        self.published = number;
    }

    /// A view shows a stored place whole, and never an earlier one than before.
    fn viewed(&mut self, key: &str, message: &Message) {
        let Ok(stamp) = events::wire::decode::<events::view::Stamp>(&message.payload) else {
            return self.blame("views are stamped", || format!("{key} has no stamp"));
        };
        let before = self.views.insert(key.to_owned(), stamp);
        self.require(before.is_none_or(|before| before < stamp), "views never go back", || {
            format!("{key} went from {before:?} to {stamp:?}")
        });
        let expected = self.log.view(key, stamp.event);
        self.require(expected.as_deref() == Some(&message.payload), "views rest on stored events", || {
            format!("{key} at {stamp:?} is not what the log says at that place")
        });
    }
}
