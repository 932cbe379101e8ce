//! Confirming: what is stored may be seen, first by readers here, then by whoever waits for it.
//!
//! A small commit is confirmed at once. While the writer is busy large ones are confirmed beside it, in their order, so
//! that it can decide the next one meanwhile.

use super::machine::Stored;
use super::replies::{Replies, Ticket};
use crate::http::Metrics;
use crate::kingdom::{Confirmed, Kingdom};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Most commits that wait to be confirmed; then the writer waits too.
const QUEUE: usize = 4;
/// A commit with fewer events is confirmed sooner than handed over.
const LARGE: usize = 640;

/// Confirms commits in the order of the log.
pub(super) struct Confirmer {
    hands: Arc<Hands>,
    queue: mpsc::Sender<Work>,
    /// How much of the queue is not done yet.
    pending: Arc<AtomicUsize>,
    beside: JoinHandle<()>,
}

struct Hands {
    kingdom: Kingdom,
    metrics: Arc<Metrics>,
    replies: Replies,
}

enum Work {
    Stored(Stored<Ticket>, Bytes),
    /// An answer that rests on nothing that is not stored.
    Answer(Ticket),
}

impl Confirmer {
    pub fn new(kingdom: Kingdom, metrics: Arc<Metrics>, replies: Replies, beside: &Handle) -> Self {
        let hands = Arc::new(Hands { kingdom, metrics, replies });
        let (queue, queued) = mpsc::channel(QUEUE);
        let pending = Arc::new(AtomicUsize::new(0));
        let beside = beside.spawn(work_off(hands.clone(), queued, pending.clone()));
        Self { hands, queue, pending, beside }
    }

    /// A commit is stored as these bytes.
    pub async fn confirm(&self, stored: Stored<Ticket>, payload: Bytes) {
        let is_large = stored.commit.events.len() >= LARGE;
        self.take(Work::Stored(stored, payload), is_large).await;
    }

    /// Everything that an answer rests on is stored.
    pub async fn answer(&self, ticket: Ticket) {
        self.take(Work::Answer(ticket), false).await;
    }

    async fn take(&self, work: Work, is_large: bool) {
        if !is_large && self.pending.load(Ordering::Acquire) == 0 {
            return self.hands.take(work).await;
        }
        self.pending.fetch_add(1, Ordering::AcqRel);
        self.queue.send(work).await.expect("the queue is worked off until it is closed");
    }

    /// Waits until everything is confirmed.
    pub async fn close(self) {
        drop(self.queue);
        self.beside.await.expect("confirming does not panic and is not aborted");
    }
}

async fn work_off(hands: Arc<Hands>, mut queued: mpsc::Receiver<Work>, pending: Arc<AtomicUsize>) {
    while let Some(work) = queued.recv().await {
        hands.take(work).await;
        pending.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Hands {
    async fn take(&self, work: Work) {
        match work {
            Work::Stored(stored, payload) => self.confirm(stored, payload).await,
            Work::Answer(ticket) => self.replies.answer(ticket).await,
        }
    }

    async fn confirm(&self, stored: Stored<Ticket>, payload: Bytes) {
        let events = stored.commit.events.len();
        self.metrics.commits.inc();
        self.metrics.events.inc_by(events as u64);
        self.metrics.commit_bytes.observe(stored.bytes as f64);
        self.metrics.commit_events.observe(events as f64);
        self.kingdom.confirm(Confirmed { sequence: stored.sequence, commit: stored.commit, payload });
        for ticket in stored.waiting {
            self.replies.answer(ticket).await;
        }
    }
}
