//! Why there is no connection, and why something was not sent or not answered.

use crate::Source;
use crate::headers::BadHeader;
use async_nats::RequestErrorKind;
use std::time::Duration;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("{url:?} is no NATS address; write it like nats://127.0.0.1:4222")]
    BadUrl {
        url: String,
        #[source]
        source: std::io::Error,
    },
    #[error(
        "the NATS address {url:?} holds a user or password; give them by their own options, not in the address"
    )]
    CredentialsInUrl { url: String },
    #[error("the NATS server at {url} refuses {user}; check the user and password against its configuration")]
    Refused {
        url: String,
        user: String,
        #[source]
        source: Source,
    },
    #[error(
        "no NATS server answers at {url} after {tried:?} of trying; start one there, or name another address"
    )]
    Unreachable {
        url: String,
        tried: Duration,
        #[source]
        source: Source,
    },
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error("nobody listens on {subject}; is the service that answers it running, on the same NATS account?")]
    NoResponders { subject: String },
    #[error("no answer on {subject} within {waited:?}; whether the request arrived is unknown")]
    TimedOut { subject: String, waited: Duration },
    /// The connection is down, or was cut while the answer was awaited.
    #[error("the connection to NATS is down for the request on {subject}; {}", sent_text(*maybe_sent))]
    Disconnected {
        subject: String,
        /// Whether the request may have arrived all the same.
        maybe_sent: bool,
    },
    #[error("{bytes} bytes for {subject}; this server takes at most {most} in one message")]
    TooLarge { subject: String, bytes: usize, most: usize },
    #[error("{subject:?} is no subject: tokens without spaces, joined by dots, none empty")]
    BadSubject { subject: String },
    #[error(transparent)]
    BadHeader(#[from] BadHeader),
}

fn sent_text(maybe_sent: bool) -> &'static str {
    if maybe_sent { "whether it arrived is unknown" } else { "nothing was sent" }
}

impl RequestError {
    /// Whether the request may have arrived although there is no answer.
    pub fn is_ambiguous(&self) -> bool {
        match self {
            Self::TimedOut { .. } => true,
            Self::Disconnected { maybe_sent, .. } => *maybe_sent,
            Self::NoResponders { .. }
            | Self::TooLarge { .. }
            | Self::BadSubject { .. }
            | Self::BadHeader(_) => false,
        }
    }
}

/// Why a core message was not handed to the connection.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    #[error("the connection to NATS is down or stands still; the message for {subject} was not sent")]
    Disconnected { subject: String },
    #[error("the message for {subject} cannot be sent")]
    Invalid {
        subject: String,
        #[source]
        source: Source,
    },
    #[error(transparent)]
    BadHeader(#[from] BadHeader),
}

/// Why there is no subscription.
#[derive(Debug, thiserror::Error)]
#[error("cannot subscribe to {subject:?}")]
pub struct SubscribeError {
    pub subject: String,
    #[source]
    pub(super) source: Source,
}

/// Why a stream did not acknowledge a message.
#[derive(Debug, thiserror::Error)]
#[error("the message for {subject} is not acknowledged by a stream")]
pub struct StoreError {
    pub subject: String,
    #[source]
    pub source: crate::ApiError,
}

impl StoreError {
    /// Whether the message may be stored all the same: send it again under the same `Nats-Msg-Id`.
    pub fn is_ambiguous(&self) -> bool {
        self.source.is_ambiguous()
    }
}

/// What the client library means for a request.
pub(super) fn request_error(
    subject: &str,
    error: async_nats::RequestError,
    waited: Duration,
) -> RequestError {
    let subject = subject.to_owned();
    match error.kind() {
        RequestErrorKind::NoResponders => RequestError::NoResponders { subject },
        RequestErrorKind::TimedOut => RequestError::TimedOut { subject, waited },
        RequestErrorKind::InvalidSubject => RequestError::BadSubject { subject },
        RequestErrorKind::MaxPayloadExceeded => RequestError::TooLarge { subject, bytes: 0, most: 0 },
        RequestErrorKind::Other => RequestError::Disconnected { subject, maybe_sent: true },
    }
}
