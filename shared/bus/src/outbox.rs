//! The outbox of a host: reports that wait for their acknowledgement, numbered from 1 within an epoch.
//!
//! A number is given by [`Outbox::push`]; [`Outbox::barrier`] makes all that was pushed durable, for many callers at
//! once; only then does [`Outbox::pending`] show it. No number is used twice, whatever is lost: numbers are reserved in
//! a synced side file before they are given, and a lost store raises the epoch.

use crate::side_file::Side;
use crate::store::{self, SledStore, Store, StoreError};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most entries that wait.
pub const OUTBOX_COUNT: usize = 100_000;
/// Most bytes that wait.
pub const OUTBOX_BYTES: usize = 64 * 1024 * 1024;
/// How many numbers the side file reserves at a time.
const BLOCK: u64 = 1024;
/// Most entries that one batch of the store deletes.
const DELETE_BATCH: usize = 1024;
/// First byte of the key of an entry.
const ENTRY: u8 = 1;

/// How much an outbox may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub count: usize,
    pub bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { count: OUTBOX_COUNT, bytes: OUTBOX_BYTES }
    }
}

/// Why the outbox failed.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// Nothing is dropped to make room: the caller waits, or drops what is no report of state.
    #[error(
        "the outbox is full: {count} entries of {bytes} bytes wait for their acknowledgement; is the King reachable?"
    )]
    Full { count: usize, bytes: usize },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the side file {path} of the outbox cannot be {tried}", path = path.display())]
    Side {
        path: PathBuf,
        /// What was tried: read, written.
        tried: &'static str,
        #[source]
        source: io::Error,
    },
}

/// An outbox. Clones share it.
#[derive(Clone)]
pub struct Outbox {
    inner: Arc<Inner>,
}

struct Inner {
    store: SledStore,
    side_path: PathBuf,
    bounds: Bounds,
    set_aside: Option<PathBuf>,
    epoch: u64,
    ledger: Mutex<Ledger>,
    /// One flush at a time; who waits here shares the next.
    flushing: tokio::sync::Mutex<()>,
}

/// What is known without reading the store.
#[derive(Clone, Copy, Debug)]
struct Ledger {
    side: Side,
    next: u64,
    /// The last number that is durable.
    durable: u64,
    count: usize,
    bytes: usize,
}

impl fmt::Debug for Outbox {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Outbox")
            .field("epoch", &self.inner.epoch)
            .field("ledger", &*self.inner.ledger())
            .finish_non_exhaustive()
    }
}

impl Outbox {
    /// Opens or makes the outbox in a directory of its own, with the default [`Bounds`].
    ///
    /// # Errors
    /// When the directory cannot be used. A damaged store is no error: it is set aside and the epoch raised.
    pub async fn open(directory: impl AsRef<Path>) -> Result<Self, OutboxError> {
        Self::open_bounded(directory, Bounds::default()).await
    }

    /// As [`Outbox::open`], with other bounds.
    ///
    /// # Errors
    /// As [`Outbox::open`].
    pub async fn open_bounded(directory: impl AsRef<Path>, bounds: Bounds) -> Result<Self, OutboxError> {
        let directory = directory.as_ref().to_owned();
        std::fs::create_dir_all(&directory).map_err(|source| StoreError::Io {
            path: directory.clone(),
            tried: "made",
            source,
        })?;
        let (store_path, side_path) = (directory.join("store"), directory.join("outbox.side"));
        let existed = store_path.exists();
        let opened = store::open(&store_path).await?;
        let kept = existed && opened.set_aside.is_none();
        store::blocking(move || Inner::new(opened, side_path, bounds, kept))
            .await
            .map(|inner| Self { inner: Arc::new(inner) })
    }

    /// The life of this outbox: higher after its store was lost.
    pub fn epoch(&self) -> u64 {
        self.inner.epoch
    }

    /// Where a damaged store was set aside when this one was opened.
    pub fn set_aside(&self) -> Option<&Path> {
        self.inner.set_aside.as_deref()
    }

    /// Takes an entry and gives it its number. It is durable after the next [`Outbox::barrier`].
    ///
    /// # Errors
    /// [`OutboxError::Full`] when a bound is reached; else when the disk fails.
    pub fn push(&self, entry: impl AsRef<[u8]>) -> Result<u64, OutboxError> {
        let entry = entry.as_ref();
        let inner = &self.inner;
        let mut ledger = inner.ledger();
        if ledger.count >= inner.bounds.count || ledger.bytes + entry.len() > inner.bounds.bytes {
            return Err(OutboxError::Full { count: ledger.count, bytes: ledger.bytes });
        }
        if ledger.next > ledger.side.reserved {
            inner.reserve(&mut ledger)?;
        }
        let number = ledger.next;
        inner.store.write(&[(&key(number), entry)], &[])?;
        ledger.next += 1;
        ledger.count += 1;
        ledger.bytes += entry.len();
        Ok(number)
    }

    /// Makes all that was pushed before durable. Many callers share one flush.
    ///
    /// # Errors
    /// When the disk fails; then nothing more is shown by [`Outbox::pending`].
    pub async fn barrier(&self) -> Result<(), OutboxError> {
        let wanted = self.inner.ledger().next - 1;
        let _turn = self.inner.flushing.lock().await;
        if self.inner.ledger().durable >= wanted {
            return Ok(());
        }
        let inner = self.inner.clone();
        store::blocking(move || inner.flush()).await
    }

    /// The oldest durable entries with their numbers, at most so many. They stay until [`Outbox::ack_up_to`].
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn pending(&self, most: usize) -> Result<Vec<(u64, Vec<u8>)>, OutboxError> {
        self.pending_after(0, most)
    }

    /// As [`Outbox::pending`], but only those with a higher number.
    ///
    /// # Errors
    /// As [`Outbox::pending`].
    pub fn pending_after(&self, number: u64, most: usize) -> Result<Vec<(u64, Vec<u8>)>, OutboxError> {
        let durable = self.inner.ledger().durable;
        let mut entries = self.inner.entries(number + 1, most)?;
        entries.retain(|(number, _)| *number <= durable);
        Ok(entries)
    }

    /// Forgets all entries up to and with this number. A crash may bring them back: they are then sent again.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn ack_up_to(&self, number: u64) -> Result<(), OutboxError> {
        let mut ledger = self.inner.ledger();
        ledger.side.acknowledged = ledger.side.acknowledged.max(number.min(ledger.next - 1));
        loop {
            let mut entries = self.inner.entries(0, DELETE_BATCH)?;
            entries.retain(|(entry, _)| *entry <= number);
            if entries.is_empty() {
                return Ok(());
            }
            let keys: Vec<_> = entries.iter().map(|(entry, _)| key(*entry)).collect();
            let keys: Vec<&[u8]> = keys.iter().map(<[u8; 9]>::as_slice).collect();
            self.inner.store.write(&[], &keys)?;
            ledger.count -= entries.len();
            ledger.bytes -= entries.iter().map(|(_, entry)| entry.len()).sum::<usize>();
        }
    }

    /// How many entries wait, durable or not.
    pub fn len(&self) -> usize {
        self.inner.ledger().count
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes wait.
    pub fn bytes(&self) -> usize {
        self.inner.ledger().bytes
    }
}

impl Inner {
    fn new(
        opened: store::Opened,
        side_path: PathBuf,
        bounds: Bounds,
        kept: bool,
    ) -> Result<Self, OutboxError> {
        let side_failed =
            |tried| move |path: PathBuf| move |source| OutboxError::Side { path, tried, source };
        let old = Side::read(&side_path).map_err(side_failed("read")(side_path.clone()))?;
        let side = match old {
            Some(side) if kept => side,
            // The store or the side file was lost. The clock helps where both were, and no memory is left.
            old => Side {
                epoch: store::unix_ms().max(old.map_or(0, |side| side.epoch) + 1),
                acknowledged: 0,
                reserved: 0,
            },
        };
        let mut ledger = Ledger { side, next: 1, durable: 0, count: 0, bytes: 0 };
        let mut last = 0;
        loop {
            let entries = scan(&opened.store, last + 1, DELETE_BATCH)?;
            let Some((number, _)) = entries.last() else { break };
            last = *number;
            ledger.count += entries.len();
            ledger.bytes += entries.iter().map(|(_, entry)| entry.len()).sum::<usize>();
        }
        ledger.next = last.max(side.reserved) + 1;
        ledger.durable = last;
        let (store, set_aside) = (opened.store, opened.set_aside);
        let epoch = side.epoch;
        let flushing = tokio::sync::Mutex::default();
        let inner = Self { store, side_path, bounds, set_aside, epoch, ledger: Mutex::new(ledger), flushing };
        // What survived the process may still lie in the page cache alone.
        inner.store.flush()?;
        inner.reserve(&mut inner.ledger())?;
        Ok(inner)
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // Every change of the ledger is complete before anything in it can panic.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn flush(&self) -> Result<(), OutboxError> {
        let last = self.ledger().next - 1;
        self.store.flush()?;
        let mut ledger = self.ledger();
        ledger.durable = ledger.durable.max(last);
        if ledger.side.reserved < ledger.next + BLOCK / 2 {
            self.reserve(&mut ledger)?;
        }
        Ok(())
    }

    /// Reserves the next block of numbers, on disk before any of them is given.
    fn reserve(&self, ledger: &mut Ledger) -> Result<(), OutboxError> {
        let side = Side { reserved: ledger.next + BLOCK, ..ledger.side };
        side.write(&self.side_path).map_err(|source| OutboxError::Side {
            path: self.side_path.clone(),
            tried: "written",
            source,
        })?;
        ledger.side = side;
        Ok(())
    }

    fn entries(&self, from: u64, most: usize) -> Result<Vec<(u64, Vec<u8>)>, OutboxError> {
        Ok(scan(&self.store, from, most)?)
    }
}

fn scan(store: &SledStore, from: u64, most: usize) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
    let pairs = store.scan(&key(from), most)?;
    Ok(pairs.into_iter().filter_map(|(key, entry)| number(&key).map(|number| (number, entry))).collect())
}

fn key(number: u64) -> [u8; 9] {
    let mut key = [ENTRY; 9];
    key[1..].copy_from_slice(&number.to_be_bytes());
    key
}

fn number(key: &[u8]) -> Option<u64> {
    let (&kind, number) = key.split_first()?;
    (kind == ENTRY).then_some(u64::from_be_bytes(number.try_into().ok()?))
}
