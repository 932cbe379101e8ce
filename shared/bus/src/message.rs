//! Messages as they come in, and the subscriptions that bring them.

use crate::headers;
use async_nats::{HeaderMap, StatusCode};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

/// A subject as it came in: a part of what was read, and no copy of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Subject(pub(crate) async_nats::Subject);

impl Deref for Subject {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Hash for Subject {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        str::hash(self, hasher);
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self)
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, formatter)
    }
}

/// A message that came in.
#[derive(Clone, Debug)]
pub struct Message {
    pub subject: Subject,
    /// Where an answer goes, when one is wanted.
    pub reply: Option<Subject>,
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
            subject: Subject(subject.into()),
            reply: reply.map(|reply| Subject(reply.into())),
            payload: payload.into(),
            headers,
            status: None,
        })
    }
}

impl From<async_nats::Message> for Message {
    fn from(message: async_nats::Message) -> Self {
        Self {
            subject: Subject(message.subject),
            reply: message.reply.map(Subject),
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

    /// A message that has come in already; none when there is none, or no more for now.
    pub fn ready(&mut self) -> Option<Message> {
        self.next().now_or_never()?
    }
}
