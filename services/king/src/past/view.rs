//! The journal and what the log has beyond it, as one history.

use crate::journal::snapshot;
use audit::StoredCommit;
use audit::history::{Commits, History, HistoryError, Place, Snapshot};
use bus::journal::Journal;
use events::{EventNumber, Timestamp};

/// The past up to a moment.
pub(super) struct View {
    journal: Journal,
    /// The commits after those that the journal had when this view was made, without a gap.
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
    pub fn new(journal: Journal, commits: Vec<StoredCommit>) -> Self {
        let ahead: Vec<Ahead> = commits.into_iter().map_while(Ahead::of).collect();
        let newest = ahead.last().map_or(journal.last().event, |ahead| ahead.last);
        Self { journal, ahead, newest }
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
        self.newest
    }

    fn commits(&self, after: u64) -> Result<Commits<'_>, HistoryError> {
        let first = self.ahead.first().map_or(u64::MAX, |ahead| ahead.stored.sequence);
        let kept = self.journal.commits(after).map(|read| {
            let (sequence, bytes) = read.map_err(HistoryError::read)?;
            Ok(StoredCommit { sequence, bytes })
        });
        // The journal goes on meanwhile: from where the rest begins, the rest is taken.
        let kept = kept.take_while(move |read| read.as_ref().map_or(true, |stored| stored.sequence < first));
        let ahead = self.ahead.iter().filter(move |ahead| ahead.stored.sequence > after);
        Ok(Box::new(kept.chain(ahead.map(|ahead| Ok(ahead.stored.clone())))))
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
            match snapshot::decode(&bytes) {
                Ok(state) => {
                    let place = Place {
                        sequence: place.sequence,
                        event: place.event,
                        hash: place.hash,
                        at: place.at,
                    };
                    return Ok(Some(Snapshot { place, state }));
                }
                // Taken by a King with another state, or damaged: an older one and more commits give the same.
                Err(error) => tracing::debug!(sequence = place.sequence, %error, "a snapshot is passed over"),
            }
            end = place.sequence.saturating_sub(1);
        }
        Ok(None)
    }
}
