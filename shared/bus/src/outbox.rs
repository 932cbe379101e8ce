//! The outbox of a host: reports that wait for their acknowledgement, numbered from 1 within an epoch.
//!
//! A number is given by [`Outbox::push`]; [`Outbox::barrier`] makes all that was pushed durable, for many callers at
//! once; only then does [`Outbox::pending`] show it. No number is used twice, whatever is lost: numbers are reserved in
//! a synced side file before they are given, and a lost store raises the epoch.

pub mod ledger;

use crate::store::{self, SledStore, Store, StoreError};
use ledger::{Holding, Kept, Ledger, Offer, Side, Synced};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use ledger::{Bounds, OUTBOX_BYTES, OUTBOX_COUNT};

/// Most entries that one batch of the store deletes.
const DELETE_BATCH: usize = 1024;
/// First byte of the key of an entry.
const ENTRY: u8 = 1;

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
    set_aside: Option<PathBuf>,
    epoch: u64,
    ledger: Mutex<Ledger>,
    /// One flush at a time; who waits here shares the next.
    flushing: tokio::sync::Mutex<()>,
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
        let existed = store_path.exists() || store::unsynced(&store_path).exists();
        let opened = store::open(&store_path).await?;
        let kept = if existed && opened.set_aside.is_none() { Kept::Yes } else { Kept::No };
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
        loop {
            match ledger.offer(entry.len()) {
                Offer::Full => {
                    return Err(OutboxError::Full { count: ledger.count(), bytes: ledger.bytes() });
                }
                Offer::Stopped => {
                    return Err(StoreError::Stopped { path: inner.store.path().to_owned() }.into());
                }
                Offer::Reserve(side) => inner.reserve(&mut ledger, side)?,
                Offer::Take(number) => {
                    inner.store.write(&[(&key(number), entry)], &[])?;
                    ledger.taken(entry.len());
                    return Ok(number);
                }
            }
        }
    }

    /// Makes all that was pushed before durable. Many callers share one flush.
    ///
    /// # Errors
    /// When the disk fails; then nothing more is shown by [`Outbox::pending`].
    pub async fn barrier(&self) -> Result<(), OutboxError> {
        let wanted = self.inner.ledger().last();
        let _turn = self.inner.flushing.lock().await;
        if self.inner.ledger().shows(wanted) {
            return Ok(());
        }
        let (inner, looking) = (self.inner.clone(), self.inner.clone());
        store::flushing(move || inner.flush(), move || looking.store.look_for_failure()).await
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
        let ledger = *self.inner.ledger();
        let mut entries = self.inner.entries(number + 1, most)?;
        entries.retain(|(number, _)| ledger.shows(*number));
        Ok(entries)
    }

    /// Forgets all entries up to and with this number. A crash may bring them back: they are then sent again.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn ack_up_to(&self, number: u64) -> Result<(), OutboxError> {
        let mut ledger = self.inner.ledger();
        ledger.acknowledged(number);
        loop {
            let mut entries = self.inner.entries(0, DELETE_BATCH)?;
            entries.retain(|(entry, _)| *entry <= number);
            if entries.is_empty() {
                return Ok(());
            }
            let keys: Vec<_> = entries.iter().map(|(entry, _)| key(*entry)).collect();
            let keys: Vec<&[u8]> = keys.iter().map(<[u8; 9]>::as_slice).collect();
            self.inner.store.write(&[], &keys)?;
            ledger.deleted(entries.len(), entries.iter().map(|(_, entry)| entry.len()).sum());
        }
    }

    /// Waits until the disk fails: from then on nothing is taken, and whoever holds it had better start again.
    pub async fn fails(&self) -> OutboxError {
        self.inner.store.fails().await;
        StoreError::Stopped { path: self.inner.store.path().to_owned() }.into()
    }

    /// How many entries wait, durable or not.
    pub fn len(&self) -> usize {
        self.inner.ledger().count()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes wait.
    pub fn bytes(&self) -> usize {
        self.inner.ledger().bytes()
    }
}

impl Inner {
    fn new(
        opened: store::Opened,
        side_path: PathBuf,
        bounds: Bounds,
        kept: Kept,
    ) -> Result<Self, OutboxError> {
        let old = Side::read(&side_path).map_err(|source| OutboxError::Side {
            path: side_path.clone(),
            tried: "read",
            source,
        })?;
        let (store, set_aside) = (opened.store, opened.set_aside);
        let ledger = Ledger::open(old, kept, holding(&store)?, store::unix_ms(), bounds);
        let (epoch, flushing) = (ledger.epoch(), tokio::sync::Mutex::default());
        let inner = Self { store, side_path, set_aside, epoch, ledger: Mutex::new(ledger), flushing };
        // What survived the process may still lie in the page cache alone.
        inner.store.flush()?;
        let mut ledger = inner.ledger();
        let side = ledger.reservation();
        inner.reserve(&mut ledger, side)?;
        drop(ledger);
        Ok(inner)
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // Every change of the ledger is complete before anything in it can panic.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn flush(&self) -> Result<(), OutboxError> {
        let last = self.ledger().last();
        let flushed = self.store.flush();
        let mut ledger = self.ledger();
        let side = ledger.synced(last, if flushed.is_ok() { Synced::Yes } else { Synced::No });
        flushed?;
        match side {
            Some(side) => self.reserve(&mut ledger, side),
            None => Ok(()),
        }
    }

    /// Reserves numbers, on disk before any of them is given.
    fn reserve(&self, ledger: &mut Ledger, side: Side) -> Result<(), OutboxError> {
        side.write(&self.side_path).map_err(|source| OutboxError::Side {
            path: self.side_path.clone(),
            tried: "written",
            source,
        })?;
        ledger.reserved(side);
        Ok(())
    }

    fn entries(&self, from: u64, most: usize) -> Result<Vec<(u64, Vec<u8>)>, OutboxError> {
        Ok(scan(&self.store, from, most)?)
    }
}

/// What a store holds.
fn holding(store: &SledStore) -> Result<Holding, StoreError> {
    let mut holding = Holding::default();
    loop {
        let entries = scan(store, holding.last + 1, DELETE_BATCH)?;
        let Some((last, _)) = entries.last() else { return Ok(holding) };
        holding.last = *last;
        holding.count += entries.len();
        holding.bytes += entries.iter().map(|(_, entry)| entry.len()).sum::<usize>();
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
