//! The proof that the bus is durable: every server syncs every message to a disk that stays, which JetStream's own
//! interface hides, and the servers together keep as many copies as they can.

use crate::connect::{Bus, ConnectError, Options, RequestError, connect, server_count};
use crate::retry::Backoff;
use bytes::Bytes;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// The oldest server that is known to keep what it acknowledged.
pub const OLDEST_SERVER: (u64, u64, u64) = (2, 14, 6);
/// Copies of each stream where there are so many servers or more.
pub const CLUSTER_REPLICAS: u32 = 3;
/// How long a cluster that starts may take until more than half of its servers answer.
pub const PROOF_PATIENCE: Duration = Duration::from_secs(20);
/// The subject that every server of a cluster answers to its system account.
const PING: &str = "$SYS.REQ.SERVER.PING.JSZ";
/// How long the first server may take to answer.
const FIRST_ANSWER: Duration = Duration::from_secs(2);
/// How long after an answer the next server may take.
const NEXT_ANSWER: Duration = Duration::from_millis(300);
/// Longest time for all answers.
const ALL_ANSWERS: Duration = Duration::from_secs(5);
/// Most servers of one cluster, so that not every answer is believed.
const SERVERS_MOST: usize = 64;
/// Where nothing outlives a start of the machine.
const MEMORY_FOLDERS: [&str; 2] = ["/dev/shm/", "/run/"];
/// The folder that nats-server takes when its configuration names none, below the folder of temporary files.
const DEFAULT_STORE: &str = "nats/jetstream";

/// What was proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Every server that answered: its name and version.
    pub servers: Vec<(String, String)>,
    /// How many servers keep the streams together; 1 for a server by itself.
    pub cluster: usize,
    /// The servers of the cluster that did not answer, as far as the others know their names. They are down, and
    /// nothing is proved of them until they are up again.
    pub silent: Vec<String>,
}

impl Proof {
    /// How many copies of each stream these servers must keep.
    pub fn replicas(&self) -> u32 {
        if self.cluster > 1 { CLUSTER_REPLICAS } else { 1 }
    }
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
    #[error(
        "server {server} keeps its streams in {folder}, which is emptied when the machine starts; set \
         `jetstream {{ store_dir: \"…\" }}` to a folder that stays, and restart it"
    )]
    Temporary { server: String, folder: String },
    #[error(
        "the servers are no one cluster: {named} addresses are named, but {server} belongs to a cluster of {found}; name \
         the servers of one cluster, and see that each has the same `cluster {{ name, routes }}`"
    )]
    Apart { named: usize, server: String, found: usize },
    #[error(
        "{server} belongs to a cluster of two servers, which stands still when either is down; run one server, or three"
    )]
    Two { server: String },
    #[error(
        "only {} of the {of} servers of the cluster answer within {patience:?} ({}); more than half must run: start the others",
        answered.len(), answered.join(", "), patience = PROOF_PATIENCE
    )]
    Minority { answered: Vec<String>, of: usize },
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
    /// Absent when the server stands by itself.
    meta_cluster: Option<MetaCluster>,
}

/// The servers that keep the list of all streams together: those that this one knows.
#[derive(Deserialize)]
struct MetaCluster {
    #[serde(default)]
    cluster_size: usize,
    #[serde(default)]
    replicas: Vec<Peer>,
}

#[derive(Deserialize)]
struct Peer {
    name: String,
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    sync_always: bool,
    /// In nanoseconds.
    #[serde(default)]
    sync_interval: u64,
    #[serde(default)]
    store_dir: String,
}

/// Proves that every server syncs each message before it acknowledges it. Connects as the system user, and waits up to
/// [`PROOF_PATIENCE`] for more than half of a cluster.
///
/// # Errors
/// When a server does not, with the line of its configuration to change; or when too few answer.
pub async fn prove(system: &Options) -> Result<Proof, DurabilityError> {
    let deadline = Instant::now() + PROOF_PATIENCE;
    let mut backoff = Backoff::default();
    loop {
        match conclude(system, &ask(system).await?) {
            Err(DurabilityError::Minority { .. } | DurabilityError::Apart { .. })
                if Instant::now() < deadline => {}
            concluded => return concluded,
        }
        backoff.wait().await;
    }
}

/// What the answers prove together.
fn conclude(system: &Options, answers: &[Answer]) -> Result<Proof, DurabilityError> {
    let Some(first) = answers.first() else {
        let user = system.credentials.as_ref().map(|(user, _)| user.clone()).unwrap_or_default();
        return Err(DurabilityError::NoAnswer { user });
    };
    answers.iter().try_for_each(judge)?;
    let servers: BTreeMap<_, _> =
        answers.iter().map(|Answer { server, .. }| (server.name.clone(), server.ver.clone())).collect();
    let cluster = answers.iter().map(cluster_size).max().unwrap_or(1);
    let (named, server) = (server_count(&system.url), first.server.name.clone());
    if named > cluster {
        return Err(DurabilityError::Apart { named, server, found: cluster });
    }
    if cluster == 2 {
        return Err(DurabilityError::Two { server });
    }
    if servers.len() * 2 <= cluster {
        return Err(DurabilityError::Minority { answered: servers.into_keys().collect(), of: cluster });
    }
    let known: BTreeSet<&String> = answers.iter().flat_map(peers).collect();
    let silent = known.into_iter().filter(|name| !servers.contains_key(*name)).cloned().collect();
    Ok(Proof { servers: servers.into_iter().collect(), cluster, silent })
}

fn meta_cluster(answer: &Answer) -> Option<&MetaCluster> {
    answer.data.as_ref()?.meta_cluster.as_ref()
}

fn cluster_size(answer: &Answer) -> usize {
    meta_cluster(answer).map_or(1, |meta| meta.cluster_size.max(1))
}

fn peers(answer: &Answer) -> impl Iterator<Item = &String> {
    meta_cluster(answer).into_iter().flat_map(|meta| meta.replicas.iter().map(|peer| &peer.name))
}

async fn ask(system: &Options) -> Result<Vec<Answer>, DurabilityError> {
    let bus = connect(system).await?;
    let answers = ask_all(&bus, r#"{"config":true}"#).await?;
    answers.iter().map(|payload| parse(payload)).collect()
}

/// Asks every server about its JetStream, on a connection of the system user.
pub(crate) async fn ask_all(bus: &Bus, question: &str) -> Result<Vec<Bytes>, DurabilityError> {
    let inbox = bus.client().new_inbox();
    let mut answers = bus.subscribe(&inbox).await.map_err(|error| DurabilityError::Ask(error.into()))?;
    let asked = bus.client().publish_with_reply(PING, inbox.clone(), question.to_owned().into());
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
        found.push(message.payload);
        wait = NEXT_ANSWER;
        if found.len() == SERVERS_MOST {
            break;
        }
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
    if !config.sync_always {
        let found = format!("{:?}", Duration::from_nanos(config.sync_interval));
        return Err(DurabilityError::NotSynced { server: name.clone(), found });
    }
    if is_temporary(&config.store_dir) {
        return Err(DurabilityError::Temporary { server: name.clone(), folder: config.store_dir.clone() });
    }
    Ok(())
}

/// Whether a folder is one that a start of the machine empties: in memory, or the one that nats-server takes by itself
/// below the folder of temporary files.
fn is_temporary(folder: &str) -> bool {
    let of_no_choice = ["/tmp", "/var/tmp"].map(|temporary| format!("{temporary}/{DEFAULT_STORE}"));
    MEMORY_FOLDERS.iter().any(|memory| folder.starts_with(memory))
        || of_no_choice.iter().any(|own| own == folder)
}

fn parse_version(text: &str) -> Option<(u64, u64, u64)> {
    let plain = text.split(['-', '+']).next()?;
    let mut parts = plain.split('.').map(str::parse::<u64>);
    Some((parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_that_do_not_stay_are_known() {
        for folder in ["/tmp/nats/jetstream", "/dev/shm/js/jetstream", "/run/nats/jetstream"] {
            assert!(is_temporary(folder), "{folder}");
        }
        for folder in ["/tmp/kt-1/jetstream", "/var/lib/nats/jetstream", "/srv/running/jetstream"] {
            assert!(!is_temporary(folder), "{folder}");
        }
    }

    fn system(url: &str) -> Options {
        Options { url: url.into(), name: "test".into(), credentials: None }
    }

    fn answer(name: &str, peers: &[&str], size: usize) -> Answer {
        let replicas: Vec<_> = peers.iter().map(|peer| serde_json::json!({ "name": peer })).collect();
        let config = serde_json::json!({ "sync_always": true, "store_dir": "/var/lib/nats/jetstream" });
        let meta = (size > 0).then(|| serde_json::json!({ "cluster_size": size, "replicas": replicas }));
        let data = serde_json::json!({ "config": config, "meta_cluster": meta });
        let answer = serde_json::json!({ "server": { "name": name, "ver": "2.15.1" }, "data": data });
        parse(answer.to_string().as_bytes()).expect("an answer")
    }

    #[test]
    fn a_server_that_is_down_is_named_and_changes_no_number_of_copies() {
        let three = system("nats://127.0.0.1:1,nats://127.0.0.1:2,nats://127.0.0.1:3");
        let answers = [answer("n1", &["n2", "n3"], 3), answer("n2", &[], 3)];
        let proof = conclude(&three, &answers).expect("two of three are enough");
        assert_eq!((proof.replicas(), proof.cluster, proof.silent), (3, 3, vec!["n3".to_owned()]));
        assert_eq!(conclude(&system("127.0.0.1"), &[answer("n", &[], 0)]).expect("one").replicas(), 1);
    }

    #[test]
    fn servers_that_do_not_belong_together_are_refused() {
        let three = system("127.0.0.1:1,127.0.0.1:2,127.0.0.1:3");
        let error = conclude(&three, &[answer("alone", &[], 0)]).expect_err("each stands by itself");
        assert!(matches!(error, DurabilityError::Apart { named: 3, found: 1, .. }), "{error}");
        let error = conclude(&three, &[answer("n1", &[], 3)]).expect_err("one of three");
        assert!(matches!(error, DurabilityError::Minority { of: 3, .. }), "{error}");
        let two = [answer("n1", &["n2"], 2), answer("n2", &["n1"], 2)];
        assert!(matches!(conclude(&system("127.0.0.1:1"), &two), Err(DurabilityError::Two { .. })));
    }
}
