//! The task of one stream: follow, filter, encode, hand over; it waits for its client before it goes on.

use super::encode::Lines;
use super::filter::Filter;
use crate::feed::{Batch, Feed, FeedError, Follow};
use crate::http::limits::{CHUNK_BYTES, SKIP_TIME};
use crate::http::metrics::Metrics;
use crate::http::problem::Problem;
use bytes::Bytes;
use events::EventNumber;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

pub(super) struct Writer {
    feed: Feed,
    follow: Follow,
    filter: Filter,
    metrics: Arc<Metrics>,
    sender: mpsc::Sender<Bytes>,
    lines: Lines,
    after: EventNumber,
    /// The last event that did not pass and that the client has not been told of.
    skipped: Option<EventNumber>,
    told: Instant,
}

/// Why a stream ends.
enum End {
    /// The client is gone.
    Gone,
    Broken(FeedError),
}

impl From<FeedError> for End {
    fn from(error: FeedError) -> Self {
        Self::Broken(error)
    }
}

impl Writer {
    pub fn new(
        feed: Feed,
        after: EventNumber,
        filter: Filter,
        metrics: Arc<Metrics>,
        sender: mpsc::Sender<Bytes>,
    ) -> Self {
        let follow = feed.follow(after);
        let (lines, told) = (Lines::default(), Instant::now());
        Self { feed, follow, filter, metrics, sender, lines, after, skipped: None, told }
    }

    /// Writes until the client goes or the log cannot be served.
    pub async fn run(mut self) {
        let sender = self.sender.clone();
        let end = tokio::select! {
            end = self.write() => end,
            () = sender.closed() => End::Gone,
        };
        if let End::Broken(error) = end {
            tracing::error!(error = &error as &dyn std::error::Error, "event stream broken");
            let problem = Problem::conflict("log", error.to_string(), "ask whoever runs this King");
            self.lines.broken(&problem.document());
            // A client that went meanwhile misses nothing.
            let _ = self.sender.send(self.lines.take()).await;
        }
    }

    async fn write(&mut self) -> End {
        match self.write_on().await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    async fn write_on(&mut self) -> Result<std::convert::Infallible, End> {
        self.lines.retry();
        self.lines.place(self.after);
        self.send().await?;
        loop {
            match self.next().await? {
                Some(batch) => self.batch(&batch).await?,
                None => self.tell().await?,
            }
        }
    }

    /// The next events; none when the client should hear first how far it is.
    async fn next(&mut self) -> Result<Option<Batch>, End> {
        if self.skipped.is_none() {
            return Ok(Some(self.follow.next().await?));
        }
        match timeout_at(self.told + SKIP_TIME, self.follow.next()).await {
            Ok(batch) => Ok(Some(batch?)),
            Err(_) => Ok(None),
        }
    }

    async fn batch(&mut self, batch: &Batch) -> Result<(), End> {
        for event in batch.iter() {
            if !self.filter.passes(event, batch.sequence, &self.feed).await? {
                self.skipped = Some(event.id);
                continue;
            }
            self.skipped = None;
            self.lines.event(event);
            self.metrics.sse_events.inc();
            if self.lines.len() >= CHUNK_BYTES {
                self.send().await?;
            }
        }
        if !self.lines.is_empty() {
            self.send().await?;
        }
        if self.skipped.is_some() && self.told.elapsed() >= SKIP_TIME {
            self.tell().await?;
        }
        Ok(())
    }

    /// Tells the client of the last event that did not pass, so that it need not pass it again.
    async fn tell(&mut self) -> Result<(), End> {
        if let Some(event) = self.skipped.take() {
            self.lines.place(event);
            self.send().await?;
        }
        Ok(())
    }

    async fn send(&mut self) -> Result<(), End> {
        self.told = Instant::now();
        self.sender.send(self.lines.take()).await.map_err(|_| End::Gone)
    }
}
