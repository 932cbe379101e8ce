//! A commit: the one message in the log that carries the events of one or many inputs.

use crate::{Digest, Event, EventNumber};
use memchr::memmem;
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
    pub events: Vec<Event>,
}

impl Commit {
    /// The number of its last event.
    pub fn last(&self) -> EventNumber {
        self.first + self.events.len() as EventNumber - 1
    }

    /// Whether the bytes of a commit may hold an event whose kind begins with one of these, such as `instance.`. It says yes too often and never no
    /// wrongly: the kind of every event stands in the bytes as text. So a reader of few nouns need not read the rest.
    pub fn may_tell_of(payload: &[u8], kinds: &[&str]) -> bool {
        kinds.iter().any(|kind| memmem::find(payload, kind.as_bytes()).is_some())
    }
}
