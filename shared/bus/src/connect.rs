//! The connection: made once at start with a bounded patience, kept for ever after.
//!
//! Every call here is bounded. A call that finds the connection down waits for it as long as the call's own time
//! allows before it sends anything; a call that is cut off says so at once, and that its outcome is unknown.

mod cut_off;

use crate::durable::CLUSTER_REPLICAS;
use crate::headers::{self, BadHeader};
use crate::message::{Message, Subscription};
use crate::{Source, api, retry};
use async_nats::jetstream::context::{Context, ContextBuilder};
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, RequestErrorKind, ServerAddr};
use bytes::Bytes;
use futures_util::FutureExt;
use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

/// How long [`connect`] tries before it gives up.
pub const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// How long one request to JetStream, one acknowledgement or one attempt to connect may take.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(1);
/// How often the connection is proved alive when nothing else travels. Three without an answer end it: so a server that
/// stands still is left for another within 1.5 s, before a servant that is connected to it is called lost.
const PING_INTERVAL: Duration = Duration::from_millis(500);
/// Most publishes that wait for an acknowledgement on one connection.
const MAX_ACK_INFLIGHT: usize = 4096;

/// Where to connect and as whom.
#[derive(Clone)]
pub struct Options {
    /// `nats://host:port`; several, separated by commas, are the servers of one cluster. Only these are ever connected
    /// to, whatever further addresses a server tells of.
    pub url: String,
    /// The name of this client as NATS shows it.
    pub name: String,
    /// User and password; none connects as the server's `no_auth_user`.
    pub credentials: Option<(String, String)>,
}

impl fmt::Debug for Options {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = self.credentials.as_ref().map(|(user, _)| user);
        formatter
            .debug_struct("Options")
            .field("url", &self.url)
            .field("name", &self.name)
            .field("user", &user)
            .finish()
    }
}

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
    source: Source,
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

/// The state of the link as the client library tells it.
#[derive(Clone, Copy, Debug)]
struct Link {
    connected: bool,
    /// How often it was cut.
    cuts: u64,
}

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

/// Connects. Tries for [`CONNECT_PATIENCE`]; afterwards the connection repairs itself for ever, and leaves a server that is
/// cut off from the others.
///
/// # Errors
/// When the address is none, the server refuses the user, or nobody answers.
pub async fn connect(options: &Options) -> Result<Bus, ConnectError> {
    let servers = parse_servers(&options.url)?;
    let started = Instant::now();
    let mut backoff = retry::Backoff::default();
    loop {
        match attempt(options, &servers).await {
            Ok(bus) => {
                if servers.len() > 1 {
                    tokio::spawn(cut_off::leave(Arc::downgrade(&bus.inner), servers.len()));
                }
                return Ok(bus);
            }
            Err(error) => {
                if let Some(fatal) = judge(options, error, started.elapsed()) {
                    return Err(fatal);
                }
            }
        }
        backoff.wait().await;
    }
}

fn parse_servers(url: &str) -> Result<Vec<ServerAddr>, ConnectError> {
    let parse = |part: &str| {
        let server: ServerAddr =
            part.trim().parse().map_err(|source| ConnectError::BadUrl { url: part.to_owned(), source })?;
        if server.has_user_pass() || server.password().is_some() {
            return Err(ConnectError::CredentialsInUrl {
                url: format!("{}:{}", server.host(), server.port()),
            });
        }
        Ok(server)
    };
    url.split(',').map(parse).collect()
}

/// How many servers a URL names.
pub(crate) fn server_count(url: &str) -> usize {
    url.split(',').count()
}

/// The error to end with, if it is time or trying again is useless.
fn judge(options: &Options, error: async_nats::ConnectError, tried: Duration) -> Option<ConnectError> {
    let url = options.url.clone();
    match error.kind() {
        ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
            let user = options.credentials.as_ref().map(|(user, _)| format!("the user {user:?}"));
            let user = user.unwrap_or_else(|| "a client without credentials".to_owned());
            Some(ConnectError::Refused { url, user, source: error.into() })
        }
        _ if tried >= CONNECT_PATIENCE => {
            Some(ConnectError::Unreachable { url, tried: CONNECT_PATIENCE, source: error.into() })
        }
        _ => None,
    }
}

async fn attempt(options: &Options, servers: &[ServerAddr]) -> Result<Bus, async_nats::ConnectError> {
    let (sender, link) = watch::channel(Link { connected: true, cuts: 0 });
    let mut settings = ConnectOptions::new()
        .name(&options.name)
        .connection_timeout(REQUEST_TIMEOUT)
        .request_timeout(Some(REQUEST_TIMEOUT))
        .ping_interval(PING_INTERVAL)
        .max_reconnects(None)
        .ignore_discovered_servers()
        .reconnect_delay_callback(reconnect_delay)
        .event_callback(move |event| {
            note(&sender, event);
            std::future::ready(())
        });
    if let Some((user, password)) = &options.credentials {
        settings = settings.user_and_password(user.clone(), password.clone());
    }
    let client = settings.connect(servers).await?;
    let context = ContextBuilder::new()
        .timeout(REQUEST_TIMEOUT)
        .ack_timeout(REQUEST_TIMEOUT)
        .max_ack_inflight(MAX_ACK_INFLIGHT)
        .build(client.clone());
    Ok(Bus { inner: Arc::new(Inner { client, context, link, name: options.name.clone() }) })
}

/// At once, then with a bounded back-off.
fn reconnect_delay(attempts: usize) -> Duration {
    if attempts <= 1 { Duration::ZERO } else { retry::delay(attempts - 2) }
}

fn note(link: &watch::Sender<Link>, event: Event) {
    match event {
        Event::Connected => {
            tracing::debug!("nats connected");
            link.send_modify(|link| link.connected = true);
        }
        Event::Disconnected | Event::Closed if link.is_closed() => {
            tracing::debug!("nats connection ended: nobody holds it any more");
        }
        Event::Disconnected | Event::Closed => {
            tracing::warn!("nats disconnected");
            link.send_modify(|link| {
                link.connected = false;
                link.cuts += 1;
            });
        }
        Event::SlowConsumer(subscription) => {
            tracing::error!(subscription, "nats messages dropped: a subscription of this process is full");
        }
        Event::ServerError(error) => tracing::warn!(%error, "nats server error"),
        Event::ClientError(error) => tracing::warn!(%error, "nats client error"),
        Event::LameDuckMode => tracing::warn!("the nats server is about to shut down"),
        Event::Draining => tracing::debug!("nats draining"),
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

/// Tells when the connection is cut.
pub(crate) struct Cuts {
    link: watch::Receiver<Link>,
    seen: u64,
}

impl Cuts {
    /// Waits for the next cut.
    pub(crate) async fn next(&mut self) {
        cut(&mut self.link, self.seen).await;
    }
}

async fn cut(link: &mut watch::Receiver<Link>, seen: u64) {
    if link.wait_for(|link| link.cuts != seen).await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn request_error(subject: &str, error: async_nats::RequestError, waited: Duration) -> RequestError {
    let subject = subject.to_owned();
    match error.kind() {
        RequestErrorKind::NoResponders => RequestError::NoResponders { subject },
        RequestErrorKind::TimedOut => RequestError::TimedOut { subject, waited },
        RequestErrorKind::InvalidSubject => RequestError::BadSubject { subject },
        RequestErrorKind::MaxPayloadExceeded => RequestError::TooLarge { subject, bytes: 0, most: 0 },
        RequestErrorKind::Other => RequestError::Disconnected { subject, maybe_sent: true },
    }
}
