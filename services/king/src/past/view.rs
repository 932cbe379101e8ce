//! The past up to a moment, as one history: the journal and what the log has beyond it, or the log alone.

use super::Thaw;
use super::stream::Stream;
use crate::feed::Newest;
use audit::StoredCommit;
use audit::history::{Commits, History, HistoryError, Place, Snapshot};
use bus::journal::Journal;
use bus::log::Log;
use events::{EventNumber, Timestamp};

/// The past up to a moment.
pub(super) enum View {
    Journal(Kept),
    Log(Stream),
}

/// A journal, and the commits after those that it had when this view was made, without a gap.
pub(super) struct Kept {
    journal: Journal,
    thaw: Thaw,
    ahead: Vec<Ahead>,
    newest: EventNumber,
}

struct Ahead {
    stored: StoredCommit,
    last: EventNumber,
    at: Timestamp,
}

impl View {
    /// What a journal holds, and the commits that follow. What does not read as a commit ends it.
    pub fn of_journal(journal: Journal, thaw: Thaw, commits: Vec<StoredCommit>) -> Self {
        let ahead: Vec<Ahead> = commits.into_iter().map_while(Ahead::of).collect();
        let newest = ahead.last().map_or(journal.last().event, |ahead| ahead.last);
        Self::Journal(Kept { journal, thaw, ahead, newest })
    }

    /// The log up to its newest confirmed commit.
    pub fn of_log(log: Log, newest: Newest) -> Self {
        Self::Log(Stream::new(log, newest))
    }
}

impl Ahead {
    fn of(stored: StoredCommit) -> Option<Self> {
        let commit = stored.read().ok()?;
        let at = commit.events.last()?.at;
        Some(Self { last: commit.last(), at, stored })
    }
}

impl History for View {
    fn newest(&self) -> EventNumber {
        match self {
            Self::Journal(kept) => kept.newest,
            Self::Log(stream) => stream.newest(),
        }
    }

    fn commits(&self, after: u64) -> Result<Commits<'_>, HistoryError> {
        Ok(match self {
            Self::Journal(kept) => kept.commits(after),
            Self::Log(stream) => stream.commits(after),
        })
    }

    fn sequence_of_event(&self, event: EventNumber) -> Result<u64, HistoryError> {
        match self {
            Self::Journal(kept) => kept.sequence_of_event(event),
            Self::Log(stream) => stream.sequence_of_event(event),
        }
    }

    fn sequence_of_time(&self, at: Timestamp) -> Result<u64, HistoryError> {
        match self {
            Self::Journal(kept) => kept.sequence_of_time(at),
            Self::Log(stream) => stream.sequence_of_time(at),
        }
    }

    fn snapshot_before(&self, sequence: u64) -> Result<Option<Snapshot>, HistoryError> {
        match self {
            Self::Journal(kept) => kept.snapshot_before(sequence),
            Self::Log(_) => Ok(None),
        }
    }
}

impl Kept {
    fn commits(&self, after: u64) -> Commits<'_> {
        let first = self.ahead.first().map_or(u64::MAX, |ahead| ahead.stored.sequence);
        let kept = self.journal.commits(after).map(|read| {
            let (sequence, bytes) = read.map_err(HistoryError::read)?;
            Ok(StoredCommit { sequence, bytes })
        });
        // The journal goes on meanwhile: from where the rest begins, the rest is taken.
        let kept = kept.take_while(move |read: &Result<StoredCommit, HistoryError>| {
            read.as_ref().map_or(true, |stored| stored.sequence < first)
        });
        let ahead = self.ahead.iter().filter(move |ahead| ahead.stored.sequence > after);
        Box::new(kept.chain(ahead.map(|ahead| Ok(ahead.stored.clone()))))
    }

    fn sequence_of_event(&self, event: EventNumber) -> Result<u64, HistoryError> {
        if let Some(sequence) = self.journal.place_of_event(event).map_err(HistoryError::read)? {
            return Ok(sequence);
        }
        let found = self.ahead.iter().find(|ahead| ahead.last >= event);
        let end = self.journal.last().sequence;
        found.map(|ahead| ahead.stored.sequence).ok_or(HistoryError::Missing { sequence: end + 1 })
    }

    fn sequence_of_time(&self, at: Timestamp) -> Result<u64, HistoryError> {
        let ahead = self.ahead.iter().rev().find(|ahead| ahead.at <= at);
        match ahead {
            Some(ahead) => Ok(ahead.stored.sequence),
            None => self.journal.place_of_time(at).map_err(HistoryError::read),
        }
    }

    fn snapshot_before(&self, sequence: u64) -> Result<Option<Snapshot>, HistoryError> {
        let mut end = sequence;
        while let Some((place, bytes)) = self.journal.snapshot_before(end).map_err(HistoryError::read)? {
            if let Some(state) = (self.thaw)(&bytes) {
                let place =
                    Place { sequence: place.sequence, event: place.event, hash: place.hash, at: place.at };
                return Ok(Some(Snapshot { place, state }));
            }
            // Taken by a King with another state, or damaged: an older one and more commits give the same.
            tracing::debug!(sequence = place.sequence, "a snapshot is passed over");
            end = place.sequence.saturating_sub(1);
        }
        Ok(None)
    }
}
