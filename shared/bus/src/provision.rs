//! The streams and buckets of the kingdom: made when they are missing, refused when they stand otherwise.
//!
//! What stands is never changed in silence: a stream with other settings may hold data that the wanted settings
//! would destroy.

use crate::api::{self, ApiError};
use crate::connect::Bus;
use crate::lease::LEASE_STREAM;
use crate::log::{COMMIT_BYTES, within};
use crate::retry::Backoff;
use crate::views::VIEWS_STREAM;
use async_nats::jetstream::ErrorCode;
use events::subject::{
    ARTIFACTS_BUCKET, EVENTS_STREAM, EVENTS_SUBJECTS, INBOX_STREAM, INBOX_SUBJECTS, LEASE_BUCKET, LOG_STREAM,
    LOG_SUBJECT, LOGS_STREAM, LOGS_SUBJECTS, METRICS_STREAM, METRICS_SUBJECTS, VIEWS_BUCKET,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::fmt;
use std::time::Duration;
use tokio::time::Instant;

/// Most bytes of the commit log. JetStream takes no disk for it, but lets the sum of the limits of all streams be no
/// more than the server's `max_file` (by default three quarters of what is free on its disk when it starts): so the
/// server's configuration sets `max_file`.
pub const LOG_BYTES: u64 = 10 * GIB;
/// Most bytes of commands left to be done.
pub const INBOX_BYTES: u64 = GIB;
/// Most commands left to be done.
pub const INBOX_MESSAGES: u64 = 1_000_000;
/// Most bytes of public events; the oldest go first. No age: the last one must stay, for the publisher resumes there.
pub const EVENTS_BYTES: u64 = GIB;
/// Most bytes of the output of instances; the oldest go first.
pub const LOGS_BYTES: u64 = GIB;
/// How long the output of instances is kept.
pub const LOGS_AGE: Duration = Duration::from_secs(7 * 24 * 3600);
/// Most bytes of telemetry, in the server's memory; the oldest go first.
pub const METRICS_BYTES: u64 = 64 * 1024 * 1024;
/// How long telemetry is kept: a King that starts reads it all.
pub const METRICS_AGE: Duration = Duration::from_secs(10 * 60);
/// The server must take messages of this size.
pub const PAYLOAD_BYTES: usize = 1024 * 1024;
/// How long the server knows a message id: as short as it allows where sequences fence, so that it costs no memory.
const SHORT_WINDOW: Duration = Duration::from_millis(500);
/// How long the server knows a message id where ids alone prevent copies.
const LONG_WINDOW: Duration = Duration::from_secs(120);

/// How long a cluster that starts may take until it has elected who keeps its list of streams.
pub const PROVISION_PATIENCE: Duration = Duration::from_secs(30);

const GIB: u64 = 1024 * 1024 * 1024;

/// The limits that an installation may set; the rest is not negotiable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    pub log_bytes: u64,
    pub inbox_bytes: u64,
    pub inbox_messages: u64,
    pub events_bytes: u64,
    pub logs_bytes: u64,
    pub logs_age: Duration,
    /// Copies of each stream; 3 where there are three servers.
    pub replicas: u32,
    /// What becomes of a stream that has fewer copies.
    pub growth: Growth,
}

/// What becomes of a stream that stands with fewer copies than wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Growth {
    /// It is refused like any other drift.
    Refused,
    /// It gets more copies, which destroys nothing; everything else about it has to be as wanted.
    Allowed,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            log_bytes: LOG_BYTES,
            inbox_bytes: INBOX_BYTES,
            inbox_messages: INBOX_MESSAGES,
            events_bytes: EVENTS_BYTES,
            logs_bytes: LOGS_BYTES,
            logs_age: LOGS_AGE,
            replicas: 1,
            growth: Growth::Refused,
        }
    }
}

/// A setting that stands otherwise than wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct Drift {
    pub stream: String,
    /// The name of the setting as NATS has it.
    pub setting: String,
    pub wanted: Value,
    pub found: Value,
}

impl fmt::Display for Drift {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {} is {}, wanted {}", self.stream, self.setting, self.found, self.wanted)
    }
}

/// Why the streams do not stand as they must.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    #[error(
        "this NATS server takes at most {found} bytes in one message; set `max_payload: 1MB` or more in its configuration"
    )]
    PayloadTooSmall { found: usize },
    #[error(
        "existing streams have other settings, and are not changed in silence: {}; change them with `nats stream edit`, \
         or start with limits that fit; start one King with --more-copies when only {REPLICAS} is too low",
        list(.0)
    )]
    Drift(Vec<Drift>),
    #[error("the NATS account of this connection has no JetStream; set `jetstream: enabled` in the account")]
    NoJetStream(#[source] ApiError),
    #[error(
        "the NATS server has no room for stream {stream}: the limits of all streams together must fit its `max_file`; set \
         `jetstream {{ max_file: 64GB }}` in its configuration and restart it, or start with lower limits"
    )]
    NoRoom {
        stream: String,
        #[source]
        source: ApiError,
    },
    #[error(
        "fewer than {replicas} servers of the cluster can keep stream {stream}: start those that are down, and give each room by \
         `jetstream {{ max_file: 64GB }}`"
    )]
    TooFewServers {
        stream: String,
        replicas: u64,
        #[source]
        source: ApiError,
    },
    #[error("stream {stream} could not be made or looked at")]
    Api {
        stream: String,
        #[source]
        source: ApiError,
    },
}

fn list(drifts: &[Drift]) -> String {
    drifts.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Makes what is missing and checks what stands. May be called by every King at every start.
///
/// # Errors
/// [`ProvisionError::Drift`] with every setting that stands otherwise; else when the server cannot do it.
pub async fn provision(bus: &Bus, limits: &Limits) -> Result<(), ProvisionError> {
    let most = bus.client().max_payload();
    if most < PAYLOAD_BYTES {
        return Err(ProvisionError::PayloadTooSmall { found: most });
    }
    let mut drifts = Vec::new();
    for wanted in wanted(limits) {
        let mut found = find_or_make(bus, &wanted).await?;
        if limits.growth == Growth::Allowed && lacks_only_copies(&wanted, &found) {
            found = grow(bus, &wanted, found).await?;
        }
        drifts.extend(compare(&wanted, &found));
    }
    if drifts.is_empty() { Ok(()) } else { Err(ProvisionError::Drift(drifts)) }
}

/// A stream's settings as JetStream's interface has them.
struct Wanted {
    stream: String,
    settings: Map<String, Value>,
}

#[derive(Deserialize)]
struct Described {
    config: Map<String, Value>,
}

async fn find_or_make(bus: &Bus, wanted: &Wanted) -> Result<Map<String, Value>, ProvisionError> {
    let info = format!("STREAM.INFO.{}", wanted.stream);
    let described = within(PROVISION_PATIENCE, || api::call::<Described>(bus, &info, &Value::Null)).await;
    match described {
        Ok(described) => return Ok(described.config),
        Err(error) if error.has_code(ErrorCode::STREAM_NOT_FOUND) => {}
        Err(error) => return Err(failed(wanted, error)),
    }
    make(bus, wanted).await.map(|described| described.config).map_err(|error| failed(wanted, error))
}

async fn make(bus: &Bus, wanted: &Wanted) -> Result<Described, ApiError> {
    let given = wanted.settings.iter().filter(|(_, value)| **value != absent(value));
    let body = Value::Object(given.map(|(setting, value)| (setting.clone(), value.clone())).collect());
    place(bus, &format!("STREAM.CREATE.{}", wanted.stream), &body).await
}

/// Asks for a stream that needs room on some servers. Those of a cluster that starts do not know each other's room at once:
/// then it is asked again.
async fn place(bus: &Bus, request: &str, body: &Value) -> Result<Described, ApiError> {
    let (deadline, mut backoff) = (Instant::now() + PROVISION_PATIENCE, Backoff::default());
    loop {
        match within(PROVISION_PATIENCE, || api::call(bus, request, body)).await {
            Err(error) if error.has_code(ErrorCode::CLUSTER_NO_PEERS) && Instant::now() < deadline => {
                tracing::debug!(request, %error, "the servers have no place for a stream yet");
            }
            placed => return placed,
        }
        backoff.wait().await;
    }
}

fn replicas_of(wanted: &Wanted) -> u64 {
    wanted.settings[REPLICAS].as_u64().unwrap_or(1)
}

/// Whether a stream stands as wanted but for having fewer copies.
fn lacks_only_copies(wanted: &Wanted, found: &Map<String, Value>) -> bool {
    let drifts = compare(wanted, found);
    let is_lack = |drift: &Drift| drift.setting == REPLICAS && drift.found.as_u64() < drift.wanted.as_u64();
    !drifts.is_empty() && drifts.iter().all(is_lack)
}

/// Gives a stream as many copies as wanted. They are filled in the background.
async fn grow(
    bus: &Bus,
    wanted: &Wanted,
    mut settings: Map<String, Value>,
) -> Result<Map<String, Value>, ProvisionError> {
    settings.insert(REPLICAS.to_owned(), wanted.settings[REPLICAS].clone());
    let (update, body) = (format!("STREAM.UPDATE.{}", wanted.stream), Value::Object(settings));
    tracing::info!(stream = wanted.stream, copies = %wanted.settings[REPLICAS], "a stream gets more copies");
    let grown = place(bus, &update, &body).await;
    grown.map(|described| described.config).map_err(|error| failed(wanted, error))
}

fn failed(wanted: &Wanted, source: ApiError) -> ProvisionError {
    let absent = matches!(&source, ApiError::Request(crate::connect::RequestError::NoResponders { .. }));
    if absent || source.has_code(ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT) {
        return ProvisionError::NoJetStream(source);
    }
    let stream = wanted.stream.clone();
    if source.has_code(ErrorCode::STORAGE_RESOURCES_EXCEEDED) {
        return ProvisionError::NoRoom { stream, source };
    }
    if source.has_code(ErrorCode::CLUSTER_NO_PEERS) {
        return ProvisionError::TooFewServers { stream, replicas: replicas_of(wanted), source };
    }
    ProvisionError::Api { stream, source }
}

fn compare(wanted: &Wanted, found: &Map<String, Value>) -> Vec<Drift> {
    let differs = |(setting, value): (&String, &Value)| {
        let stands = found.get(setting).cloned().unwrap_or_else(|| absent(value));
        (stands != *value).then(|| Drift {
            stream: wanted.stream.clone(),
            setting: setting.clone(),
            wanted: value.clone(),
            found: stands,
        })
    };
    wanted.settings.iter().filter_map(differs).collect()
}

/// What an absent setting means: JetStream leaves out what is off, zero or empty.
fn absent(like: &Value) -> Value {
    match like {
        Value::Bool(_) => json!(false),
        Value::Number(_) => json!(0),
        Value::String(_) => json!(""),
        Value::Array(_) => json!([]),
        Value::Null | Value::Object(_) => Value::Null,
    }
}

fn wanted(limits: &Limits) -> Vec<Wanted> {
    streams(limits).into_iter().chain(buckets(limits)).collect()
}

fn streams(limits: &Limits) -> Vec<Wanted> {
    vec![
        stream(
            LOG_STREAM,
            limits,
            &json!({
                "subjects": [LOG_SUBJECT],
                "discard": "new",
                "max_bytes": limits.log_bytes,
                "max_msg_size": COMMIT_BYTES + HEADER_BYTES,
                "deny_delete": true,
                "deny_purge": true,
                "duplicate_window": nanos(SHORT_WINDOW),
            }),
        ),
        stream(
            INBOX_STREAM,
            limits,
            &json!({
                "subjects": [INBOX_SUBJECTS],
                "discard": "new",
                "max_bytes": limits.inbox_bytes,
                "max_msgs": limits.inbox_messages,
                "max_msg_size": events::limits::MESSAGE_BYTES + HEADER_BYTES,
                "duplicate_window": nanos(LONG_WINDOW),
            }),
        ),
        stream(
            EVENTS_STREAM,
            limits,
            &json!({
                "subjects": [EVENTS_SUBJECTS],
                "discard": "old",
                "max_bytes": limits.events_bytes,
                "duplicate_window": nanos(SHORT_WINDOW),
            }),
        ),
        stream(
            LOGS_STREAM,
            limits,
            &json!({
                "subjects": [LOGS_SUBJECTS],
                "discard": "old",
                "max_bytes": limits.logs_bytes,
                "max_age": nanos(limits.logs_age),
                "duplicate_window": nanos(LONG_WINDOW),
            }),
        ),
    ]
}

fn buckets(limits: &Limits) -> Vec<Wanted> {
    vec![
        lease(limits),
        metrics(limits),
        stream(
            VIEWS_STREAM,
            limits,
            &json!({
                "subjects": [format!("$KV.{VIEWS_BUCKET}.>")],
                "discard": "new",
                "max_msgs_per_subject": 1,
                "allow_rollup_hdrs": true,
                "deny_delete": true,
                "duplicate_window": nanos(LONG_WINDOW),
            }),
        ),
        stream(
            &format!("OBJ_{ARTIFACTS_BUCKET}"),
            limits,
            &json!({
                "subjects": [format!("$O.{ARTIFACTS_BUCKET}.C.>"), format!("$O.{ARTIFACTS_BUCKET}.M.>")],
                "discard": "new",
                "allow_rollup_hdrs": true,
                "duplicate_window": nanos(LONG_WINDOW),
            }),
        ),
    ]
}

/// In memory: it is renewed several times a second, and a lost one is made anew. The log decides, not the lease.
fn lease(limits: &Limits) -> Wanted {
    stream(
        LEASE_STREAM,
        limits,
        &json!({
            "subjects": [format!("$KV.{LEASE_BUCKET}.>")],
            "storage": "memory",
            "discard": "new",
            "max_msgs_per_subject": 1,
            "allow_rollup_hdrs": true,
            "deny_delete": true,
            "duplicate_window": nanos(SHORT_WINDOW),
        }),
    )
}

/// In memory: a frame a second from each servant must not keep the disk of the log busy, and a lost one is no harm.
fn metrics(limits: &Limits) -> Wanted {
    stream(
        METRICS_STREAM,
        limits,
        &json!({
            "subjects": [METRICS_SUBJECTS],
            "storage": "memory",
            "discard": "old",
            "max_bytes": METRICS_BYTES,
            "max_age": nanos(METRICS_AGE),
            "max_msg_size": events::limits::MESSAGE_BYTES + HEADER_BYTES,
            "duplicate_window": nanos(SHORT_WINDOW),
        }),
    )
}

/// Makes the stream of telemetry anew when it is gone.
pub(crate) async fn renew_metrics(bus: &Bus, limits: &Limits) -> Result<(), ProvisionError> {
    find_or_make(bus, &metrics(limits)).await.map(|_| ())
}

/// Makes the bucket of the lease anew when it is gone.
pub(crate) async fn renew_lease(bus: &Bus, limits: &Limits) -> Result<(), ProvisionError> {
    find_or_make(bus, &lease(limits)).await.map(|_| ())
}

/// The setting that says how many servers keep a copy.
const REPLICAS: &str = "num_replicas";
/// Room for the headers beside the largest payload.
const HEADER_BYTES: usize = 4096;

/// The settings of one stream over those that all share.
fn stream(name: &str, limits: &Limits, own: &Value) -> Wanted {
    let shared = json!({
        "name": name,
        "storage": "file",
        "retention": "limits",
        REPLICAS: limits.replicas,
        "allow_direct": true,
        "max_age": 0,
        "max_bytes": -1,
        "max_msgs": -1,
        "max_msgs_per_subject": -1,
        "max_msg_size": -1,
        "max_consumers": -1,
        "persist_mode": "",
        "sealed": false,
        "no_ack": false,
        "deny_delete": false,
        "deny_purge": false,
        "allow_rollup_hdrs": false,
        "allow_msg_ttl": false,
    });
    let mut settings = Map::new();
    for part in [&shared, own] {
        settings
            .extend(part.as_object().into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())));
    }
    Wanted { stream: name.to_owned(), settings }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
