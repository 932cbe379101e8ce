//! The one thing that all of this crate asks of the past: commits in order, places in it, and snapshots.

use bytes::Bytes;
use events::{Commit, Digest, EventNumber, Timestamp, wire};
use realm::{ApplyError, State};
use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A commit of the log and what its end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The sequence of the commit in the log, from 1; 0 before the first.
    pub sequence: u64,
    /// The number of its last event.
    pub event: EventNumber,
    /// BLAKE3 of its bytes.
    pub hash: Digest,
    /// When its last event was decided.
    pub at: Timestamp,
}

impl Place {
    /// Before the first commit.
    pub const START: Self = Self { sequence: 0, event: 0, hash: Digest::ZERO, at: Timestamp(0) };
}

/// A commit as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCommit {
    pub sequence: u64,
    pub bytes: Bytes,
}

impl StoredCommit {
    /// Reads it.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(&self) -> Result<Commit, HistoryError> {
        let sequence = self.sequence;
        wire::decode(&self.bytes)
            .map_err(|source| HistoryError::NoCommit { sequence, reason: source.reason() })
    }

    /// The number of its first event, read without the events; none when it is no commit.
    pub fn first(&self) -> Option<EventNumber> {
        let mut deserializer = rmp_serde::Deserializer::from_read_ref(&self.bytes[..]);
        let mut first = None;
        // The format complains of the fields that are left; by then the wanted one has been read.
        let _ = deserializer.deserialize_map(FirstEvent(&mut first));
        first
    }
}

/// Reads the map of a commit only as far as the field that is wanted, which stands before the events.
struct FirstEvent<'a>(&'a mut Option<EventNumber>);

impl<'de> Visitor<'de> for FirstEvent<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a commit")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<&str>()? {
            if key == "first" {
                *self.0 = Some(map.next_value()?);
                return Ok(());
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

/// A state at a place.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub place: Place,
    pub state: State,
}

/// Why the past cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    #[error("the stored commits cannot be read")]
    Read(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("commit {sequence} is no commit: {reason}; it was changed, or another program wrote it")]
    NoCommit { sequence: u64, reason: String },
    #[error("commit {sequence} does not follow the one before; the log was changed")]
    Broken {
        sequence: u64,
        #[source]
        source: ApplyError,
    },
    #[error("commit {sequence} is missing")]
    Missing { sequence: u64 },
    #[error("the snapshot at commit {sequence} cannot be read: {reason}")]
    Snapshot { sequence: u64, reason: String },
}

impl HistoryError {
    /// An error of what lies beneath.
    pub fn read(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Read(source.into())
    }
}

/// Commits, one after the other.
pub type Commits<'a> = Box<dyn Iterator<Item = Result<StoredCommit, HistoryError>> + 'a>;

/// Stored commits and snapshots, read without waiting for anybody.
pub trait History {
    /// The number of the newest event; 0 when there is none.
    fn newest(&self) -> EventNumber;

    /// The commits after a sequence, in order and without a gap, up to the end.
    ///
    /// # Errors
    /// When they cannot be read.
    fn commits(&self, after: u64) -> Result<Commits<'_>, HistoryError>;

    /// The sequence of the commit that holds an event: the last that begins no later. The event is between 1 and the end.
    ///
    /// # Errors
    /// When that cannot be read.
    fn sequence_of_event(&self, event: EventNumber) -> Result<u64, HistoryError>;

    /// The sequence of the newest commit whose last event was decided no later than this; 0 when there is none.
    ///
    /// # Errors
    /// When that cannot be read.
    fn sequence_of_time(&self, at: Timestamp) -> Result<u64, HistoryError>;

    /// The newest snapshot at a sequence or before it.
    ///
    /// # Errors
    /// When it cannot be read. One that this build cannot read is passed over, as if it were not there.
    fn snapshot_before(&self, sequence: u64) -> Result<Option<Snapshot>, HistoryError>;
}
