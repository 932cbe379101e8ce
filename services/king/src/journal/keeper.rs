//! The keeper: it takes every commit into the journal, and takes the snapshots.

use super::intake::{Copy, Intake};
use super::{SNAPSHOT_EVENTS, SNAPSHOT_EVENTS_MOST, snapshot};
use crate::election::{ElectionError, Fold};
use crate::http::Metrics;
use crate::kingdom::Kingdom;
use bus::journal::{Entry, Journal, JournalError};
use bus::log::Log;
use bus::tail::TailError;
use service::Shutdown;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

/// Most commits that are handed to the disk at once.
const BATCH: usize = 512;
/// Most bytes that are handed to the disk at once.
const BATCH_BYTES: usize = 8 * 1024 * 1024;
/// How long commits are collected: so often is the disk synced at most.
const COLLECT: Duration = Duration::from_millis(250);
/// How long the journal lets a busy writer go first.
const YIELD: Duration = Duration::from_secs(3);

/// Why the journal cannot be kept any more.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    #[error("the log cannot be followed")]
    Tail(#[from] TailError),
    #[error("the log is no log any more")]
    Fold(#[from] ElectionError),
    #[error("the journal cannot be written; is its disk full, or does it fail?")]
    Journal(#[from] JournalError),
}

/// The keeper of a journal.
pub struct Keeper {
    kingdom: Kingdom,
    metrics: Arc<Metrics>,
    intake: Intake,
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
        let intake = Intake::after(fold.sequence, log.clone(), kingdom.clone());
        let snapshot = journal.snapshot_places().last().map_or(0, |place| place.event);
        metrics.journal_sequence.set(fold.sequence);
        metrics.snapshot_event_number.set(snapshot);
        Self { kingdom, metrics, intake, book: Some(Book { journal, fold, snapshot }) }
    }

    /// Works until the end is asked for. What was confirmed until all others have ended is kept too: where the log is lost,
    /// nobody else may know of it.
    ///
    /// # Errors
    /// When the log lost commits or holds what is none, or the disk fails.
    pub async fn run(
        mut self,
        shutdown: Shutdown,
        others_ended: CancellationToken,
    ) -> Result<(), KeeperError> {
        let worked = self.work(&shutdown).await;
        match worked {
            Ok(()) => {
                others_ended.cancelled().await;
                self.keep_the_rest().await
            }
            Err(KeeperError::Tail(error)) => {
                self.keep_the_rest().await?;
                Err(error.into())
            }
            Err(KeeperError::Fold(_) | KeeperError::Journal(_)) => worked,
        }
    }

    async fn work(&mut self, shutdown: &Shutdown) -> Result<(), KeeperError> {
        loop {
            let first = tokio::select! {
                copy = self.intake.next() => copy?,
                () = shutdown.requested() => return Ok(()),
            };
            self.kingdom.let_the_writer_go_first(YIELD, shutdown).await;
            let (batch, trouble) = self.collect(first).await;
            self.keep(batch).await?;
            trouble?;
        }
    }

    async fn keep_the_rest(&mut self) -> Result<(), KeeperError> {
        loop {
            let batch: Vec<_> = std::iter::from_fn(|| self.intake.at_hand()).take(BATCH).collect();
            if batch.is_empty() {
                return Ok(());
            }
            self.keep(batch).await?;
        }
    }

    /// What comes within a short time, so that the disk is synced seldom; and why no more comes, when that is so.
    async fn collect(&mut self, first: Copy) -> (Vec<Copy>, Result<(), TailError>) {
        let until = Instant::now() + COLLECT;
        let mut bytes = first.payload.len();
        let mut batch = vec![first];
        while batch.len() < BATCH && bytes < BATCH_BYTES {
            match timeout_at(until, self.intake.next()).await {
                Ok(Ok(copy)) => {
                    bytes += copy.payload.len();
                    batch.push(copy);
                }
                Ok(Err(error)) => return (batch, Err(error)),
                Err(_) => break,
            }
        }
        (batch, Ok(()))
    }

    async fn keep(&mut self, batch: Vec<Copy>) -> Result<(), KeeperError> {
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

impl Book {
    fn keep(&mut self, batch: Vec<Copy>, is_busy: bool) -> Result<(), KeeperError> {
        let mut entries = Vec::with_capacity(batch.len());
        for Copy { sequence, payload, commit } in batch {
            let commit = match commit {
                Some(commit) => self.fold.follow(sequence, &payload, &commit).map(|()| commit)?,
                None => self.fold.take(sequence, &payload)?.into(),
            };
            entries.push(Entry::of(sequence, &commit, self.fold.hash, payload));
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
