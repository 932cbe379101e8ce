//! Following a stream: every message in order, without a gap, across cuts of the connection and deaths of the server.
//!
//! An ephemeral pull consumer without acknowledgements, with a heartbeat of [`HEARTBEAT`]. On any doubt (a missed
//! heartbeat, a cut, a jump in the consumer's own count) it is thrown away and made anew after the last message
//! that was delivered. See ADR-13 of the NATS architecture for pull requests.

mod cursor;

use crate::connect::{Bus, Cuts};
use crate::{headers, retry, stream};
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use async_nats::{HeaderMap, Subject};
use bytes::Bytes;
use events::Timestamp;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use cursor::{Cursor, Holes, Taken};

/// How often a silent server says that it lives; two that are missing end the consumer.
pub const HEARTBEAT: Duration = Duration::from_millis(500);
/// Most messages that one pull asks for.
const BATCH: usize = 5000;
/// Most bytes that one pull asks for: bounds the memory of a reader that lags.
const BATCH_BYTES: usize = 16 * 1024 * 1024;
/// How long one pull waits for messages.
const EXPIRES: Duration = Duration::from_secs(2);
/// When the server forgets a consumer that nobody pulls from.
const INACTIVE: Duration = Duration::from_secs(5);
/// How long to wait before a consumer is made anew, before jitter.
const REOPEN_DELAY: Duration = Duration::from_millis(100);

/// Why a tail cannot go on. A lost connection is no reason.
#[derive(Debug, thiserror::Error)]
pub enum TailError {
    #[error(
        "stream {stream}: message {found} follows {after}; the messages between are lost: \
         compare the stream with the journals before anything goes on"
    )]
    Gap { stream: String, after: u64, found: u64 },
    #[error(
        "stream {stream} ends at {last} but {after} was read from it before; it lost messages or was replaced: \
         compare the stream with the journals before anything goes on"
    )]
    Shorter { stream: String, after: u64, last: u64 },
}

/// One stored message.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its place in the stream, from 1.
    pub sequence: u64,
    pub payload: Bytes,
    /// How many more the server had when it sent this one; 0 tells a starting reader that it has caught up.
    pub pending: u64,
    /// When the server stored it, by its clock.
    pub stored_at: Timestamp,
    subject: Subject,
    headers: Option<HeaderMap>,
}

impl Entry {
    /// The subject that it was published to.
    pub fn subject(&self) -> &str {
        self.subject.as_str()
    }

    /// The last value of a header; its name is compared without regard to case.
    pub fn header(&self, name: &str) -> Option<&str> {
        headers::get(self.headers.as_ref(), name)
    }
}

/// What is followed.
#[derive(Clone, Debug)]
pub(crate) struct Course {
    pub stream: &'static str,
    /// Only these subjects; all when empty.
    pub filters: Vec<String>,
    pub holes: Holes,
}

/// A reader of a stream. [`Tail::next`] can be cancelled without losing anything.
pub struct Tail {
    bus: Bus,
    course: Arc<Course>,
    cursor: Cursor,
    state: State,
}

enum State {
    Opening(BoxFuture<'static, Result<Reading, TailError>>),
    Reading(Box<Reading>),
}

/// An open consumer, and what tells of a cut since before it was opened.
struct Reading {
    messages: pull::Stream,
    cuts: Cuts,
}

impl fmt::Debug for Tail {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Tail")
            .field("course", &self.course)
            .field("last", &self.cursor.last())
            .finish_non_exhaustive()
    }
}

impl Tail {
    /// Follows a stream from the message after sequence `after`.
    pub(crate) fn new(bus: &Bus, course: Course, after: u64) -> Self {
        let course = Arc::new(course);
        let cursor = Cursor::after(after, course.holes);
        let state = State::Opening(Box::pin(open(bus.clone(), course.clone(), after, Duration::ZERO)));
        Self { bus: bus.clone(), course, cursor, state }
    }

    /// The sequence of the last message that was delivered.
    pub fn last(&self) -> u64 {
        self.cursor.last()
    }

    /// The next message, whenever it comes.
    ///
    /// # Errors
    /// When messages are missing for good; see [`TailError`]. A later call tries again from the same place.
    pub async fn next(&mut self) -> Result<Entry, TailError> {
        loop {
            match &mut self.state {
                State::Opening(opening) => {
                    let opened = opening.as_mut().await;
                    self.opened(opened)?;
                }
                State::Reading(reading) => {
                    let Reading { messages, cuts } = reading.as_mut();
                    let message = tokio::select! {
                        biased;
                        message = messages.next() => message,
                        () = cuts.next() => None,
                    };
                    if let Some(entry) = self.take(message)? {
                        return Ok(entry);
                    }
                }
            }
        }
    }

    fn opened(&mut self, opened: Result<Reading, TailError>) -> Result<(), TailError> {
        match opened {
            Ok(reading) => {
                self.cursor.opened();
                self.state = State::Reading(Box::new(reading));
                Ok(())
            }
            Err(error) => {
                self.reopen();
                Err(error)
            }
        }
    }

    fn reopen(&mut self) {
        let opening = open(self.bus.clone(), self.course.clone(), self.last(), retry::jittered(REOPEN_DELAY));
        self.state = State::Opening(Box::pin(opening));
    }

    fn take(
        &mut self,
        message: Option<Result<async_nats::jetstream::Message, pull::MessagesError>>,
    ) -> Result<Option<Entry>, TailError> {
        let (stream, last) = (self.course.stream, self.last());
        let message = match message {
            Some(Ok(message)) => message,
            Some(Err(error)) => {
                tracing::debug!(stream, last, %error, "tail is made anew");
                self.reopen();
                return Ok(None);
            }
            None => {
                tracing::debug!(stream, last, "tail was cut and is made anew");
                self.reopen();
                return Ok(None);
            }
        };
        let Ok(info) = message.info() else {
            return Ok(None);
        };
        let (sequence, count, pending) = (info.stream_sequence, info.consumer_sequence, info.pending);
        let stored_ms = u64::try_from(info.published.unix_timestamp_nanos() / 1_000_000).unwrap_or_default();
        match self.cursor.take(sequence, count) {
            Taken::Deliver => {}
            Taken::Skip => return Ok(None),
            Taken::Reopen => {
                tracing::debug!(stream, last, "tail missed a message and is made anew");
                self.reopen();
                return Ok(None);
            }
            Taken::Gap => {
                self.reopen();
                return Err(TailError::Gap { stream: stream.to_owned(), after: last, found: sequence });
            }
        }
        let message = message.message;
        Ok(Some(Entry {
            sequence,
            payload: message.payload,
            pending,
            stored_at: Timestamp(stored_ms),
            subject: message.subject,
            headers: message.headers,
        }))
    }
}

/// Makes a consumer after a message; tries until it stands, however long that takes.
async fn open(bus: Bus, course: Arc<Course>, after: u64, wait: Duration) -> Result<Reading, TailError> {
    tokio::time::sleep(wait).await;
    let mut backoff = retry::Backoff::default();
    loop {
        bus.connected().await;
        if course.holes == Holes::Forbidden {
            check_length(&bus, &course, after).await?;
        }
        let mut cuts = bus.cuts();
        let consumed = tokio::select! {
            biased;
            consumed = consume(&bus, &course, after) => consumed,
            () = cuts.next() => Err("the connection was cut".into()),
        };
        match consumed {
            Ok(messages) => return Ok(Reading { messages, cuts }),
            Err(error) => tracing::debug!(stream = course.stream, %error, "no consumer yet"),
        }
        backoff.wait().await;
    }
}

/// Refuses a stream that is shorter than what was read from it. Knows nothing when the server does not answer.
async fn check_length(bus: &Bus, course: &Course, after: u64) -> Result<(), TailError> {
    match stream::last_of(bus, course.stream, after).await {
        Some(last) if last < after => {
            Err(TailError::Shorter { stream: course.stream.to_owned(), after, last })
        }
        Some(_) | None => Ok(()),
    }
}

async fn consume(bus: &Bus, course: &Course, after: u64) -> Result<pull::Stream, crate::Source> {
    let consumer = create(bus, course, after).await?;
    let messages = consumer
        .stream()
        .max_messages_per_batch(BATCH)
        .max_bytes_per_batch(BATCH_BYTES)
        .expires(EXPIRES)
        .heartbeat(HEARTBEAT);
    Ok(messages.messages().await?)
}

/// Makes the consumer. Its name tells whose it is; the drawn part lets it be made anew beside its forerunner.
pub(crate) async fn create(
    bus: &Bus,
    course: &Course,
    after: u64,
) -> Result<PullConsumer, async_nats::jetstream::stream::ConsumerError> {
    let config = pull::Config {
        name: Some(consumer_name(bus)),
        deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: after + 1 },
        ack_policy: AckPolicy::None,
        filter_subjects: course.filters.clone(),
        inactive_threshold: INACTIVE,
        memory_storage: true,
        num_replicas: 1,
        ..pull::Config::default()
    };
    bus.context().create_consumer_on_stream(config, course.stream).await
}

fn consumer_name(bus: &Bus) -> String {
    let keep = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '-' };
    let owner: String = bus.name().chars().take(64).map(keep).collect();
    format!("{owner}-{}", bus.unique())
}
