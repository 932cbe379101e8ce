//! Following: one reader's place in the events.

use super::history::Reader;
use super::{Feed, Newest};
use events::{Commit, Event, EventNumber};
use std::ops::Deref;
use std::sync::Arc;
use tokio::sync::watch;

/// Why a reader cannot go on: the log holds something that this build cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    #[error("commit {sequence} of the log cannot be read: {reason}")]
    Unreadable { sequence: u64, reason: String },
    #[error("commit {sequence} is missing from the log")]
    Missing { sequence: u64 },
    #[error("event {wanted} is missing from the log: commit {sequence} begins with event {found}")]
    Gap { sequence: u64, wanted: EventNumber, found: EventNumber },
}

/// The events of one commit that the reader has not had yet: never empty.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The sequence of the commit in the log.
    pub sequence: u64,
    commit: Arc<Commit>,
    skip: usize,
}

impl Deref for Batch {
    type Target = [Event];

    fn deref(&self) -> &[Event] {
        &self.commit.events[self.skip..]
    }
}

/// A reader's place. It holds at most one commit and a few read ahead.
pub struct Follow {
    feed: Feed,
    after: EventNumber,
    newest: watch::Receiver<Option<Newest>>,
    reader: Option<Reader>,
}

impl Follow {
    pub(super) fn new(feed: Feed, after: EventNumber) -> Self {
        let newest = feed.shared.newest.subscribe();
        Self { feed, after, newest, reader: None }
    }

    /// The next events, in order and without a gap; waits for them. Nothing is lost when it is dropped half-way.
    ///
    /// # Errors
    /// When the log holds something that cannot be served; asking again meets the same.
    pub async fn next(&mut self) -> Result<Batch, FeedError> {
        let newest = self.wait().await;
        let (sequence, commit) = match self.ring() {
            Some(found) => {
                self.reader = None;
                found
            }
            None => self.read(newest.sequence).await?,
        };
        Ok(self.take(sequence, commit))
    }

    /// Waits until there is something after the reader's place.
    async fn wait(&mut self) -> Newest {
        let after = self.after;
        let ahead = |newest: &Option<Newest>| newest.is_some_and(|newest| newest.event > after);
        let newest = *self.newest.wait_for(ahead).await.expect("the reader holds the feed that sends");
        newest.expect("just seen to be there")
    }

    fn ring(&self) -> Option<(u64, Arc<Commit>)> {
        self.feed.ring().after(self.after)
    }

    /// The next commit of the log with events after the reader's place.
    async fn read(&mut self, newest: u64) -> Result<(u64, Arc<Commit>), FeedError> {
        let reader = match self.reader.take() {
            Some(reader) => reader,
            None => Reader::seek(&self.feed.shared.history, self.after + 1, newest).await?,
        };
        let reader = self.reader.insert(reader);
        while let Some((sequence, commit)) = reader.next(newest).await? {
            if commit.events.last().is_none_or(|event| event.id <= self.after) {
                continue;
            }
            if commit.first > self.after + 1 {
                return Err(FeedError::Gap { sequence, wanted: self.after + 1, found: commit.first });
            }
            commit.events.iter().for_each(|event| self.feed.note(event));
            return Ok((sequence, commit.into()));
        }
        Err(FeedError::Missing { sequence: newest })
    }

    fn take(&mut self, sequence: u64, commit: Arc<Commit>) -> Batch {
        let events = &commit.events;
        let skip = events.partition_point(|event| event.id <= self.after);
        self.after = events.last().map_or(self.after, |event| event.id);
        Batch { sequence, commit, skip }
    }
}
