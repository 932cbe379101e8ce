//! What can be asked of any stream: its state, and single messages, always from its leader.

use crate::api::{self, ApiError};
use crate::connect::{Bus, REQUEST_TIMEOUT, RequestError};
use async_nats::HeaderMap;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{LastRawMessageErrorKind, RawMessageError};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

/// What a stream says of itself.
#[derive(Debug, Deserialize)]
pub(crate) struct StreamInfo {
    /// RFC 3339.
    pub created: String,
    pub config: StreamConfig,
    pub state: StreamState,
}

#[derive(Debug, Deserialize)]
pub(crate) struct StreamConfig {
    pub num_replicas: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct StreamState {
    #[serde(rename = "messages")]
    pub count: u64,
    pub first_seq: u64,
    pub last_seq: u64,
}

/// A stored message.
#[derive(Debug)]
pub(crate) struct Stored {
    pub sequence: u64,
    pub headers: HeaderMap,
    pub payload: Bytes,
}

impl From<StreamMessage> for Stored {
    fn from(message: StreamMessage) -> Self {
        Self { sequence: message.sequence, headers: message.headers, payload: message.payload }
    }
}

/// The state of a stream.
pub(crate) async fn info(bus: &Bus, stream: &str) -> Result<StreamInfo, ApiError> {
    api::call(bus, &format!("STREAM.INFO.{stream}"), &Value::Null).await
}

/// The message with a sequence; none when there is none.
pub(crate) async fn read(bus: &Bus, stream: &str, sequence: u64) -> Result<Option<Stored>, ApiError> {
    if sequence == 0 {
        return Ok(None);
    }
    guarded(bus, stream, async {
        let handle = bus.context().get_stream_no_info(stream).await.map_err(other)?;
        found(handle.get_raw_message(sequence).await)
    })
    .await
}

/// The last message on a subject; none when there is none.
pub(crate) async fn read_last(bus: &Bus, stream: &str, subject: &str) -> Result<Option<Stored>, ApiError> {
    guarded(bus, stream, async {
        let handle = bus.context().get_stream_no_info(stream).await.map_err(other)?;
        found(handle.get_last_raw_message_by_subject(subject).await)
    })
    .await
}

/// Forgets all messages up to and with this sequence.
pub(crate) async fn purge_up_to(bus: &Bus, stream: &str, sequence: u64) -> Result<(), ApiError> {
    let body = json!({ "seq": sequence + 1 });
    api::call::<Value>(bus, &format!("STREAM.PURGE.{stream}"), &body).await.map(|_| ())
}

/// Asks only on a live connection, and ends at once when that is cut.
async fn guarded<T>(
    bus: &Bus,
    stream: &str,
    asked: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    let disconnected = |maybe_sent| RequestError::Disconnected { subject: stream.to_owned(), maybe_sent };
    if !bus.wait_until_connected(Instant::now() + REQUEST_TIMEOUT).await {
        return Err(disconnected(false).into());
    }
    let mut cuts = bus.cuts();
    tokio::select! {
        biased;
        answer = asked => answer,
        () = cuts.next() => Err(disconnected(true).into()),
    }
}

fn found(answer: Result<StreamMessage, RawMessageError>) -> Result<Option<Stored>, ApiError> {
    let error = match answer {
        Ok(message) => return Ok(Some(message.into())),
        Err(error) => error,
    };
    match error.kind() {
        LastRawMessageErrorKind::NoMessageFound => Ok(None),
        LastRawMessageErrorKind::JetStream(refusal) => Err(ApiError::Refused {
            status: u16::try_from(refusal.code()).unwrap_or(500),
            code: refusal.error_code().0,
            reason: refusal.to_string(),
        }),
        LastRawMessageErrorKind::InvalidSubject | LastRawMessageErrorKind::Other => Err(other(error)),
    }
}

fn other(error: impl Into<crate::Source>) -> ApiError {
    ApiError::Client(error.into())
}
