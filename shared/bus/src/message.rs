//! Messages as they come in, and the subscriptions that bring them.

use crate::headers;
use async_nats::{HeaderMap, StatusCode};
use bytes::Bytes;
use futures_util::StreamExt;

/// A message that came in.
#[derive(Clone, Debug)]
pub struct Message {
    pub subject: String,
    /// Where an answer goes, when one is wanted.
    pub reply: Option<String>,
    pub payload: Bytes,
    headers: Option<HeaderMap>,
    status: Option<StatusCode>,
}

impl Message {
    /// Whether the server itself says that nobody listens.
    pub(crate) fn says_nobody_listens(&self) -> bool {
        self.status == Some(StatusCode::NO_RESPONDERS)
    }

    /// The last value of a header; its name is compared without regard to case.
    pub fn header(&self, name: &str) -> Option<&str> {
        headers::get(self.headers.as_ref(), name)
    }

    /// A message as if it had come in.
    ///
    /// # Errors
    /// When a header cannot be carried.
    pub fn build(
        subject: &str,
        reply: Option<&str>,
        with: &[(&str, &str)],
        payload: impl Into<Bytes>,
    ) -> Result<Self, BadHeader> {
        let headers = Some(headers::build(with)?);
        Ok(Self {
            subject: subject.to_owned(),
            reply: reply.map(str::to_owned),
            payload: payload.into(),
            headers,
            status: None,
        })
    }
}

impl From<async_nats::Message> for Message {
    fn from(message: async_nats::Message) -> Self {
        Self {
            subject: message.subject.into_string(),
            reply: message.reply.map(async_nats::Subject::into_string),
            payload: message.payload,
            headers: message.headers,
            status: message.status,
        }
    }
}

pub use crate::headers::BadHeader;

/// A core subscription. It survives reconnects; what is published meanwhile is lost, as always in core NATS.
///
/// It holds at most 65,536 messages that were not yet taken and drops the newest beyond that, with a warning in
/// the log of this process: so the loop that takes them must hand the work on.
#[derive(Debug)]
pub struct Subscription {
    subscriber: async_nats::Subscriber,
}

impl Subscription {
    pub(crate) fn new(subscriber: async_nats::Subscriber) -> Self {
        Self { subscriber }
    }

    /// Takes no more. What has come in already is still given by [`Subscription::next`], then none.
    pub async fn close(&mut self) {
        if let Err(error) = self.subscriber.unsubscribe().await {
            tracing::debug!(%error, "the connection is closed for good already");
        }
    }

    /// The next message; none when it was closed, or the connection for good. Can be cancelled safely.
    pub async fn next(&mut self) -> Option<Message> {
        self.subscriber.next().await.map(Message::from)
    }
}
