//! The output of instances: batches of lines, stored once, kept for a while.

use crate::api::{self, ApiError};
use crate::connect::{Bus, StoreError};
use crate::log::patiently;
use crate::stream;
use crate::tail::{Course, Holes, Tail, TailError, create};
use async_nats::jetstream::ErrorCode;
use events::Timestamp;
use events::log::LogBatch;
use events::subject::{HEADER_ID, LOGS_STREAM};
use serde::Deserialize;
use serde_json::json;

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
    /// With what was stored in this second by the server's clock, or later.
    Since(Timestamp),
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
    is_whole: bool,
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

    /// Follows the batches on the subjects `filter`, for example `events::subject::app_logs(…)`.
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
            Start::Since(moment) => self.before(moment, state.first_seq, state.last_seq).await?,
        };
        let backlog = self.pending(&course, after).await?;
        let is_whole = after < state.first_seq.max(1);
        Ok(LogTail { tail: Tail::new(&self.bus, course, after), backlog, is_whole })
    }

    /// The highest sequence that was stored before the second of a moment. Times of a stream rise with its sequences.
    async fn before(&self, moment: Timestamp, first: u64, last: u64) -> Result<u64, LogsError> {
        let wanted = second(&moment.to_string());
        let (mut low, mut high) = (first.saturating_sub(1), last);
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            match self.stored_at(middle).await? {
                Some(at) if second(&at) >= wanted => high = middle - 1,
                // One that is gone by now was older than all that is left.
                Some(_) | None => low = middle,
            }
        }
        Ok(low)
    }

    /// When a message was stored, as the server writes it; none when it is gone.
    async fn stored_at(&self, sequence: u64) -> Result<Option<String>, LogsError> {
        let (subject, question) = (format!("STREAM.MSG.GET.{LOGS_STREAM}"), json!({ "seq": sequence }));
        match patiently(|| api::call::<Found>(&self.bus, &subject, &question)).await {
            Ok(found) => Ok(Some(found.message.time)),
            Err(error) if error.has_code(ErrorCode::NO_MESSAGE_FOUND) => Ok(None),
            Err(error) => Err(at("read")(error)),
        }
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

    /// Whether it began with the oldest batch that is stored.
    pub fn is_whole(&self) -> bool {
        self.is_whole
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

/// A message as the server tells it; the rest of it is of no interest.
#[derive(Deserialize)]
struct Found {
    message: FoundMessage,
}

#[derive(Deserialize)]
struct FoundMessage {
    /// RFC 3339, with as many digits of a second as it takes.
    time: String,
}

/// A time in RFC 3339 up to its second: such texts are ordered as times are.
fn second(time: &str) -> String {
    time.chars().take("2026-11-20T03:00:00".len()).collect()
}

fn at(tried: &'static str) -> impl Fn(ApiError) -> LogsError {
    move |source| LogsError::Api { tried, source }
}
