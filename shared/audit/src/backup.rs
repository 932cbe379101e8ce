//! A backup: the whole log up to a place, states on the way, and every artifact that the last state needs, in one file.
//!
//! It is a tar archive that any `tar` lists: `commits/<first sequence>.zst` (each commit as four bytes of length,
//! big-endian, and its bytes), `states/<sequence>.zst` (MessagePack), `artifacts/<digest>`, then `manifest.json` with
//! the size and BLAKE3 of each, and last `manifest.b3` with that of the manifest. What was cut short has no manifest.

pub mod manifest;
pub mod write;
pub mod read;

pub use manifest::Manifest;
pub use read::Backup;
pub use write::Writer;

use crate::history::HistoryError;
use events::{Digest, EventNumber};
use realm::{ApplyError, State};
use std::collections::BTreeSet;
use std::io;

/// The version of the format that is written.
pub const FORMAT: u32 = 1;
/// Bytes of commits after which a new segment begins.
const SEGMENT_BYTES: usize = 2 * 1024 * 1024;
/// A segment never holds more than this unpacked: its bytes and one more commit.
const UNPACKED_BYTES: u64 = 16 * 1024 * 1024;
/// Largest state that is unpacked.
const STATE_BYTES: u64 = 4 * 1024 * 1024 * 1024;
/// Largest manifest.
const MANIFEST_BYTES: u64 = 256 * 1024 * 1024;
/// A state is kept after so many events, so that any moment is near one.
pub const STATE_EVERY: EventNumber = 50_000;
/// How hard commits and states are packed.
const LEVEL: i32 = 3;

/// Why a backup cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("the backup cannot be {tried}")]
    Io {
        /// What was tried: read, written.
        tried: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("it is no backup, or was cut short: {reason}; make it anew with `kingctl backup create`")]
    NotABackup { reason: String },
    #[error(
        "the backup has format {found}; this build reads {FORMAT}: use the kingctl that made it, or a newer one"
    )]
    Format { found: u32 },
    #[error("{name} in the backup is damaged: {reason}; take another copy of the file")]
    Damaged { name: String, reason: String },
    #[error("commit {sequence} does not follow the one before it: {reason}")]
    Unchained { sequence: u64, reason: String },
    #[error("commit {sequence} cannot be folded")]
    Broken {
        sequence: u64,
        #[source]
        source: ApplyError,
    },
    #[error("the commits of the backup cannot be read")]
    History(#[from] HistoryError),
    #[error("replaying the backup gives the state {found}, but it was made of {wanted}")]
    OtherState { wanted: Digest, found: Digest },
}

fn io_error(tried: &'static str) -> impl Fn(io::Error) -> BackupError {
    move |source| BackupError::Io { tried, source }
}

/// The artifacts that a state needs: Git bundles, release archives and images.
pub fn reachable(state: &State) -> BTreeSet<Digest> {
    let apps = state.apps.values();
    apps.flat_map(|app| {
        let archives = app.versions.values().map(|version| version.archive);
        let added = app.images.values().map(|held| held.archive);
        let built = app.versions.values().flat_map(|version| version.built.values()).map(|held| held.archive);
        let kept = app.releases.values().flat_map(|release| release.images.values().copied());
        app.bundles.iter().copied().chain(archives).chain(added).chain(built).chain(kept)
    })
    .collect()
}
