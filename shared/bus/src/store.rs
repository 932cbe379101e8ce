//! The small trait behind which the local store stands, and its one implementation: sled.
//!
//! sled's flush survives the death of the process but not surely a loss of power, and its file format is not trusted:
//! every value carries its own checksum and version, opening is guarded, and what is damaged is set aside.
//!
//! After a sync that failed the system has let go of what it could not write, and the next sync says that all is well
//! (Rebello and others, "Can Applications Recover from fsync Failures?", 2020). So nothing more is written then: the store
//! is renamed at once, and at the next start what can be read in it is written into a new one ([`mod@salvage`]).

mod salvage;

pub(crate) use salvage::unsynced;

use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::watch;

/// Version of the shape of what is stored: the first byte of every value.
const SCHEMA: u8 = 1;
/// Bytes before the value: the version and the checksum.
const HEAD: usize = 5;
/// Memory for the cache.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;

/// Why the local store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the local store in {path} cannot be {tried}", path = path.display())]
    Io {
        path: PathBuf,
        /// What was tried: made, opened, read, written, set aside.
        tried: &'static str,
        #[source]
        source: io::Error,
    },
    /// What was written lately may not be there, whatever a later sync says.
    #[error(
        "the local store in {path} cannot be {tried}, so nothing that was written lately is trusted to be on the disk, and \
         nothing more is written; look at the disk, then start this program again: {next}",
        path = path.display(), next = salvage::NEXT
    )]
    Unsynced {
        path: PathBuf,
        /// What was tried: written, flushed.
        tried: &'static str,
        #[source]
        source: io::Error,
    },
    /// Something was tried after that.
    #[error(
        "the local store in {path} takes nothing any more: its disk has failed it; look at the disk, then start this program \
         again: {next}",
        path = path.display(), next = salvage::NEXT
    )]
    Stopped { path: PathBuf },
    #[error("the local store in {path} is damaged: {reason}", path = path.display())]
    Damaged { path: PathBuf, reason: String },
    #[error(
        "the local store in {path} is in use by another process; is the same service running twice?",
        path = path.display()
    )]
    InUse { path: PathBuf },
}

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// An ordered map of bytes on disk. Writes are atomic per call and durable after [`Store::flush`].
pub(crate) trait Store: Send + Sync + 'static {
    /// Writes all, then deletes all, as one.
    fn write(&self, put: &[(&[u8], &[u8])], delete: &[&[u8]]) -> Result<(), StoreError>;
    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;
    /// Pairs from a key on, in order, at most so many.
    fn scan(&self, from: &[u8], most: usize) -> Result<Vec<Pair>, StoreError>;
    /// The pair with the greatest key that is not above this one.
    fn at_or_before(&self, key: &[u8]) -> Result<Option<Pair>, StoreError>;
    /// Makes everything written before durable. Blocks.
    fn flush(&self) -> Result<(), StoreError>;
    /// How many bytes the store has on disk.
    fn bytes_on_disk(&self) -> Result<u64, StoreError>;
}

/// sled, used with care.
pub(crate) struct SledStore {
    path: PathBuf,
    /// There until the end.
    tree: Option<sled::Db>,
    /// Whether the disk has failed it.
    stopped: watch::Sender<bool>,
}

impl SledStore {
    /// Opens or makes the store in a directory. Blocks.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let store = Self::load(path)?;
        // What a process wrote that was killed before it could sync may lie in the memory of the system alone.
        store.sync_file().map_err(|source| store.stop("synced", source))?;
        Ok(store)
    }

    fn load(path: &Path) -> Result<Self, StoreError> {
        let config = sled::Config::new()
            .path(path)
            .mode(sled::Mode::LowSpace)
            .cache_capacity(CACHE_BYTES)
            .flush_every_ms(None);
        let opened = catch_unwind(AssertUnwindSafe(|| config.open()));
        let tree = match opened {
            Ok(opened) => opened.map_err(|error| judge(path, "opened", error))?,
            Err(_) => return Err(damaged(path, "opening it panicked".to_owned())),
        };
        let store = Self { path: path.to_owned(), tree: Some(tree), stopped: watch::Sender::new(false) };
        store.check()?;
        Ok(store)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn sync_file(&self) -> io::Result<()> {
        File::open(self.path.join("db"))?.sync_data()
    }

    fn tree(&self) -> &sled::Db {
        self.tree.as_ref().expect("it is there until the store is dropped")
    }

    fn is_usable(&self) -> Result<(), StoreError> {
        let is_stopped = *self.stopped.borrow();
        if is_stopped { Err(StoreError::Stopped { path: self.path.clone() }) } else { Ok(()) }
    }

    fn write_no_more(&self) {
        self.stopped.send_replace(true);
    }

    /// Finds a failure that a flush under way may have missed; see [`flushing`].
    pub(crate) fn look_for_failure(&self) {
        if let Err(error) = self.tree().flush() {
            tracing::warn!(path = %self.path.display(), %error, "a flush that stood still is woken");
        }
    }

    /// Waits until the disk has failed it.
    pub(crate) async fn fails(&self) {
        let mut stopped = self.stopped.subscribe();
        // The sender lives as long as this store does.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    }

    /// Takes nothing more, and renames the store: whoever opens it next must not take it for whole.
    fn stop(&self, tried: &'static str, source: io::Error) -> StoreError {
        if self.stopped.send_replace(true) {
            return StoreError::Stopped { path: self.path.clone() };
        }
        let (path, to) = (self.path.clone(), unsynced(&self.path));
        tracing::error!(path = %path.display(), tried, error = %source, "the disk has failed a local store; it takes nothing more");
        if let Err(error) = fs::rename(&path, &to) {
            tracing::error!(path = %path.display(), %error, "a store that cannot be trusted cannot be renamed; remove it by hand");
        }
        StoreError::Unsynced { path, tried, source }
    }

    /// Whether an error of a write is one of the disk, after which nothing more is written.
    fn failed(&self, tried: &'static str, error: sled::Error) -> StoreError {
        match judge(&self.path, tried, error) {
            StoreError::Io { source, .. } => self.stop(tried, source),
            other => other,
        }
    }

    /// Reads everything once: a damaged value is found at the start and not in the middle of the work.
    fn check(&self) -> Result<(), StoreError> {
        let all = catch_unwind(AssertUnwindSafe(|| {
            self.tree().iter().try_for_each(|pair| self.pair(pair).map(|_| ()))
        }));
        all.unwrap_or_else(|_| Err(damaged(&self.path, "reading it panicked".to_owned())))
    }

    fn pair(&self, pair: sled::Result<(sled::IVec, sled::IVec)>) -> Result<Pair, StoreError> {
        let (key, value) = pair.map_err(|error| judge(&self.path, "read", error))?;
        let value = self.unseal(&key, &value)?;
        Ok((key.to_vec(), value))
    }

    fn unseal(&self, key: &[u8], sealed: &[u8]) -> Result<Vec<u8>, StoreError> {
        let (head, value) = sealed
            .split_at_checked(HEAD)
            .ok_or_else(|| damaged(&self.path, "a value is cut short".to_owned()))?;
        if head[0] != SCHEMA {
            return Err(damaged(&self.path, format!("a value has the unknown version {}", head[0])));
        }
        if head[1..] != checksum(key, value).to_le_bytes() {
            return Err(damaged(&self.path, "a value fails its checksum".to_owned()));
        }
        Ok(value.to_vec())
    }
}

impl Drop for SledStore {
    /// sled syncs once more at its end, and panics when that fails.
    fn drop(&mut self) {
        let tree = self.tree.take();
        if catch_unwind(AssertUnwindSafe(|| drop(tree))).is_err() {
            self.stop("closed", io::Error::other("its last sync failed"));
        }
    }
}

impl Store for SledStore {
    fn write(&self, put: &[(&[u8], &[u8])], delete: &[&[u8]]) -> Result<(), StoreError> {
        self.is_usable()?;
        let written = match (put, delete) {
            // A batch writes what is before it and its own beginning to the disk at once: for one key that is all of the
            // cost and no use.
            ([(key, value)], []) => self.tree().insert(key, seal(key, value)).map(drop),
            ([], [key]) => self.tree().remove(key).map(drop),
            _ => self.tree().apply_batch(batch(put, delete)),
        };
        written.map_err(|error| self.failed("written", error))
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let found = self.tree().get(key).map_err(|error| judge(&self.path, "read", error))?;
        found.map(|sealed| self.unseal(key, &sealed)).transpose()
    }

    fn scan(&self, from: &[u8], most: usize) -> Result<Vec<Pair>, StoreError> {
        self.tree().range(from..).take(most).map(|pair| self.pair(pair)).collect()
    }

    fn at_or_before(&self, key: &[u8]) -> Result<Option<Pair>, StoreError> {
        let found = self.tree().range(..=key).next_back();
        found.map(|pair| self.pair(pair)).transpose()
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.is_usable()?;
        let flushed = self.tree().flush();
        let_go();
        flushed.map(|_| ()).map_err(|error| self.failed("flushed", error))
    }

    fn bytes_on_disk(&self) -> Result<u64, StoreError> {
        self.tree().size_on_disk().map_err(|error| judge(&self.path, "measured", error))
    }
}

fn batch(put: &[(&[u8], &[u8])], delete: &[&[u8]]) -> sled::Batch {
    let mut batch = sled::Batch::default();
    for (key, value) in put {
        batch.insert(*key, seal(key, value));
    }
    for key in delete {
        batch.remove(*key);
    }
    batch
}

/// Each flush leaves a buffer of 512 KiB to be freed by its thread, once that has collected 64 of them. Flushes come from
/// many threads, and few from each: what they hold together would grow for hours.
fn let_go() {
    crossbeam_epoch::pin().flush();
}

fn seal(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(HEAD + value.len());
    sealed.push(SCHEMA);
    sealed.extend_from_slice(&checksum(key, value).to_le_bytes());
    sealed.extend_from_slice(value);
    sealed
}

/// Over key and value, so that a value under the wrong key shows.
fn checksum(key: &[u8], value: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(value);
    hasher.finalize()
}

pub(crate) fn damaged(path: &Path, reason: String) -> StoreError {
    StoreError::Damaged { path: path.to_owned(), reason }
}

/// Whether an error of sled means damage, another owner, or trouble with the disk that may pass.
fn judge(path: &Path, tried: &'static str, error: sled::Error) -> StoreError {
    match error {
        sled::Error::Io(source) if is_lock(&source) => StoreError::InUse { path: path.to_owned() },
        sled::Error::Io(source) if is_damage(&source) => damaged(path, source.to_string()),
        sled::Error::Io(source) => StoreError::Io { path: path.to_owned(), tried, source },
        other => damaged(path, other.to_string()),
    }
}

fn is_lock(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || error.to_string().contains("could not acquire lock")
}

fn is_damage(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
        || (error.kind() == io::ErrorKind::Other && error.raw_os_error().is_none())
}

/// How often a store that another process holds is tried again: a killed predecessor lets go a moment later.
const LOCK_ATTEMPTS: usize = 10;

/// An opened store, and where its damaged forerunner was set aside.
pub(crate) struct Opened {
    pub store: SledStore,
    pub set_aside: Option<PathBuf>,
}

/// Opens the store in a directory; sets a damaged one aside under its time and starts empty.
pub(crate) async fn open(path: &Path) -> Result<Opened, StoreError> {
    let mut backoff = crate::retry::Backoff::default();
    for _ in 1..LOCK_ATTEMPTS {
        match open_once(path).await {
            Err(StoreError::InUse { .. }) => backoff.wait().await,
            opened => return opened,
        }
    }
    open_once(path).await
}

/// Opens the store in a directory, tried again while another holds it. Blocks; a damaged one is an error here.
pub(crate) fn open_patiently(path: &Path) -> Result<SledStore, StoreError> {
    for attempt in 1..LOCK_ATTEMPTS {
        match SledStore::open(path) {
            Err(StoreError::InUse { .. }) => std::thread::park_timeout(crate::retry::delay(attempt)),
            opened => return opened,
        }
    }
    SledStore::open(path)
}

async fn open_once(path: &Path) -> Result<Opened, StoreError> {
    let path = path.to_owned();
    blocking(move || match salvage::open(&path) {
        Ok(store) => Ok(Opened { store, set_aside: None }),
        Err(StoreError::Damaged { reason, .. }) => {
            let aside = set_aside(&path, &reason)?;
            Ok(Opened { store: SledStore::open(&path)?, set_aside: Some(aside) })
        }
        Err(error) => Err(error),
    })
    .await
}

/// A path whose name goes on.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Renames what is damaged, so that it is out of the way and can still be looked at.
pub(crate) fn set_aside(path: &Path, reason: &str) -> Result<PathBuf, StoreError> {
    let aside = beside(path, &format!(".damaged-{}", unix_ms()));
    tracing::error!(path = %path.display(), aside = %aside.display(), reason, "damaged local store set aside");
    fs::rename(path, &aside).map_err(|source| StoreError::Io {
        path: path.to_owned(),
        tried: "set aside",
        source,
    })?;
    Ok(aside)
}

/// The time, for the names of what is set aside and for epochs that must be higher than forgotten ones.
#[allow(clippy::disallowed_methods, reason = "the one clock of this crate; nothing is ordered by it alone")]
pub(crate) fn unix_ms() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// After so long somebody looks whether sled waits for a write that has failed.
const LOOK_AFTER: Duration = Duration::from_secs(5);

/// Runs a flush. Where one thread writes and another flushes, sled may not tell the second that the first has failed, which
/// then waits for ever: a flush beside it finds the failure, and wakes it.
pub(crate) async fn flushing<T: Send + 'static>(
    flush: impl FnOnce() -> T + Send + 'static,
    look: impl Fn() + Clone + Send + 'static,
) -> T {
    let flushed = blocking(flush);
    tokio::pin!(flushed);
    let mut looking: Option<tokio::task::JoinHandle<()>> = None;
    loop {
        if let Ok(flushed) = tokio::time::timeout(LOOK_AFTER, &mut flushed).await {
            return flushed;
        }
        if looking.as_ref().is_none_or(tokio::task::JoinHandle::is_finished) {
            looking = Some(tokio::task::spawn_blocking(look.clone()));
        }
    }
}

/// Runs what may block where it holds nobody up.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => std::future::pending().await,
        },
    }
}
