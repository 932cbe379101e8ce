//! A small durable table of bytes, for what a host must know after a restart: its instances.

use crate::store::{self, Pair, SledStore, Store, StoreError};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many pairs one read of the store brings.
const SCAN: usize = 1024;

/// Why the table failed.
pub type TableError = StoreError;

/// A table. Clones share it.
#[derive(Clone)]
pub struct Table {
    inner: Arc<Inner>,
}

struct Inner {
    store: SledStore,
    set_aside: Option<PathBuf>,
    /// How many writes were made.
    written: AtomicU64,
    /// How many of them are durable; one flush at a time.
    flushed: tokio::sync::Mutex<u64>,
}

impl fmt::Debug for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Table")
    }
}

impl Table {
    /// Opens or makes the table in a directory of its own.
    ///
    /// # Errors
    /// When the directory cannot be used. A damaged store is no error: it is set aside and the table starts empty.
    pub async fn open(directory: impl AsRef<Path>) -> Result<Self, TableError> {
        let directory = directory.as_ref();
        std::fs::create_dir_all(directory).map_err(|source| StoreError::Io {
            path: directory.to_owned(),
            tried: "made",
            source,
        })?;
        let store::Opened { store, set_aside } = store::open(&directory.join("store")).await?;
        let (written, flushed) = (AtomicU64::new(0), tokio::sync::Mutex::new(0));
        Ok(Self { inner: Arc::new(Inner { store, set_aside, written, flushed }) })
    }

    /// Where a damaged store was set aside when this one was opened.
    pub fn set_aside(&self) -> Option<&Path> {
        self.inner.set_aside.as_deref()
    }

    /// The value of a key.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>, TableError> {
        self.inner.store.get(key.as_ref())
    }

    /// Sets a key. Durable after the next [`Table::barrier`].
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<(), TableError> {
        self.put_all(&[(key, value)])
    }

    /// Sets keys, all or none of them. Durable after the next [`Table::barrier`].
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn put_all<K: AsRef<[u8]>, V: AsRef<[u8]>>(&self, pairs: &[(K, V)]) -> Result<(), TableError> {
        let pairs: Vec<_> = pairs.iter().map(|(key, value)| (key.as_ref(), value.as_ref())).collect();
        self.inner.store.write(&pairs, &[])?;
        self.inner.written.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    /// Removes a key, if it is there. Durable after the next [`Table::barrier`].
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn remove(&self, key: impl AsRef<[u8]>) -> Result<(), TableError> {
        self.inner.store.write(&[], &[key.as_ref()])?;
        self.inner.written.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    /// Pairs from a key on, in the order of their keys, at most so many.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn scan(&self, from: impl AsRef<[u8]>, most: usize) -> Result<Vec<Pair>, TableError> {
        self.inner.store.scan(from.as_ref(), most)
    }

    /// All pairs in the order of their keys.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn all(&self) -> Result<Vec<Pair>, TableError> {
        let (mut all, mut from) = (Vec::new(), Vec::new());
        loop {
            let pairs = self.inner.store.scan(&from, SCAN)?;
            let Some((last, _)) = pairs.last() else { return Ok(all) };
            from.clone_from(last);
            from.push(0);
            all.extend(pairs);
        }
    }

    /// Waits until the disk fails: from then on nothing is taken, and whoever holds it had better start again.
    pub async fn fails(&self) -> TableError {
        self.inner.store.fails().await;
        StoreError::Stopped { path: self.inner.store.path().to_owned() }
    }

    /// Makes all that was written before durable. Many callers share one flush.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn barrier(&self) -> Result<(), TableError> {
        let wanted = self.inner.written.load(Ordering::SeqCst);
        let mut flushed = self.inner.flushed.lock().await;
        if *flushed >= wanted {
            return Ok(());
        }
        let (inner, looking) = (self.inner.clone(), self.inner.clone());
        let now = self.inner.written.load(Ordering::SeqCst);
        store::flushing(move || inner.store.flush(), move || looking.store.look_for_failure()).await?;
        *flushed = now;
        Ok(())
    }
}
