//! A commit: the one message in the log that carries the events of one or many inputs.

use crate::{Digest, Event, EventNumber};
use aho_corasick::{AhoCorasick, MatchKind};
use serde::{Deserialize, Serialize};

/// What one message of the log holds, as MessagePack with named fields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Commit {
    /// The epoch of the King that wrote it.
    pub epoch: u64,
    /// The number of its first event.
    pub first: EventNumber,
    /// BLAKE3 of the bytes of the commit before: so the log is one chain.
    pub previous: Digest,
    /// Up to which sequence the inbox has been worked off.
    pub inbox: u64,
    /// The events, in order.
    #[serde(deserialize_with = "crate::event::in_order")]
    pub events: Vec<Event>,
}

impl Commit {
    /// The number of its last event.
    pub fn last(&self) -> EventNumber {
        self.first + self.events.len() as EventNumber - 1
    }
}

/// Some kinds of events, to be looked for in the bytes of a commit without reading it: the kind of every event stands
/// there as text. A reader of few kinds need not read the rest.
#[derive(Clone, Debug)]
pub struct KindFinder(AhoCorasick);

impl KindFinder {
    /// Looks for kinds that begin with one of these, such as `instance.` or `instance.crashed`.
    ///
    /// # Panics
    /// When there are thousands of them: a bug of the caller.
    pub fn new(kinds: &[&str]) -> Self {
        // Only for the leftmost match are texts looked for many bytes at a time.
        let finder = AhoCorasick::builder().match_kind(MatchKind::LeftmostFirst).build(kinds);
        Self(finder.expect("a few short texts make a small automaton"))
    }

    /// Whether an event of one of the kinds may be in a commit. It says yes too often, and never no wrongly.
    pub fn may_be_in(&self, commit: &[u8]) -> bool {
        self.0.is_match(commit)
    }
}
