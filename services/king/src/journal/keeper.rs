//! The keeper: it follows the log into the journal and takes the snapshots.

use super::{SNAPSHOT_EVENTS, SNAPSHOT_EVENTS_MOST, snapshot};
use crate::election::{ElectionError, Fold};
use crate::http::Metrics;
use crate::kingdom::Kingdom;
use bus::journal::{Entry, Journal, JournalError};
use bus::log::Log;
use bus::tail::{self, Tail, TailError};
use service::Shutdown;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Most commits that are handed to the disk at once.
const BATCH: usize = 512;
/// Most bytes that are handed to the disk at once.
const BATCH_BYTES: usize = 8 * 1024 * 1024;
/// How long commits are collected: so often is the disk synced at most.
const COLLECT: Duration = Duration::from_millis(250);
/// How long the journal lets a busy writer go first.
const YIELD: Duration = Duration::from_secs(3);
/// How often it looks whether the writer is still busy.
const LOOK: Duration = Duration::from_millis(100);

/// Why the journal cannot be kept any more.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    #[error("the log cannot be followed")]
    Tail(#[from] TailError),
    #[error("the log is no log any more")]
    Fold(#[from] ElectionError),
    #[error("the journal cannot be written; is its disk full?")]
    Journal(#[from] JournalError),
}

/// The keeper of a journal.
pub struct Keeper {
    kingdom: Kingdom,
    metrics: Arc<Metrics>,
    tail: Tail,
    book: Option<Book>,
}

/// What works on a thread that may block.
struct Book {
    journal: Journal,
    fold: Fold,
    /// The event of the last snapshot.
    snapshot: u64,
}

impl Keeper {
    /// A keeper of a journal whose commits are folded so far.
    pub fn new(log: &Log, kingdom: Kingdom, metrics: Arc<Metrics>, journal: Journal, fold: Fold) -> Self {
        let tail = log.tail(fold.sequence);
        let snapshot = journal.snapshot_places().last().map_or(0, |place| place.event);
        metrics.journal_sequence.set(fold.sequence);
        metrics.snapshot_event_number.set(snapshot);
        Self { kingdom, metrics, tail, book: Some(Book { journal, fold, snapshot }) }
    }

    /// Works until the end is asked for.
    ///
    /// # Errors
    /// When the log lost commits or holds what is none, or the disk fails.
    pub async fn run(mut self, shutdown: Shutdown) -> Result<(), KeeperError> {
        loop {
            let first = tokio::select! {
                entry = self.tail.next() => entry?,
                () = shutdown.requested() => return Ok(()),
            };
            let_the_writer_go_first(&self.kingdom, &shutdown).await;
            let batch = self.collect(first).await?;
            self.keep(batch).await?;
        }
    }

    /// What comes within a short time, so that the disk is synced seldom.
    async fn collect(&mut self, first: tail::Entry) -> Result<Vec<tail::Entry>, KeeperError> {
        let until = Instant::now() + COLLECT;
        let mut bytes = first.payload.len();
        let mut batch = vec![first];
        while batch.len() < BATCH && bytes < BATCH_BYTES {
            let Ok(entry) = timeout_at(until, self.tail.next()).await else { break };
            let entry = entry?;
            bytes += entry.payload.len();
            batch.push(entry);
        }
        Ok(batch)
    }

    async fn keep(&mut self, batch: Vec<tail::Entry>) -> Result<(), KeeperError> {
        let mut book = self.book.take().expect("the book is put back after every batch");
        let is_busy = self.kingdom.is_busy();
        let work = move || {
            let kept = book.keep(batch, is_busy);
            (book, kept)
        };
        let (book, kept) = tokio::task::spawn_blocking(work).await.expect("the book does not panic");
        kept?;
        self.metrics.journal_sequence.set(book.fold.sequence);
        self.metrics.snapshot_event_number.set(book.snapshot);
        self.book = Some(book);
        Ok(())
    }
}

/// Nobody waits for the journal, so it waits while the writer has all hands full; but not for long.
async fn let_the_writer_go_first(kingdom: &Kingdom, shutdown: &Shutdown) {
    let until = Instant::now() + YIELD;
    while kingdom.is_busy() && Instant::now() < until && !shutdown.is_requested() {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = shutdown.requested() => {}
        }
    }
}

impl Book {
    fn keep(&mut self, batch: Vec<tail::Entry>, is_busy: bool) -> Result<(), KeeperError> {
        let mut entries = Vec::with_capacity(batch.len());
        for entry in batch {
            let commit = self.fold.take(entry.sequence, &entry.payload)?;
            entries.push(Entry::of(entry.sequence, &commit, self.fold.hash, entry.payload));
        }
        self.journal.append(&entries)?;
        self.journal.sync()?;
        let since = self.fold.state.last - self.snapshot;
        if since >= SNAPSHOT_EVENTS_MOST || (since >= SNAPSHOT_EVENTS && !is_busy) {
            self.take_snapshot()?;
        }
        Ok(())
    }

    fn take_snapshot(&mut self) -> Result<(), JournalError> {
        let bytes = snapshot::encode(&self.fold.state);
        self.journal.put_snapshot(self.journal.last(), &bytes)?;
        self.snapshot = self.fold.state.last;
        tracing::info!(event = self.snapshot, bytes = bytes.len(), "took a snapshot of the state");
        Ok(())
    }
}
