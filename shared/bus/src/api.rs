//! JetStream's own requests, spoken plainly: publish with acknowledgement, and calls of its interface.

use crate::connect::{Bus, REQUEST_TIMEOUT, RequestError};
use async_nats::jetstream::ErrorCode;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// Why JetStream did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error("JetStream gave no answer")]
    Request(#[from] RequestError),
    #[error("JetStream refuses: {reason} (status {status}, code {code})")]
    Refused {
        /// Like an HTTP status: 503 is "not now".
        status: u16,
        /// JetStream's own code.
        code: u64,
        reason: String,
    },
    #[error("the answer of JetStream cannot be read; is the server at least 2.14.6?")]
    Unreadable(#[source] serde_json::Error),
    #[error("no answer from JetStream could be had; the connection may be down")]
    Client(#[source] crate::Source),
}

/// The status of a refusal that only holds for now.
const STATUS_UNAVAILABLE: u16 = 503;
/// Refusals that look like passing trouble, but mean that a limit is reached: nothing is stored until it is raised.
const FULL: [ErrorCode; 2] = [ErrorCode::STREAM_STORE_FAILED, ErrorCode::STORAGE_RESOURCES_EXCEEDED];

impl ApiError {
    /// Whether it may be done all the same.
    pub fn is_ambiguous(&self) -> bool {
        match self {
            Self::Request(error) => error.is_ambiguous(),
            Self::Refused { status, .. } => *status >= 500 && !self.is_full(),
            Self::Unreadable(_) | Self::Client(_) => true,
        }
    }

    /// Whether the same may succeed a little later, without anybody changing anything.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Request(error) => match error {
                RequestError::NoResponders { .. }
                | RequestError::TimedOut { .. }
                | RequestError::Disconnected { .. } => true,
                RequestError::TooLarge { .. }
                | RequestError::BadSubject { .. }
                | RequestError::BadHeader(_) => false,
            },
            Self::Refused { status, .. } => *status == STATUS_UNAVAILABLE && !self.is_full(),
            Self::Client(_) => true,
            Self::Unreadable(_) => false,
        }
    }

    /// Whether JetStream has answered, and will not answer otherwise by itself.
    pub(crate) fn is_refused_for_good(&self) -> bool {
        match self {
            Self::Refused { .. } => !self.is_passing(),
            Self::Request(_) | Self::Unreadable(_) | Self::Client(_) => false,
        }
    }

    /// Whether a limit of the stream or the server is reached.
    pub fn is_full(&self) -> bool {
        FULL.iter().any(|code| self.has_code(*code))
    }

    /// Whether JetStream refused with this code.
    pub(crate) fn has_code(&self, wanted: ErrorCode) -> bool {
        match self {
            Self::Refused { code, .. } => *code == wanted.0,
            Self::Request(_) | Self::Unreadable(_) | Self::Client(_) => false,
        }
    }
}

/// What an acknowledgement says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stored {
    pub sequence: u64,
}

#[derive(Deserialize)]
struct Ack {
    #[serde(default)]
    seq: u64,
}

#[derive(Deserialize)]
struct Refusal {
    error: Option<RefusalBody>,
}

#[derive(Deserialize)]
struct RefusalBody {
    code: u16,
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

/// Publishes to a stream; one attempt of at most [`REQUEST_TIMEOUT`].
pub(crate) async fn publish(
    bus: &Bus,
    subject: &str,
    headers: &[(&str, &str)],
    payload: Bytes,
) -> Result<Stored, ApiError> {
    publish_within(bus, subject, headers, payload, REQUEST_TIMEOUT).await
}

/// Publishes to a stream; one attempt of at most this time.
pub(crate) async fn publish_within(
    bus: &Bus,
    subject: &str,
    headers: &[(&str, &str)],
    payload: Bytes,
    within: Duration,
) -> Result<Stored, ApiError> {
    let answer = bus.request(subject, headers, payload, within).await?;
    let ack: Ack = parse(&answer.payload)?;
    Ok(Stored { sequence: ack.seq })
}

/// Calls JetStream's interface; one attempt of at most [`REQUEST_TIMEOUT`].
pub(crate) async fn call<T: DeserializeOwned>(
    bus: &Bus,
    operation: &str,
    body: &serde_json::Value,
) -> Result<T, ApiError> {
    let payload = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let answer = bus.request(&format!("$JS.API.{operation}"), &[], payload, REQUEST_TIMEOUT).await?;
    parse(&answer.payload)
}

fn parse<T: DeserializeOwned>(payload: &[u8]) -> Result<T, ApiError> {
    let refusal: Refusal = serde_json::from_slice(payload).map_err(ApiError::Unreadable)?;
    if let Some(error) = refusal.error {
        return Err(ApiError::Refused {
            status: error.code,
            code: error.err_code,
            reason: error.description,
        });
    }
    serde_json::from_slice(payload).map_err(ApiError::Unreadable)
}
