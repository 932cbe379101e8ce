//! A King's own copy of the log: its commits and snapshots of the state in sled, and beside them a plain witness file.
//!
//! It lets a King start without reading the whole stream, and it is a witness that does not depend on the stream: what
//! once stood in the log can be told from what stands there now. No answer ever waits for it. Everything here blocks
//! and belongs on a thread of its own.
//!
//! A disk that fails a write or a sync ends it at once: nothing more is taken, whatever a later sync says, and the part that
//! was written is set aside at the next start. What is damaged is set aside under its time too. The clean part before it stays, the rest is to be taken from the stream
//! again. sled is never the only copy: [`mod@witness`] keeps sequence and hash of every commit in files that are synced
//! and can be read by eye.

mod block;
mod commits;
mod place;
mod shelf;
mod shelves;
mod snapshots;
mod thin;
mod witness;

pub use commits::Commits;
pub use place::{Entry, Place};
pub use witness::{Testimony, witnessed_in};

use crate::store::{self, StoreError};
use block::Packer;
use events::{Digest, EventNumber, Timestamp};
use shelves::Shelves;
use snapshots::Snapshots;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use witness::Witness;

/// Holds when the stream was made that the journal is a copy of.
const ORIGIN: &str = "origin";
/// Longest content of that file, in bytes.
const ORIGIN_BYTES: usize = 64;

/// Why the journal failed.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("the store of the journal failed")]
    Store(#[from] StoreError),
    #[error("{path} of the journal cannot be {tried}", path = path.display())]
    Io {
        path: PathBuf,
        /// What was tried: made, read, written.
        tried: &'static str,
        #[source]
        source: io::Error,
    },
    #[error(
        "{path} of the journal cannot be synced, so nothing that was written lately is trusted to be on the disk, and nothing \
         more is written; look at the disk, then start the King again: it makes its journal anew from the log",
        path = path.display()
    )]
    Unsynced {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Something was tried after that.
    #[error("the journal in {path} takes nothing any more: its disk has failed it", path = path.display())]
    Stopped { path: PathBuf },
    #[error("commit {found} does not follow commit {after}, the last of the journal")]
    Gap { after: u64, found: u64 },
    /// The log says something else than it said before.
    #[error(
        "commit {sequence} has the hash {found}, but the journal has seen it with {witnessed}: the log was changed; \
         compare them with kingctl king verify"
    )]
    Contradicted { sequence: u64, witnessed: Digest, found: Digest },
    #[error("a snapshot of {bytes} bytes; from 1 to {most} are kept")]
    SnapshotSize { bytes: usize, most: usize },
    #[error("the journal in {path} is damaged: {reason}; restart the King, which takes what is missing from the log", path = path.display())]
    Damaged { path: PathBuf, reason: String },
}

impl JournalError {
    /// Whether the disk could not do what was asked, so that nobody knows what of it is there.
    pub fn is_of_the_disk(&self) -> bool {
        match self {
            Self::Io { .. } | Self::Unsynced { .. } | Self::Stopped { .. } => true,
            Self::Store(error) => match error {
                StoreError::Io { .. } | StoreError::Unsynced { .. } | StoreError::Stopped { .. } => true,
                StoreError::Damaged { .. } | StoreError::InUse { .. } => false,
            },
            Self::Gap { .. }
            | Self::Contradicted { .. }
            | Self::SnapshotSize { .. }
            | Self::Damaged { .. } => false,
        }
    }
}

/// A journal. Clones are the same.
#[derive(Clone)]
pub struct Journal {
    inner: Arc<Inner>,
}

struct Inner {
    folder: PathBuf,
    writing: Mutex<Writing>,
    shelves: Shelves,
    witness: Mutex<Witness>,
    snapshots: Mutex<Snapshots>,
    set_aside: Vec<PathBuf>,
    /// Whether the disk has failed any part of it.
    stopped: AtomicBool,
}

/// What the one who appends needs.
struct Writing {
    last: Place,
    packer: Packer,
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Journal").field("folder", &self.inner.folder).finish_non_exhaustive()
    }
}

impl Journal {
    /// Opens or makes the journal in a folder of its own. Blocks.
    ///
    /// # Errors
    /// When the folder cannot be used, or another process has the journal open. Damage is no error: what is damaged is
    /// set aside, and [`Journal::last`] tells from where on commits are missing.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, JournalError> {
        let folder = folder.as_ref().to_owned();
        fs::create_dir_all(&folder).map_err(failed("made", &folder))?;
        let mut set_aside = Vec::new();
        let (shelves, end) = Shelves::open(&folder, &mut set_aside)?;
        let mut witness = Witness::open(&folder.join("witness"), &mut set_aside)?;
        let last = match shelves.last_commit(end)? {
            Some(bytes) => witness.place(end, &bytes)?,
            None => Place::START,
        };
        if witness.find(end)?.is_some_and(|known| known.hash != last.hash) {
            set_aside.push(witness.clear("it names another hash for the last commit of the journal")?);
        }
        let snapshots = Snapshots::open(&folder, &mut set_aside)?;
        let writing = Writing { last, packer: Packer::new() };
        let journal = Self {
            inner: Arc::new(Inner {
                folder,
                writing: Mutex::new(writing),
                shelves,
                witness: Mutex::new(witness),
                snapshots: Mutex::new(snapshots),
                set_aside,
                stopped: AtomicBool::new(false),
            }),
        };
        journal.complete_witness()?;
        Ok(journal)
    }

    /// The witness learns what the store knows and it does not.
    fn complete_witness(&self) -> Result<(), JournalError> {
        let known = self.witness_file().last();
        for commit in self.commits(known) {
            let (sequence, bytes) = commit?;
            let place = self.witness_file().place(sequence, &bytes)?;
            self.witness_file().append(place)?;
        }
        self.witness_file().sync()
    }

    /// The folder of the journal.
    pub fn folder(&self) -> &Path {
        &self.inner.folder
    }

    /// What was set aside when the journal was opened, because it was damaged.
    pub fn set_aside(&self) -> &[PathBuf] {
        &self.inner.set_aside
    }

    /// The last commit; [`Place::START`] when there is none.
    pub fn last(&self) -> Place {
        self.writing().last
    }

    /// Appends commits in order. Durable after the next [`Journal::sync`].
    ///
    /// # Errors
    /// When they do not follow the last one, when the witness has seen another commit at their place, or when the disk
    /// fails. What was appended before the bad one stays; after trouble with the disk the journal is to be opened anew.
    pub fn append(&self, entries: &[Entry]) -> Result<(), JournalError> {
        self.on_the_disk(|| self.append_all(entries))
    }

    fn append_all(&self, entries: &[Entry]) -> Result<(), JournalError> {
        let mut writing = self.writing();
        for entry in entries {
            self.check(writing.last, entry)?;
            writing.packer.push(&entry.bytes);
            let is_full = writing.packer.is_full();
            writing.last = entry.place(writing.last);
            self.witness_file().append(writing.last)?;
            if is_full {
                self.inner.shelves.put_block(writing.last.sequence, &mut writing.packer)?;
            }
        }
        let last = writing.last.sequence;
        self.inner.shelves.put_loose(last, &mut writing.packer)
    }

    fn check(&self, last: Place, entry: &Entry) -> Result<(), JournalError> {
        if entry.sequence != last.sequence + 1 {
            return Err(JournalError::Gap { after: last.sequence, found: entry.sequence });
        }
        match self.witness_file().find(entry.sequence)? {
            Some(known) if known.hash != entry.hash => Err(JournalError::Contradicted {
                sequence: entry.sequence,
                witnessed: known.hash,
                found: entry.hash,
            }),
            Some(_) | None => Ok(()),
        }
    }

    /// Makes all that was appended durable.
    ///
    /// # Errors
    /// When the disk fails. Then what was appended since the last sync is not to be counted on, and nothing more is taken.
    pub fn sync(&self) -> Result<(), JournalError> {
        self.on_the_disk(|| {
            self.witness_file().sync()?;
            self.inner.shelves.flush()
        })
    }

    /// Does what takes the disk, unless that has failed any part of the journal before.
    fn on_the_disk<T>(&self, work: impl FnOnce() -> Result<T, JournalError>) -> Result<T, JournalError> {
        if self.inner.stopped.load(Ordering::SeqCst) {
            return Err(JournalError::Stopped { path: self.inner.folder.clone() });
        }
        work().inspect_err(|error| {
            if error.is_of_the_disk() {
                self.inner.stopped.store(true, Ordering::SeqCst);
            }
        })
    }

    /// The commits after a sequence, in order, each with its sequence. Those appended meanwhile may be among them.
    pub fn commits(&self, after: u64) -> Commits {
        Commits::new(self.clone(), after)
    }

    /// The bytes of one commit.
    ///
    /// # Errors
    /// When the journal is damaged there.
    pub fn commit(&self, sequence: u64) -> Result<Option<bytes::Bytes>, JournalError> {
        let Some(before) = sequence.checked_sub(1) else { return Ok(None) };
        let next = self.commits(before).next().transpose()?;
        Ok(next.map(|(_, bytes)| bytes))
    }

    /// The sequence of the commit that holds an event; none when it is not there.
    ///
    /// # Errors
    /// When the witness cannot be read.
    pub fn place_of_event(&self, event: EventNumber) -> Result<Option<u64>, JournalError> {
        self.witness_file().of_event(event)
    }

    /// The sequence of the last commit that is not younger than a time; 0 when all are.
    ///
    /// # Errors
    /// When the witness cannot be read.
    pub fn place_of_time(&self, at: Timestamp) -> Result<u64, JournalError> {
        self.witness_file().of_time(at)
    }

    /// What the witness knows of a commit. It may know of commits that the store has lost.
    ///
    /// # Errors
    /// When the witness cannot be read.
    pub fn witness(&self, sequence: u64) -> Result<Option<Place>, JournalError> {
        self.witness_file().find(sequence)
    }

    /// The last sequence that the witness knows; 0 when it knows none.
    pub fn witnessed(&self) -> u64 {
        self.witness_file().last()
    }

    /// The newest snapshot that was taken at a sequence or before, with its place.
    ///
    /// # Errors
    /// When the disk fails. A damaged snapshot is none: an older one is given.
    pub fn snapshot_before(&self, sequence: u64) -> Result<Option<(Place, Vec<u8>)>, JournalError> {
        self.snapshots().before(sequence)
    }

    /// Keeps a snapshot; makes it durable, and forgets those that it makes superfluous.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn put_snapshot(&self, place: Place, bytes: &[u8]) -> Result<(), JournalError> {
        self.on_the_disk(|| self.snapshots().put(place, bytes))
    }

    /// Forgets a snapshot, because it cannot be read.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn drop_snapshot(&self, sequence: u64) -> Result<(), JournalError> {
        self.snapshots().remove(sequence)
    }

    /// Where snapshots were taken, oldest first.
    pub fn snapshot_places(&self) -> Vec<Place> {
        self.snapshots().places()
    }

    /// When the stream was made that this is a copy of, as [`crate::log::Log::created_at`] tells it.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn origin(&self) -> Result<Option<String>, JournalError> {
        let path = self.inner.folder.join(ORIGIN);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text.trim().chars().take(ORIGIN_BYTES).collect())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(failed("read", &path)(source)),
        }
    }

    /// Notes when the stream was made that this is a copy of.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn set_origin(&self, created_at: &str) -> Result<(), JournalError> {
        let path = self.inner.folder.join(ORIGIN);
        let aside = self.inner.folder.join("origin.new");
        fs::write(&aside, created_at).map_err(failed("written", &aside))?;
        fs::rename(&aside, &path).map_err(failed("written", &path))
    }

    fn writing(&self) -> MutexGuard<'_, Writing> {
        self.inner.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn witness_file(&self) -> MutexGuard<'_, Witness> {
        self.inner.witness.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn snapshots(&self) -> MutexGuard<'_, Snapshots> {
        self.inner.snapshots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sets a whole journal aside under its time; returns where it is now. For a journal of another kingdom.
///
/// # Errors
/// When the file system refuses.
pub fn set_aside(folder: &Path, reason: &str) -> Result<PathBuf, JournalError> {
    Ok(store::set_aside(folder, reason)?)
}

/// Sets aside the stores of a kind that their disk has failed: what they held is taken from the log.
fn set_unsynced_aside(folder: &Path, prefix: &str, aside: &mut Vec<PathBuf>) -> Result<(), JournalError> {
    for entry in fs::read_dir(folder).map_err(failed("read", folder))? {
        let path = entry.map_err(failed("read", folder))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with(prefix) && name.ends_with(".unsynced") {
            aside.push(store::set_aside(&path, "its disk has failed it")?);
        }
    }
    Ok(())
}

fn failed(tried: &'static str, path: &Path) -> impl FnOnce(io::Error) -> JournalError {
    let path = path.to_owned();
    move |source| JournalError::Io { path, tried, source }
}
