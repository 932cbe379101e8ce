//! Making the connection, with a bounded patience.

use super::link::{Link, note};
use super::ring::Ring;
use super::{Bus, ConnectError, Inner, REQUEST_TIMEOUT, cut_off};
use crate::retry;
use async_nats::jetstream::context::ContextBuilder;
use async_nats::{ConnectErrorKind, ConnectOptions, ReconnectToServer, ServerAddr};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long [`connect`] tries before it gives up.
pub const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
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

/// Connects. Tries for [`CONNECT_PATIENCE`]; afterwards the connection repairs itself for ever, and leaves a server that is
/// cut off from the others.
///
/// # Errors
/// When the address is none, the server refuses the user, or nobody answers.
pub async fn connect(options: &Options) -> Result<Bus, ConnectError> {
    let ring = Arc::new(Ring::new(parse_servers(&options.url)?));
    let started = Instant::now();
    let mut backoff = retry::Backoff::default();
    loop {
        match attempt(options, &ring).await {
            Ok(bus) => {
                let servers = ring.servers().len();
                if servers > 1 {
                    tokio::spawn(cut_off::leave(Arc::downgrade(&bus.inner), servers));
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

/// Tries the next server.
async fn attempt(options: &Options, ring: &Arc<Ring>) -> Result<Bus, async_nats::ConnectError> {
    let (sender, link) = watch::channel(Link { connected: true, cuts: 0 });
    let next = ring.clone();
    let mut settings = ConnectOptions::new()
        .name(&options.name)
        .connection_timeout(REQUEST_TIMEOUT)
        .request_timeout(Some(REQUEST_TIMEOUT))
        .ping_interval(PING_INTERVAL)
        .max_reconnects(None)
        .ignore_discovered_servers()
        .reconnect_delay_callback(reconnect_delay)
        .reconnect_to_server_callback(move |_, _| {
            let server = next.next().map(|addr| ReconnectToServer { addr, delay: None });
            std::future::ready(server)
        })
        .event_callback(move |event| {
            note(&sender, event);
            std::future::ready(())
        });
    if let Some((user, password)) = &options.credentials {
        settings = settings.user_and_password(user.clone(), password.clone());
    }
    let client = settings.connect(ring.servers()).await?;
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
