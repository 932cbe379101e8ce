//! The past: commits read from the log by their sequence, a few ahead, never more than a bounded number of bytes.
//!
//! Each read is one request to the log's leader. So a reader that stalls holds no consumer on the server and no
//! queue here, and one that goes away leaves nothing behind.

use super::FeedError;
use bus::log::Log;
use bytes::Bytes;
use events::{Commit, EventNumber};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesOrdered;
use serde::Deserialize;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// Most commits that a reader asks for ahead.
pub(super) const READ_AHEAD: usize = 8;
/// Most bytes that a reader's commits ahead should take.
const READ_AHEAD_BYTES: usize = 256 * 1024;
/// The first and the longest wait before a failed read is tried again.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// Why the log could not be read now. It is tried again.
#[derive(Debug, thiserror::Error)]
#[error("the log cannot be read")]
pub struct ReadError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

type Read = dyn Fn(u64) -> BoxFuture<'static, Result<Option<Bytes>, ReadError>> + Send + Sync;

/// The log as the feed sees it: the bytes of the commit at a sequence, none past the end.
#[derive(Clone)]
pub struct History {
    read: Arc<Read>,
}

impl History {
    /// The history that the log on the bus holds.
    pub fn of_log(log: Log) -> Self {
        Self::new(move |sequence| {
            let log = log.clone();
            async move { log.read(sequence).await.map_err(|source| ReadError(source.into())) }
        })
    }

    /// A history over any way to read the commit at a sequence.
    pub fn new<F, R>(read: F) -> Self
    where
        F: Fn(u64) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Option<Bytes>, ReadError>> + Send + 'static,
    {
        Self { read: Arc::new(move |sequence| Box::pin(read(sequence))) }
    }

    /// The bytes at a sequence; waits while the log cannot be read.
    async fn bytes(&self, sequence: u64) -> Result<Bytes, FeedError> {
        let mut wait = RETRY.0;
        loop {
            match (self.read)(sequence).await {
                Ok(Some(bytes)) => return Ok(bytes),
                Ok(None) => return Err(FeedError::Missing { sequence }),
                Err(error) => {
                    tracing::warn!(sequence, error = &error as &dyn std::error::Error, "log read failed");
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(RETRY.1);
                }
            }
        }
    }

    /// The commit at a sequence, and its size in bytes.
    pub(super) async fn commit(&self, sequence: u64) -> Result<(Commit, usize), FeedError> {
        let bytes = self.bytes(sequence).await?;
        let commit = events::wire::decode(&bytes)
            .map_err(|source| FeedError::Unreadable { sequence, reason: source.reason() })?;
        Ok((commit, bytes.len()))
    }

    /// The sequence of the commit that holds an event, looked for up to `newest`: the last that begins no later.
    async fn seek(&self, event: EventNumber, newest: u64) -> Result<u64, FeedError> {
        let (mut low, mut high) = (1, newest);
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            if self.first(middle).await? <= event {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        Ok(low)
    }

    async fn first(&self, sequence: u64) -> Result<EventNumber, FeedError> {
        #[derive(Deserialize)]
        struct Head {
            first: EventNumber,
        }
        let bytes = self.bytes(sequence).await?;
        let head: Head = events::wire::decode(&bytes)
            .map_err(|source| FeedError::Unreadable { sequence, reason: source.reason() })?;
        Ok(head.first)
    }
}

type Ahead = BoxFuture<'static, (u64, Result<(Commit, usize), FeedError>)>;

/// Reads commits in order from the log, some ahead.
pub(super) struct Reader {
    history: History,
    next: u64,
    ahead: FuturesOrdered<Ahead>,
    /// The size of the commit read last; the first is taken to be large.
    bytes: usize,
}

impl Reader {
    /// A reader that starts with the commit that holds this event.
    pub async fn seek(history: &History, event: EventNumber, newest: u64) -> Result<Self, FeedError> {
        let next = history.seek(event, newest).await?;
        let history = history.clone();
        Ok(Self { history, next, ahead: FuturesOrdered::new(), bytes: READ_AHEAD_BYTES })
    }

    /// The next commit up to `newest`; none when that was reached. Nothing is lost when it is dropped half-way.
    pub async fn next(&mut self, newest: u64) -> Result<Option<(u64, Commit)>, FeedError> {
        let most = (READ_AHEAD_BYTES / self.bytes.max(1)).clamp(1, READ_AHEAD);
        while self.ahead.len() < most && self.next <= newest {
            let (history, sequence) = (self.history.clone(), self.next);
            self.ahead.push_back(Box::pin(async move { (sequence, history.commit(sequence).await) }));
            self.next += 1;
        }
        let Some((sequence, read)) = self.ahead.next().await else { return Ok(None) };
        let (commit, bytes) = read?;
        self.bytes = bytes;
        Ok(Some((sequence, commit)))
    }
}
