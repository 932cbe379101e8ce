//! What can be asked of any stream: its state, and single messages, always from its leader.

use crate::api::{self, ApiError};
use crate::connect::{Bus, REQUEST_TIMEOUT, RequestError};
use crate::retry::Backoff;
use async_nats::HeaderMap;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{LastRawMessageErrorKind, RawMessageError};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

/// How long the servers of a cluster have to insist that a stream is shorter than what was read from it.
const SHORTER_PROOF: Duration = Duration::from_secs(5);

/// What a stream says of itself.
#[derive(Debug, Deserialize)]
pub(crate) struct StreamInfo {
    /// RFC 3339.
    pub created: String,
    pub config: StreamConfig,
    pub state: StreamState,
    /// Absent where one server stands by itself.
    cluster: Option<Copies>,
}

/// The servers that keep a stream, as the one that answers sees them.
#[derive(Debug, Deserialize)]
struct Copies {
    #[serde(default)]
    replicas: Vec<Peer>,
}

/// A server with a copy, beside the one that answers.
#[derive(Debug, Deserialize)]
struct Peer {
    name: String,
    #[serde(default)]
    current: bool,
    #[serde(default)]
    offline: bool,
}

impl StreamInfo {
    /// How many servers keep it.
    pub fn copies(&self) -> usize {
        1 + self.cluster.as_ref().map_or(0, |copies| copies.replicas.len())
    }

    /// The servers whose copies are not at the end of the stream.
    pub fn behind(&self) -> Vec<String> {
        let copies = self.cluster.iter().flat_map(|copies| &copies.replicas);
        copies.filter(|copy| !copy.current || copy.offline).map(|copy| copy.name.clone()).collect()
    }

    /// Whether the server that answers can know the end of the stream: it is alone, or more than half of the copies are
    /// in touch with each other.
    fn is_sure(&self) -> bool {
        let Some(copies) = &self.cluster else { return true };
        let in_touch = copies.replicas.iter().filter(|copy| copy.current && !copy.offline).count();
        2 * (in_touch + 1) > copies.replicas.len() + 1
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct StreamConfig {
    pub num_replicas: u64,
}

#[derive(Clone, Copy, Debug, Deserialize)]
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

/// The last sequence of a stream that is expected to reach at least `expected`; none when it cannot be known now.
///
/// In a cluster, a server that has just been elected and one that no longer leads without knowing it answer with less than
/// what is stored. So less is believed only when nothing else is heard for [`SHORTER_PROOF`], from servers in touch.
pub(crate) async fn last_of(bus: &Bus, stream: &str, expected: u64) -> Option<u64> {
    let (deadline, mut backoff) = (Instant::now() + SHORTER_PROOF, Backoff::default());
    loop {
        let info = match info(bus, stream).await {
            Ok(info) => info,
            Err(error) => {
                tracing::debug!(stream, %error, "the end of the stream is not known");
                return None;
            }
        };
        let last = info.state.last_seq;
        if last >= expected || info.cluster.is_none() {
            return Some(last);
        }
        if Instant::now() >= deadline {
            return info.is_sure().then_some(last);
        }
        tracing::debug!(stream, last, expected, "the stream is said to be shorter; asking again");
        backoff.wait().await;
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn info(cluster: Value) -> StreamInfo {
        let state = json!({ "messages": 32, "first_seq": 1, "last_seq": 32 });
        let config = json!({ "num_replicas": 3 });
        let info = json!({ "config": config, "created": "now", "state": state, "cluster": cluster });
        serde_json::from_value(info).expect("info")
    }

    #[test]
    fn a_server_that_has_lost_touch_does_not_know_the_end() {
        let near = json!({ "name": "n2", "current": true });
        let far = json!({ "name": "n3", "current": false, "offline": true });
        assert!(info(Value::Null).is_sure(), "one server by itself");
        assert!(info(json!({ "leader": "n1" })).is_sure(), "one copy");
        assert!(info(json!({ "replicas": [near, far] })).is_sure(), "two of three");
        assert!(!info(json!({ "replicas": [far, far] })).is_sure(), "one of three");
    }
}
