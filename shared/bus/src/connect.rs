//! The connection: made once at start with a bounded patience, kept for ever after.
//!
//! Every call here is bounded. A call that finds the connection down waits for it as long as the call's own time
//! allows before it sends anything; a call that is cut off says so at once, and that its outcome is unknown.

mod cut_off;
mod error;
mod link;
mod ring;
mod setup;

use crate::durable::CLUSTER_REPLICAS;
use crate::message::{Message, Subscription};
use crate::{Source, api, headers};
use async_nats::Client;
use async_nats::jetstream::context::Context;
use bytes::Bytes;
use error::request_error;
use futures_util::FutureExt;
use link::{Link, cut};
use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

pub use error::{ConnectError, PublishError, RequestError, StoreError, SubscribeError};
pub(crate) use link::Cuts;
pub(crate) use setup::server_count;
pub use setup::{CONNECT_PATIENCE, Options, connect};

/// How long one request to JetStream, one acknowledgement or one attempt to connect may take.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(1);
/// A connection. Clones share it.
#[derive(Clone)]
pub struct Bus {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    context: Context,
    link: watch::Receiver<Link>,
    name: String,
}

impl fmt::Debug for Bus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Bus").field("name", &self.inner.name).finish_non_exhaustive()
    }
}

impl Bus {
    /// How many copies of each stream the servers must keep, by what this one says of itself: see [`durable`].
    ///
    /// [`durable`]: crate::durable
    pub fn replicas(&self) -> u32 {
        self.inner.client.server_info().cluster.map_or(1, |_| CLUSTER_REPLICAS)
    }

    /// The name of the server that this connection leads to, or led to last.
    pub fn server(&self) -> String {
        self.inner.client.server_info().server_name
    }

    /// Asks and waits for one answer, at most `timeout` in all.
    ///
    /// # Errors
    /// See [`RequestError`]; [`RequestError::is_ambiguous`] tells whether it may have arrived all the same.
    pub async fn request(
        &self,
        subject: &str,
        headers: &[(&str, &str)],
        payload: impl Into<Bytes>,
        timeout: Duration,
    ) -> Result<Message, RequestError> {
        let map = headers::build(headers)?;
        let payload = payload.into();
        self.check_size(subject, payload.len())?;
        let deadline = Instant::now() + timeout;
        if !self.wait_until_connected(deadline).await {
            return Err(RequestError::Disconnected { subject: subject.to_owned(), maybe_sent: false });
        }
        let mut request = async_nats::Request::new().payload(payload).timeout(None);
        if !headers.is_empty() {
            request = request.headers(map);
        }
        let mut link = self.inner.link.clone();
        let cuts = link.borrow_and_update().cuts;
        let answer = self.inner.client.send_request(subject.to_owned(), request);
        tokio::select! {
            answer = timeout_at(deadline, answer) => match answer {
                Ok(answer) => answer.map(Message::from).map_err(|error| request_error(subject, error, timeout)),
                Err(_) => Err(RequestError::TimedOut { subject: subject.to_owned(), waited: timeout }),
            },
            () = cut(&mut link, cuts) => {
                Err(RequestError::Disconnected { subject: subject.to_owned(), maybe_sent: true })
            }
        }
    }

    /// Waits until all that was published has gone out to the server.
    ///
    /// # Errors
    /// When the connection takes nothing within [`REQUEST_TIMEOUT`].
    pub async fn flush(&self) -> Result<(), PublishError> {
        let disconnected = || PublishError::Disconnected { subject: "all that was published".to_owned() };
        let flushed = tokio::time::timeout(REQUEST_TIMEOUT, self.inner.client.flush()).await;
        flushed.map_err(|_| disconnected())?.map_err(|_| disconnected())
    }

    /// Publishes without an acknowledgement: at most once.
    ///
    /// # Errors
    /// When a header is bad, or the connection takes nothing within [`REQUEST_TIMEOUT`].
    pub async fn publish(
        &self,
        subject: &str,
        headers: &[(&str, &str)],
        payload: impl Into<Bytes>,
    ) -> Result<(), PublishError> {
        let client = &self.inner.client;
        let map = headers::build(headers)?;
        if headers.is_empty() {
            self.hand_over(subject, client.publish(subject.to_owned(), payload.into())).await
        } else {
            self.hand_over(subject, client.publish_with_headers(subject.to_owned(), map, payload.into()))
                .await
        }
    }

    /// Hands a message to the connection, which mostly takes it at once.
    async fn hand_over(
        &self,
        subject: &str,
        sending: impl Future<Output = Result<(), async_nats::PublishError>>,
    ) -> Result<(), PublishError> {
        let invalid = |source: async_nats::PublishError| PublishError::Invalid {
            subject: subject.to_owned(),
            source: source.into(),
        };
        let mut sending = pin!(sending);
        if self.is_connected()
            && let Some(sent) = sending.as_mut().now_or_never()
        {
            return sent.map_err(invalid);
        }
        let deadline = Instant::now() + REQUEST_TIMEOUT;
        let disconnected = || PublishError::Disconnected { subject: subject.to_owned() };
        if !self.wait_until_connected(deadline).await {
            return Err(disconnected());
        }
        timeout_at(deadline, sending).await.map_err(|_| disconnected())?.map_err(invalid)
    }

    /// Publishes to a stream and waits for its acknowledgement: the sequence in that stream.
    ///
    /// # Errors
    /// See [`StoreError`]; [`StoreError::is_ambiguous`] tells whether it may be stored all the same.
    pub async fn store(
        &self,
        subject: &str,
        headers: &[(&str, &str)],
        payload: impl Into<Bytes>,
    ) -> Result<u64, StoreError> {
        match api::publish(self, subject, headers, payload.into()).await {
            Ok(stored) => Ok(stored.sequence),
            Err(source) => Err(StoreError { subject: subject.to_owned(), source }),
        }
    }

    /// Subscribes. When it returns on a live connection, the server knows of it.
    ///
    /// # Errors
    /// When the subject is none.
    pub async fn subscribe(&self, subject: &str) -> Result<Subscription, SubscribeError> {
        let failed = |source: Source| SubscribeError { subject: subject.to_owned(), source };
        let subscriber =
            self.inner.client.subscribe(subject.to_owned()).await.map_err(|error| failed(error.into()))?;
        self.round_trip().await;
        Ok(Subscription::new(subscriber))
    }

    /// Subscribes as one of a group: each message goes to one of its members.
    ///
    /// # Errors
    /// When the subject is none.
    pub async fn subscribe_in_group(
        &self,
        subject: &str,
        group: &str,
    ) -> Result<Subscription, SubscribeError> {
        let failed = |source: Source| SubscribeError { subject: subject.to_owned(), source };
        let subscribed = self.inner.client.queue_subscribe(subject.to_owned(), group.to_owned()).await;
        let subscriber = subscribed.map_err(|error| failed(error.into()))?;
        self.round_trip().await;
        Ok(Subscription::new(subscriber))
    }

    /// Asks everybody who listens. The replies come by [`Replies::next`] until the time is over; nobody at all is known
    /// at once.
    ///
    /// # Errors
    /// When the question cannot be sent.
    pub async fn gather(
        &self,
        subject: &str,
        payload: impl Into<Bytes>,
        within: Duration,
    ) -> Result<Replies, RequestError> {
        let deadline = Instant::now() + within;
        let failed = || RequestError::Disconnected { subject: subject.to_owned(), maybe_sent: false };
        if !self.wait_until_connected(deadline).await {
            return Err(failed());
        }
        let client = &self.inner.client;
        let inbox = client.new_inbox();
        let subscriber = client.subscribe(inbox.clone()).await.map_err(|_| failed())?;
        let sent = client.publish_with_reply(subject.to_owned(), inbox, payload.into()).await;
        sent.map_err(|_| failed())?;
        Ok(Replies { subscription: Subscription::new(subscriber), deadline })
    }

    /// Answers a message, if it wants an answer.
    ///
    /// # Errors
    /// As [`Bus::publish`].
    pub async fn answer(&self, message: &Message, payload: impl Into<Bytes>) -> Result<(), PublishError> {
        match &message.reply {
            Some(reply) => {
                let sending = self.inner.client.publish(reply.0.clone(), payload.into());
                self.hand_over(reply, sending).await
            }
            None => Ok(()),
        }
    }

    /// How often the connection was cut so far.
    pub fn cut_count(&self) -> u64 {
        self.inner.link.borrow().cuts
    }

    /// Whether the connection is up now.
    pub fn is_connected(&self) -> bool {
        self.inner.link.borrow().connected
    }

    /// Waits until the connection is up; false when it is not by the deadline.
    pub(crate) async fn wait_until_connected(&self, deadline: Instant) -> bool {
        if self.is_connected() {
            return true;
        }
        let mut link = self.inner.link.clone();
        matches!(timeout_at(deadline, link.wait_for(|link| link.connected)).await, Ok(Ok(_)))
    }

    /// Waits until the connection is up, however long that takes.
    pub async fn connected(&self) {
        let mut link = self.inner.link.clone();
        if link.wait_for(|link| link.connected).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// A watch that tells when the connection is cut after now.
    pub(crate) fn cuts(&self) -> Cuts {
        let link = self.inner.link.clone();
        let seen = link.borrow().cuts;
        Cuts { link, seen }
    }

    /// Waits until the server has worked off all that this connection sent before, or the connection is down.
    pub(crate) async fn round_trip(&self) {
        let nobody = self.inner.client.new_inbox();
        if let Err(error) = self.request(&nobody, &[], Vec::new(), REQUEST_TIMEOUT).await {
            tracing::trace!(%error, "round trip done");
        }
    }

    /// A token that no other client draws.
    pub(crate) fn unique(&self) -> String {
        let inbox = self.inner.client.new_inbox();
        inbox.rsplit('.').next().unwrap_or(&inbox).to_owned()
    }

    pub(crate) fn client(&self) -> &Client {
        &self.inner.client
    }

    pub(crate) fn context(&self) -> &Context {
        &self.inner.context
    }

    pub(crate) fn name(&self) -> &str {
        &self.inner.name
    }

    fn check_size(&self, subject: &str, bytes: usize) -> Result<(), RequestError> {
        let most = self.inner.client.max_payload();
        if bytes > most {
            return Err(RequestError::TooLarge { subject: subject.to_owned(), bytes, most });
        }
        Ok(())
    }
}

/// The replies of everybody who was asked.
#[derive(Debug)]
pub struct Replies {
    subscription: Subscription,
    deadline: Instant,
}

impl Replies {
    /// The next reply; none when the time is over or nobody listens. Can be cancelled safely.
    pub async fn next(&mut self) -> Option<Message> {
        let message = timeout_at(self.deadline, self.subscription.next()).await.ok()??;
        (!message.says_nobody_listens()).then_some(message)
    }
}
