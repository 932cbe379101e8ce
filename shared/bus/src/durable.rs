//! The proof that the bus is durable: every server syncs every message, which JetStream's own interface hides.

use crate::connect::{ConnectError, Options, RequestError, connect};
use serde::Deserialize;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// The oldest server that is known to keep what it acknowledged.
pub const OLDEST_SERVER: (u64, u64, u64) = (2, 14, 6);
/// The subject that every server of a cluster answers to its system account.
const PING: &str = "$SYS.REQ.SERVER.PING.JSZ";
/// How long the first server may take to answer.
const FIRST_ANSWER: Duration = Duration::from_secs(2);
/// How long after an answer the next server may take.
const NEXT_ANSWER: Duration = Duration::from_millis(300);
/// Longest time for all answers.
const ALL_ANSWERS: Duration = Duration::from_secs(5);

/// What was proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Every server that answered: its name and version.
    pub servers: Vec<(String, String)>,
}

/// Why the bus is not proved to be durable.
#[derive(Debug, thiserror::Error)]
pub enum DurabilityError {
    #[error("no connection as the system user, which the proof of durability needs")]
    Connect(#[from] ConnectError),
    #[error(
        "no server tells its JetStream settings: is the user {user:?} in the account named by `system_account`?"
    )]
    NoAnswer { user: String },
    #[error("the question for the JetStream settings could not be asked")]
    Ask(#[source] crate::Source),
    #[error("server {server} answers about JetStream what cannot be read")]
    Unreadable {
        server: String,
        #[source]
        source: serde_json::Error,
    },
    #[error(
        "server {server} is version {version}; versions before 2.14.6 lose acknowledged messages: install a newer one"
    )]
    TooOld { server: String, version: String },
    #[error(
        "server {server} runs without JetStream; add `jetstream {{ store_dir: \"…\", sync_interval: always }}` to its configuration"
    )]
    NoJetStream { server: String },
    #[error(
        "server {server} acknowledges messages before they are synced to disk (sync_interval {found}); set \
         `jetstream {{ sync_interval: always }}` in its configuration and restart it"
    )]
    NotSynced { server: String, found: String },
}

#[derive(Deserialize)]
struct Answer {
    server: Server,
    data: Option<Data>,
}

#[derive(Deserialize)]
struct Server {
    name: String,
    ver: String,
}

#[derive(Deserialize)]
struct Data {
    #[serde(default)]
    disabled: bool,
    config: Option<Config>,
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    sync_always: bool,
    /// In nanoseconds.
    #[serde(default)]
    sync_interval: u64,
}

/// Proves that every server syncs each message before it acknowledges it. Connects as the system user.
///
/// # Errors
/// When a server does not, with the line of its configuration to change; or when none answers.
pub async fn prove(system: &Options) -> Result<Proof, DurabilityError> {
    let mut servers = Vec::new();
    for answer in ask(system).await? {
        let Server { name, ver } = &answer.server;
        judge(&answer)?;
        servers.push((name.clone(), ver.clone()));
    }
    if servers.is_empty() {
        let user = system.credentials.as_ref().map(|(user, _)| user.clone()).unwrap_or_default();
        return Err(DurabilityError::NoAnswer { user });
    }
    Ok(Proof { servers })
}

async fn ask(system: &Options) -> Result<Vec<Answer>, DurabilityError> {
    let bus = connect(system).await?;
    let inbox = bus.client().new_inbox();
    let mut answers = bus.subscribe(&inbox).await.map_err(|error| DurabilityError::Ask(error.into()))?;
    let question = r#"{"config":true}"#.into();
    let asked = bus.client().publish_with_reply(PING, inbox.clone(), question);
    match timeout(FIRST_ANSWER, asked).await {
        Ok(sent) => sent.map_err(|error| DurabilityError::Ask(error.into()))?,
        Err(_) => {
            let late = RequestError::TimedOut { subject: PING.to_owned(), waited: FIRST_ANSWER };
            return Err(DurabilityError::Ask(late.into()));
        }
    }
    let (end, mut wait, mut found) = (Instant::now() + ALL_ANSWERS, FIRST_ANSWER, Vec::new());
    while let Ok(Some(message)) = timeout_at(end.min(Instant::now() + wait), answers.next()).await {
        if message.payload.is_empty() {
            break;
        }
        found.push(parse(&message.payload)?);
        wait = NEXT_ANSWER;
    }
    Ok(found)
}

fn parse(payload: &[u8]) -> Result<Answer, DurabilityError> {
    serde_json::from_slice(payload).map_err(|source| {
        let server = serde_json::from_slice::<serde_json::Value>(payload)
            .ok()
            .and_then(|answer| answer["server"]["name"].as_str().map(str::to_owned));
        DurabilityError::Unreadable { server: server.unwrap_or_else(|| "(unnamed)".to_owned()), source }
    })
}

fn judge(answer: &Answer) -> Result<(), DurabilityError> {
    let Server { name, ver } = &answer.server;
    if parse_version(ver).is_none_or(|version| version < OLDEST_SERVER) {
        return Err(DurabilityError::TooOld { server: name.clone(), version: ver.clone() });
    }
    let Some(config) =
        answer.data.as_ref().filter(|data| !data.disabled).and_then(|data| data.config.as_ref())
    else {
        return Err(DurabilityError::NoJetStream { server: name.clone() });
    };
    if config.sync_always {
        return Ok(());
    }
    let found = format!("{:?}", Duration::from_nanos(config.sync_interval));
    Err(DurabilityError::NotSynced { server: name.clone(), found })
}

fn parse_version(text: &str) -> Option<(u64, u64, u64)> {
    let plain = text.split(['-', '+']).next()?;
    let mut parts = plain.split('.').map(str::parse::<u64>);
    Some((parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?))
}
