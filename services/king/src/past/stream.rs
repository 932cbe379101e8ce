//! The log itself as a history, for a King without a journal: every commit is a question to the NATS server. It belongs on
//! a thread that may block.

use crate::feed::Newest;
use audit::StoredCommit;
use audit::history::{Commits, HistoryError};
use bus::log::Log;
use events::{Commit, EventNumber, Timestamp};
use tokio::runtime::Handle;

/// The log up to a commit.
pub(super) struct Stream {
    log: Log,
    handle: Handle,
    end: Newest,
}

impl Stream {
    /// The log up to its newest confirmed commit; to be made where the runtime is at hand.
    pub fn new(log: Log, end: Newest) -> Self {
        Self { log, handle: Handle::current(), end }
    }

    pub fn newest(&self) -> EventNumber {
        self.end.event
    }

    pub fn commits(&self, after: u64) -> Commits<'_> {
        Box::new((after + 1..=self.end.sequence).map(|sequence| self.read(sequence)))
    }

    /// The last commit that begins no later than an event.
    pub fn sequence_of_event(&self, event: EventNumber) -> Result<u64, HistoryError> {
        self.last_that(|commit| commit.first <= event)
    }

    /// The last commit that ends no later than a time.
    pub fn sequence_of_time(&self, at: Timestamp) -> Result<u64, HistoryError> {
        self.last_that(|commit| commit.events.last().is_none_or(|event| event.at <= at))
    }

    /// The last commit that fulfils what all before it do; 0 when none does.
    fn last_that(&self, fits: impl Fn(&Commit) -> bool) -> Result<u64, HistoryError> {
        let (mut low, mut high) = (0, self.end.sequence);
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            if fits(&self.read(middle)?.read()?) {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        Ok(low)
    }

    fn read(&self, sequence: u64) -> Result<StoredCommit, HistoryError> {
        let read = self.handle.block_on(self.log.read(sequence)).map_err(HistoryError::read)?;
        let bytes = read.ok_or(HistoryError::Missing { sequence })?;
        Ok(StoredCommit { sequence, bytes })
    }
}
