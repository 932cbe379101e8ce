//! The commit log: the truth. Appending is fenced by the sequence that the writer believes to be the last.
//!
//! An append whose acknowledgement does not come is never guessed: the message that would have been written is read
//! back from the leader and compared byte by byte.

use crate::api::{self, ApiError};
use crate::connect::{Bus, RequestError};
use crate::retry::Backoff;
use crate::stream;
use crate::tail::{Course, Holes, Tail};
use async_nats::jetstream::ErrorCode;
use bytes::Bytes;
use events::subject::{LOG_STREAM, LOG_SUBJECT};
use std::time::Duration;
use tokio::time::Instant;

/// How long one append tries before it gives up for now.
pub const APPEND_PATIENCE: Duration = Duration::from_secs(5);
/// How long one read tries before it gives up. Servers that have lost the one that leads take 4 to 9 s to elect another,
/// and when all of them start again, one election may have to wait for another.
pub const READ_PATIENCE: Duration = Duration::from_secs(20);
/// Largest commit, in bytes; so is the stream set up.
pub const COMMIT_BYTES: usize = 900 * 1024;
/// The header that fences an append.
pub(crate) const EXPECTED_LAST: &str = "Nats-Expected-Last-Sequence";

/// Why a commit was not appended, or may not have been.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Another writer has written this place. Fold what it wrote and decide again.
    #[error("another King has written commit {sequence} of the log; this one has lost its place")]
    Deposed { sequence: u64 },
    /// The log ends before what the writer knows: it lost commits or was replaced.
    #[error(
        "the log ends at {last}, but commit {expected} was read from it before; it lost commits or was replaced: \
         stop writing and compare it with the journals"
    )]
    Shorter { expected: u64, last: u64 },
    #[error("a commit of {bytes} bytes; the log takes at most {COMMIT_BYTES}")]
    TooLarge { bytes: usize },
    /// Nothing was written, and the same will not succeed until somebody changes something.
    #[error("the log refuses the commit; is its stream full?")]
    Refused(#[source] ApiError),
    /// Nothing was written; the same may succeed later.
    #[error("the log cannot be reached for {patience:?}; nothing was written", patience = APPEND_PATIENCE)]
    Unavailable(#[source] ApiError),
    /// It may have been written. Call append again with the same bytes and the same place until it is clear.
    #[error(
        "the log stopped answering before it acknowledged commit {sequence}; whether it is written is unknown: \
         append the same bytes again"
    )]
    Unknown {
        sequence: u64,
        #[source]
        source: ApiError,
    },
}

/// Why the log could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("the log (stream {LOG_STREAM}) cannot be {verb}", verb = .tried)]
    Api {
        /// What was tried: opened, read.
        tried: &'static str,
        #[source]
        source: ApiError,
    },
}

/// The commit log.
#[derive(Clone, Debug)]
pub struct Log {
    bus: Bus,
    created_at: String,
}

/// What one attempt to append came to.
enum Attempt {
    Stored(u64),
    /// The last sequence is not the expected one.
    Overtaken(ApiError),
    /// Not written.
    Failed(ApiError),
    /// Perhaps written.
    Unclear(ApiError),
    Fatal(AppendError),
}

/// What stands where a commit would have been written.
enum Witness {
    Own,
    Another,
    Nothing,
}

impl Log {
    /// Opens the log that was provisioned.
    ///
    /// # Errors
    /// When the stream is not there or does not answer.
    pub async fn open(bus: &Bus) -> Result<Self, LogError> {
        let info = patiently(|| stream::info(bus, LOG_STREAM)).await.map_err(at("opened"))?;
        Ok(Self { bus: bus.clone(), created_at: info.created })
    }

    /// When the stream was made, as the server writes it (RFC 3339): another time is another log.
    pub fn created_at(&self) -> &str {
        &self.created_at
    }

    /// Appends one commit after the commit `expected_last` (0 in an empty log); returns its sequence.
    ///
    /// May be called again with the same bytes and place at any time: one copy is stored.
    ///
    /// # Errors
    /// See [`AppendError`]; only [`AppendError::Unknown`] leaves open whether it was written.
    pub async fn append(&self, payload: impl Into<Bytes>, expected_last: u64) -> Result<u64, AppendError> {
        let payload = payload.into();
        if payload.len() > COMMIT_BYTES {
            return Err(AppendError::TooLarge { bytes: payload.len() });
        }
        let deadline = Instant::now() + APPEND_PATIENCE;
        let (mut backoff, mut doubtful) = (Backoff::default(), false);
        loop {
            let attempt = self.attempt(&payload, expected_last).await;
            let (overtaken, error) = match attempt {
                Attempt::Stored(sequence) => return Ok(sequence),
                Attempt::Fatal(error) if !doubtful => return Err(error),
                Attempt::Fatal(_) => unclear_refusal(),
                Attempt::Overtaken(error) => (true, error),
                Attempt::Unclear(error) => {
                    doubtful = true;
                    (false, error)
                }
                Attempt::Failed(error) => (false, error),
            };
            if overtaken || doubtful {
                match self.witness(&payload, expected_last + 1).await {
                    Ok(Witness::Own) => return Ok(expected_last + 1),
                    Ok(Witness::Another) => return Err(AppendError::Deposed { sequence: expected_last + 1 }),
                    Ok(Witness::Nothing) if overtaken => self.check_length(expected_last).await?,
                    Ok(Witness::Nothing) => {}
                    Err(error) => tracing::debug!(%error, "the log cannot be read back yet"),
                }
            }
            if Instant::now() >= deadline {
                return Err(give_up(expected_last + 1, doubtful, error));
            }
            backoff.wait().await;
        }
    }

    async fn attempt(&self, payload: &Bytes, expected_last: u64) -> Attempt {
        let expected = expected_last.to_string();
        let headers = [(EXPECTED_LAST, expected.as_str())];
        let error = match api::publish(&self.bus, LOG_SUBJECT, &headers, payload.clone()).await {
            Ok(stored) => return Attempt::Stored(stored.sequence),
            Err(error) => error,
        };
        if error.has_code(ErrorCode::STREAM_WRONG_LAST_SEQUENCE) {
            return Attempt::Overtaken(error);
        }
        if error.is_ambiguous() {
            return Attempt::Unclear(error);
        }
        if error.is_passing() {
            return Attempt::Failed(error);
        }
        Attempt::Fatal(AppendError::Refused(error))
    }

    async fn witness(&self, payload: &Bytes, sequence: u64) -> Result<Witness, ApiError> {
        Ok(match stream::read(&self.bus, LOG_STREAM, sequence).await? {
            Some(stored) if stored.payload == *payload => Witness::Own,
            Some(_) => Witness::Another,
            None => Witness::Nothing,
        })
    }

    /// Refuses a log that ends before the commit that the writer expects to be the last.
    async fn check_length(&self, expected: u64) -> Result<(), AppendError> {
        match stream::info(&self.bus, LOG_STREAM).await {
            Ok(info) if info.state.last_seq < expected => {
                Err(AppendError::Shorter { expected, last: info.state.last_seq })
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// The bytes of a commit, from the leader; none when there is none.
    ///
    /// # Errors
    /// When the log does not answer.
    pub async fn read(&self, sequence: u64) -> Result<Option<Bytes>, LogError> {
        let stored = patiently(|| stream::read(&self.bus, LOG_STREAM, sequence)).await.map_err(at("read"))?;
        Ok(stored.map(|stored| stored.payload))
    }

    /// The sequence of the last commit; 0 in an empty log.
    ///
    /// # Errors
    /// When the log does not answer.
    pub async fn last_sequence(&self) -> Result<u64, LogError> {
        let info = patiently(|| stream::info(&self.bus, LOG_STREAM)).await.map_err(at("read"))?;
        Ok(info.state.last_seq)
    }

    /// Follows the log from the commit after sequence `after`.
    pub fn tail(&self, after: u64) -> Tail {
        let course = Course { stream: LOG_STREAM, filters: Vec::new(), holes: Holes::Forbidden };
        Tail::new(&self.bus, course, after)
    }
}

/// A refusal that follows an unclear attempt clears nothing up: the earlier one may still land.
fn unclear_refusal() -> (bool, ApiError) {
    let error = RequestError::Disconnected { subject: LOG_SUBJECT.to_owned(), maybe_sent: true };
    (false, ApiError::Request(error))
}

fn give_up(sequence: u64, doubtful: bool, source: ApiError) -> AppendError {
    if doubtful { AppendError::Unknown { sequence, source } } else { AppendError::Unavailable(source) }
}

fn at(tried: &'static str) -> impl Fn(ApiError) -> LogError {
    move |source| LogError::Api { tried, source }
}

/// Repeats a harmless request while the reason against it is a passing one.
pub(crate) async fn patiently<T, F, Fut>(ask: F) -> Result<T, ApiError>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<T, ApiError>>,
{
    within(READ_PATIENCE, ask).await
}

/// [`patiently`], with another end.
pub(crate) async fn within<T, F, Fut>(patience: Duration, ask: F) -> Result<T, ApiError>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<T, ApiError>>,
{
    let deadline = Instant::now() + patience;
    let mut backoff = Backoff::default();
    loop {
        match ask().await {
            Err(error) if error.is_passing() && Instant::now() < deadline => {
                tracing::debug!(%error, "asking JetStream again");
            }
            answer => return answer,
        }
        backoff.wait().await;
    }
}
