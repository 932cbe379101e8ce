//! The output of instances: batches of lines, stored once, kept for a while.

use crate::api::ApiError;
use crate::connect::{Bus, StoreError};
use crate::log::patiently;
use crate::stream;
use crate::tail::{Course, Holes, Tail, TailError, create};
use events::log::LogBatch;
use events::subject::{HEADER_ID, LOGS_STREAM};

/// Why the output could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    #[error("the output of instances (stream {LOGS_STREAM}) cannot be {tried}")]
    Api {
        /// What was tried: opened, read.
        tried: &'static str,
        #[source]
        source: ApiError,
    },
    #[error("the output of instances (stream {LOGS_STREAM}) cannot be counted on {filter}")]
    Count {
        filter: String,
        #[source]
        source: crate::Source,
    },
}

/// Where a reader starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the oldest batch that is still stored.
    Beginning,
    /// With the first batch that is stored from now on.
    New,
    /// With the last so many batches.
    Last(u64),
}

/// The output of instances.
#[derive(Clone, Debug)]
pub struct Logs {
    bus: Bus,
}

/// A stored batch.
#[derive(Clone, Debug)]
pub struct LogEntry {
    pub sequence: u64,
    /// See `events::subject::parse_log`.
    pub subject: String,
    pub batch: LogBatch,
    /// How many more batches the server had when it sent this one.
    pub pending: u64,
}

/// A reader of the output.
#[derive(Debug)]
pub struct LogTail {
    tail: Tail,
    backlog: u64,
}

impl Logs {
    /// Opens the stream that was provisioned.
    ///
    /// # Errors
    /// When it is not there or does not answer.
    pub async fn open(bus: &Bus) -> Result<Self, LogsError> {
        patiently(|| stream::info(bus, LOGS_STREAM)).await.map_err(at("opened"))?;
        Ok(Self { bus: bus.clone() })
    }

    /// Stores a batch. The same id again within two minutes is not stored twice; after that the number of the first
    /// line tells a reader.
    ///
    /// # Errors
    /// When it is not acknowledged; send it again under the same id.
    pub async fn append(&self, subject: &str, id: &str, batch: &LogBatch) -> Result<u64, StoreError> {
        self.bus.store(subject, &[(HEADER_ID, id)], events::wire::encode(batch)).await
    }

    /// Follows the batches on the subjects `filter`, for example `events::subject::logs(…)`.
    ///
    /// # Errors
    /// When the stream does not answer.
    pub async fn tail(&self, filter: &str, start: Start) -> Result<LogTail, LogsError> {
        let state = patiently(|| stream::info(&self.bus, LOGS_STREAM)).await.map_err(at("read"))?.state;
        let course = Course { stream: LOGS_STREAM, filters: vec![filter.to_owned()], holes: Holes::Natural };
        let after = match start {
            Start::Beginning => 0,
            Start::New => state.last_seq,
            Start::Last(0) => state.last_seq,
            Start::Last(count) => self.before_last(&course, count, state.first_seq, state.last_seq).await?,
        };
        let backlog = self.pending(&course, after).await?;
        Ok(LogTail { tail: Tail::new(&self.bus, course, after), backlog })
    }

    /// The highest sequence after which at least `count` batches are stored; 0 when there are fewer.
    async fn before_last(
        &self,
        course: &Course,
        count: u64,
        first: u64,
        last: u64,
    ) -> Result<u64, LogsError> {
        let (mut low, mut high) = (first.saturating_sub(1), last);
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            if self.pending(course, middle).await? >= count {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        Ok(low)
    }

    /// How many batches of a course are stored after a sequence.
    async fn pending(&self, course: &Course, after: u64) -> Result<u64, LogsError> {
        let failed = |source: crate::Source| LogsError::Count { filter: course.filters.join(" "), source };
        let consumer = create(&self.bus, course, after).await.map_err(|error| failed(error.into()))?;
        let info = consumer.cached_info();
        let deleted = self.bus.context().delete_consumer_from_stream(&info.name, LOGS_STREAM).await;
        if let Err(error) = deleted {
            tracing::debug!(%error, "a counting consumer is left to expire");
        }
        Ok(info.num_pending)
    }
}

impl LogTail {
    /// How many batches were stored and not yet read when the tail was made: 0 tells a reader that does not follow to
    /// stop at once.
    pub fn backlog(&self) -> u64 {
        self.backlog
    }

    /// The next batch, whenever it comes; one that cannot be read is passed over. Can be cancelled safely.
    ///
    /// # Errors
    /// When the stream refuses to be read.
    pub async fn next(&mut self) -> Result<LogEntry, TailError> {
        loop {
            let entry = self.tail.next().await?;
            let subject = entry.subject().to_owned();
            match events::wire::decode(&entry.payload) {
                Ok(batch) => {
                    let (sequence, pending) = (entry.sequence, entry.pending);
                    return Ok(LogEntry { sequence, subject, batch, pending });
                }
                Err(error) => tracing::warn!(subject, %error, "output that is no batch is passed over"),
            }
        }
    }
}

fn at(tried: &'static str) -> impl Fn(ApiError) -> LogsError {
    move |source| LogsError::Api { tried, source }
}
