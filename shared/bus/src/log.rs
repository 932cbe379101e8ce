//! The commit log: the truth. Appending is fenced by the sequence that the writer believes to be the last.
//!
//! An append whose acknowledgement does not come is never guessed: the message that would have been written is read
//! back from the leader and compared byte by byte.

mod appending;

use crate::api::{self, ApiError};
use crate::connect::{Bus, RequestError};
use crate::retry::Backoff;
use crate::stream;
use crate::tail::{Course, Holes, Tail};
use async_nats::jetstream::ErrorCode;
use bytes::Bytes;
use events::Digest;
use events::subject::{HEADER_ID, LOG_STREAM, LOG_SUBJECT};
use std::time::Duration;
use tokio::time::Instant;

pub use appending::{Appending, Attempt, Ending, Next, Witness};

/// How long one append tries before it gives up for now.
pub const APPEND_PATIENCE: Duration = Duration::from_secs(5);
/// How long one read tries before it gives up. Servers that have lost the one that leads take 4 to 9 s to elect another,
/// and when all of them start again, one election may have to wait for another.
pub const READ_PATIENCE: Duration = Duration::from_secs(20);
/// Largest commit, in bytes; so is the stream set up.
pub const COMMIT_BYTES: usize = 900 * 1024;
/// The header that fences an append.
pub(crate) const EXPECTED_LAST: &str = "Nats-Expected-Last-Sequence";
/// The header that fences an append behind one that is not acknowledged yet.
const EXPECTED_LAST_ID: &str = "Nats-Expected-Last-Msg-Id";

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
    replicas: u64,
}

/// How many commits may be in flight at once.
///
/// The second is fenced by the id of the first. With one replica nats-server refuses a message whose fence by id does not
/// hold; with several it first agrees on the message and then fails to store it on all of them, and the stream takes
/// nothing any more (seen in 2.15.1: "critical write error: last msgid mismatch").
pub fn flights(replicas: u64) -> usize {
    if replicas == 1 { 2 } else { 1 }
}

/// A commit to append.
#[derive(Clone, Debug)]
pub struct Append {
    pub payload: Bytes,
    /// BLAKE3 of the payload; the server knows the message under it.
    pub hash: Digest,
    /// The sequence of the commit before; 0 in an empty log.
    pub expected_last: u64,
    /// The hash of the commit before, while that is still in flight itself. Its sequence alone would not fence then: a
    /// rival that writes in its place leaves the log just as long.
    pub follows: Option<Digest>,
}

impl Append {
    /// The headers that fence it.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers =
            vec![(EXPECTED_LAST, self.expected_last.to_string()), (HEADER_ID, self.hash.to_string())];
        headers.extend(self.follows.map(|follows| (EXPECTED_LAST_ID, follows.to_string())));
        headers
    }
}

/// What the first attempt to append came to.
#[derive(Debug)]
pub struct Attempted {
    attempt: Attempt,
    error: Option<ApiError>,
}

impl Log {
    /// Opens the log that was provisioned.
    ///
    /// # Errors
    /// When the stream is not there or does not answer.
    pub async fn open(bus: &Bus) -> Result<Self, LogError> {
        let info = patiently(|| stream::info(bus, LOG_STREAM)).await.map_err(at("opened"))?;
        Ok(Self { bus: bus.clone(), created_at: info.created, replicas: info.config.num_replicas })
    }

    /// How many commits may be in flight at once in this log: see [`flights`].
    pub fn flights(&self) -> usize {
        flights(self.replicas)
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
        let append = Append { hash: Digest::of(&payload), payload, expected_last, follows: None };
        let attempted = self.attempt(&append).await;
        self.settle(&append, attempted).await
    }

    /// Makes one attempt. Several may be under way at once, each following the one before; what they come to is to be
    /// [settled](Log::settle) in order.
    pub async fn attempt(&self, append: &Append) -> Attempted {
        if append.payload.len() > COMMIT_BYTES {
            return Attempted { attempt: Attempt::Refused, error: None };
        }
        let headers = append.headers();
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        match api::publish(&self.bus, LOG_SUBJECT, &headers, append.payload.clone()).await {
            Ok(stored) => Attempted { attempt: Attempt::Stored(stored.sequence), error: None },
            Err(error) => Attempted { attempt: judge(&error), error: Some(error) },
        }
    }

    /// Finds out whether a commit is stored after an attempt, and stores it if not. Every commit before it has to be
    /// stored already.
    ///
    /// # Errors
    /// As for [`Log::append`].
    pub async fn settle(&self, append: &Append, attempted: Attempted) -> Result<u64, AppendError> {
        if append.payload.len() > COMMIT_BYTES {
            return Err(AppendError::TooLarge { bytes: append.payload.len() });
        }
        let alone = Append { follows: None, ..append.clone() };
        let deadline = Instant::now() + APPEND_PATIENCE;
        let (mut appending, mut backoff) = (Appending::after(append.expected_last), Backoff::default());
        let Attempted { mut attempt, mut error } = attempted;
        loop {
            match self.follow_up(&mut appending, attempt, &alone.payload).await {
                None => {}
                Some(Ending::Stored(sequence)) => return Ok(sequence),
                Some(Ending::Deposed) => return Err(AppendError::Deposed { sequence: appending.sequence() }),
                Some(Ending::Shorter { last }) => {
                    return Err(AppendError::Shorter { expected: append.expected_last, last });
                }
                Some(Ending::Refused) => return Err(AppendError::Refused(reason(error))),
            }
            if Instant::now() >= deadline {
                return Err(give_up(&appending, reason(error)));
            }
            backoff.wait().await;
            Attempted { attempt, error } = self.attempt(&alone).await;
        }
    }

    /// What follows from an attempt: the end, or none when another attempt is due.
    async fn follow_up(
        &self,
        appending: &mut Appending,
        attempt: Attempt,
        payload: &Bytes,
    ) -> Option<Ending> {
        let mut next = appending.attempted(attempt);
        loop {
            next = match next {
                Next::ReadBack => {
                    let witness = self.witness(payload, appending.sequence()).await;
                    appending.read_back(witness)
                }
                Next::Measure => {
                    let last = stream::last_of(&self.bus, LOG_STREAM, appending.sequence() - 1).await;
                    appending.measured(last)
                }
                Next::Again => return None,
                Next::Done(ending) => return Some(ending),
            };
        }
    }

    async fn witness(&self, payload: &Bytes, sequence: u64) -> Witness {
        match stream::read(&self.bus, LOG_STREAM, sequence).await {
            Ok(Some(stored)) if stored.payload == *payload => Witness::Own,
            Ok(Some(_)) => Witness::Another,
            Ok(None) => Witness::Nothing,
            Err(error) => {
                tracing::debug!(%error, "the log cannot be read back yet");
                Witness::Unread
            }
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

    /// The bytes of a commit as far as the server can give them: what it refuses to read is as if it were not there.
    pub(crate) async fn read_what_is_there(&self, sequence: u64) -> Result<Option<Bytes>, LogError> {
        match self.read(sequence).await {
            Err(LogError::Api { source, tried: _ }) if source.is_refused_for_good() => {
                tracing::warn!(sequence, reason = %source, "the server does not give this commit");
                Ok(None)
            }
            answer => answer,
        }
    }

    /// Whether a commit stands behind commit `last`: if that was a writer's own, and nothing of it is in flight, another
    /// King has been elected. Asks once.
    ///
    /// # Errors
    /// When the log does not answer.
    pub async fn goes_on_after(&self, last: u64) -> Result<bool, LogError> {
        let next = stream::read(&self.bus, LOG_STREAM, last + 1).await.map_err(at("read"))?;
        Ok(next.is_some())
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

/// What a failed attempt means for the commit.
pub fn judge(error: &ApiError) -> Attempt {
    let overtaken = [ErrorCode::STREAM_WRONG_LAST_SEQUENCE, ErrorCode::STREAM_WRONG_LAST_MESSAGE_ID];
    if overtaken.iter().any(|code| error.has_code(*code)) {
        Attempt::Overtaken
    } else if error.is_ambiguous() {
        Attempt::Unclear
    } else if error.is_passing() {
        Attempt::Failed
    } else {
        Attempt::Refused
    }
}

fn give_up(appending: &Appending, source: ApiError) -> AppendError {
    if appending.is_doubtful() {
        AppendError::Unknown { sequence: appending.sequence(), source }
    } else {
        AppendError::Unavailable(source)
    }
}

/// Why the last attempt did not store the commit. One that was acknowledged elsewhere has no error of its own.
fn reason(error: Option<ApiError>) -> ApiError {
    error.unwrap_or_else(|| {
        let subject = LOG_SUBJECT.to_owned();
        ApiError::Request(RequestError::Disconnected { subject, maybe_sent: true })
    })
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
