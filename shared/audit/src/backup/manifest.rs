//! The manifest: what a backup holds, and by what it can be checked.

use crate::history::Place;
use events::{Checkpoint, Digest, EventNumber, KingKey, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The manifest of a backup.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of the format.
    pub format: u32,
    pub made_at: Timestamp,
    /// The build that made it.
    pub made_by: String,
    /// The newest commit in it.
    pub place: Place,
    pub epoch: u64,
    /// BLAKE3 of the state after it.
    pub state_hash: Digest,
    /// The keys of the Kings that were elected.
    pub keys: BTreeSet<KingKey>,
    /// What Kings signed about this log, oldest first: those in the log, and one made for the backup if a King answered.
    pub checkpoints: Vec<Checkpoint>,
    pub segments: Vec<Segment>,
    pub states: Vec<StoredState>,
    pub artifacts: Vec<Artifact>,
}

/// An entry of the archive, and how it is checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub name: String,
    /// Its size in the archive.
    pub bytes: u64,
    /// BLAKE3 of it.
    pub hash: Digest,
}

/// Some commits in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    #[serde(flatten)]
    pub entry: Entry,
    pub first_sequence: u64,
    pub last_sequence: u64,
    pub first_event: EventNumber,
    pub last_event: EventNumber,
    /// When its last event was decided.
    pub until: Timestamp,
}

/// A state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredState {
    #[serde(flatten)]
    pub entry: Entry,
    pub place: Place,
}

/// An artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    pub digest: Digest,
    pub bytes: u64,
}

impl Artifact {
    /// Its name in the archive.
    pub fn name(&self) -> String {
        artifact_name(&self.digest)
    }
}

/// The name of an artifact in the archive.
pub fn artifact_name(digest: &Digest) -> String {
    format!("artifacts/{digest}")
}
