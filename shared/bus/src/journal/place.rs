//! Where a commit stands, and a commit on its way into the journal.

use bytes::Bytes;
use events::{Commit, Digest, EventNumber, Timestamp};

/// A commit's place in the log: everything up to and with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its sequence in the stream, from 1.
    pub sequence: u64,
    /// BLAKE3 of its bytes.
    pub hash: Digest,
    /// The number of its first event.
    pub first: EventNumber,
    /// The number of its last event; `first - 1` when it has none.
    pub event: EventNumber,
    /// When its last event was decided.
    pub at: Timestamp,
}

impl Place {
    /// The place before the first commit.
    pub const START: Self = Self { sequence: 0, hash: Digest::ZERO, first: 0, event: 0, at: Timestamp(0) };
}

/// A commit to be appended.
#[derive(Clone, Debug)]
pub struct Entry {
    pub sequence: u64,
    pub hash: Digest,
    /// The number of its first event.
    pub first: EventNumber,
    /// How many events it has.
    pub events: u64,
    /// When its last event was decided; none when it has no event.
    pub at: Option<Timestamp>,
    pub bytes: Bytes,
}

impl Entry {
    /// The entry of a commit that stands at a sequence as these bytes, which have this hash.
    pub fn of(sequence: u64, commit: &Commit, hash: Digest, bytes: Bytes) -> Self {
        Self {
            sequence,
            hash,
            first: commit.first,
            events: commit.events.len() as u64,
            at: commit.events.last().map(|event| event.at),
            bytes,
        }
    }

    pub(super) fn place(&self, before: Place) -> Place {
        Place {
            sequence: self.sequence,
            hash: self.hash,
            first: self.first,
            event: (self.first + self.events).saturating_sub(1),
            at: self.at.unwrap_or(before.at).max(before.at),
        }
    }
}
