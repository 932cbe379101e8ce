//! Three NATS servers: each keeps a copy of everything, any one of them may die, and what is not durable is refused.

use bus::Options;
use bus::durable::prove;
use bus::provision::{Growth, Limits, ProvisionError, provision};
use bytes::Bytes;
use events::subject::LOG_STREAM;
use kingdom_tests::client::Client;
use kingdom_tests::cluster::{Cluster, SERVERS};
use kingdom_tests::ports::Ports;
use kingdom_tests::process::Process;
use kingdom_tests::proxy::Weather;
use kingdom_tests::{http, programs, wait};
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

/// 10 s of patience with an election, then some tries, on a busy machine.
const LEFT: Duration = Duration::from_secs(60);
/// A copy that is missing is told within this time.
const TOLD: Duration = Duration::from_secs(60);

fn options(url: String, credentials: Option<(&str, &str)>) -> Options {
    let credentials = credentials.map(|(user, password)| (user.to_owned(), password.to_owned()));
    Options { url, name: "test".to_owned(), credentials }
}

fn system(url: String) -> Options {
    options(url, Some(("system", "of-the-tests")))
}

/// A connection to all servers that leads to this one now.
async fn connected_to(cluster: &Cluster, server: &str) -> bus::Bus {
    loop {
        let bus = bus::connect(&options(cluster.url(), None)).await.expect("a server takes it");
        if bus.server() == server {
            return bus;
        }
    }
}

#[tokio::test]
async fn a_server_that_is_cut_off_is_left_for_one_of_the_others() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let cluster = Cluster::start(folder.path(), folder.path()).await;
    let bus = connected_to(&cluster, "n1").await;
    provision(&bus, &Limits { replicas: 3, ..Limits::default() }).await.expect("three copies of each");
    let log = bus::log::Log::open(&bus).await.expect("it stands");
    cluster.weather_around(0, Weather::Held);
    let stored = wait::within(LEFT, "the server that is cut off is left", async || {
        let stored = log.append(Bytes::from_static(b"one"), 0).await.map_err(|error| error.to_string())?;
        wait::holds(bus.server() != "n1", || bus.server())?;
        Ok::<_, String>(stored)
    });
    assert_eq!(stored.await, 1);
    cluster.weather(Weather::Fair);
}

async fn copies(client: &Client, stream: &str) -> usize {
    client.stream(stream).await.cached_info().config.num_replicas
}

#[tokio::test]
async fn a_commit_outlives_the_server_that_led_the_log_and_streams_grow_only_when_told() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut cluster = Cluster::start(folder.path(), folder.path()).await;
    let proof = prove(&system(cluster.url())).await.expect("every server syncs");
    assert_eq!((proof.servers.len(), proof.replicas(), proof.silent.len()), (SERVERS, 3, 0));

    // As if the kingdom had been made when there was one server.
    let bus = bus::connect(&options(cluster.url(), None)).await.expect("a server takes it");
    provision(&bus, &Limits::default()).await.expect("one copy of each");
    let three = Limits { replicas: proof.replicas(), ..Limits::default() };
    let error = provision(&bus, &three).await.expect_err("streams with one copy are refused");
    assert!(matches!(error, ProvisionError::Drift(_)), "{error}");
    assert!(error.to_string().contains("KING_LOG: num_replicas is 1, wanted 3"), "{error}");
    provision(&bus, &Limits { growth: Growth::Allowed, ..three.clone() }).await.expect("it grows");
    provision(&bus, &three).await.expect("nothing has drifted");
    let client = Client::connect(&cluster.url()).await;
    assert_eq!(copies(&client, LOG_STREAM).await, 3);
    cluster.is_current().await;

    let log = bus::log::Log::open(&bus).await.expect("it stands");
    assert_eq!(log.append(Bytes::from_static(b"one"), 0).await.expect("appended"), 1);
    let leader = cluster.leader_of(&client, LOG_STREAM).await.expect("it has a leader");
    cluster.kill9(leader);
    let second = wait::until("the others have elected a leader", async || {
        log.append(Bytes::from_static(b"two"), 1).await
    });
    assert_eq!(second.await, 2);
    assert_eq!(log.read(1).await.expect("read"), Some(Bytes::from_static(b"one")));

    let proof = prove(&system(cluster.url())).await.expect("two of three are enough");
    assert_eq!((proof.servers.len(), proof.replicas()), (2, 3));
    assert_eq!(proof.silent, [format!("n{}", leader + 1)], "who is not proved is named");
    cluster.wipe(leader);
    cluster.restart(leader).await;
    cluster.is_current().await;
}

/// A program of the kingdom that is connected to a cluster.
fn service(
    name: &str,
    cluster: &Cluster,
    folder: &Path,
    more: impl IntoIterator<Item = OsString>,
) -> Process {
    let common = ["--nats".into(), cluster.url().into(), "--data".into(), folder.as_os_str().to_owned()];
    let mut process = Process::new(name, folder, programs::kingdom(name), common.into_iter().chain(more));
    process.start();
    process
}

async fn is_mailed(alerter: &Path, subject: &str) {
    wait::within(TOLD, &format!("a mail says that {subject}"), async || {
        let mails = std::fs::read_dir(alerter.join("mail")).into_iter().flatten().flatten();
        let mails: Vec<_> = mails.filter_map(|mail| std::fs::read_to_string(mail.path()).ok()).collect();
        wait::holds(mails.iter().any(|mail| mail.contains(subject)), || format!("{mails:?}"))
    })
    .await;
}

#[tokio::test]
async fn a_copy_that_is_missing_is_told_by_mail_and_so_is_its_return() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (path, ports) = (folder.path(), Ports::reserve());
    let mut cluster = Cluster::start(path, path).await;
    let flags = ["--http".into(), ports.http().to_string().into(), "--nats-system-password-file".into()];
    let king =
        service("king", &cluster, path, flags.into_iter().chain([cluster.password_file.clone().into()]));
    wait::within(LEFT, "the King is ready", async || {
        let answer = http::get(ports.http(), "/readyz").await.map_err(|error| error.to_string())?;
        wait::holds(answer.status == 200, || format!("{} {}", answer.status, king.output()))
    })
    .await;
    let _alerter = service("alerter", &cluster, path, []);
    let client = Client::connect(&cluster.url()).await;
    let leader = cluster.leader_of(&client, LOG_STREAM).await.expect("it has a leader");
    let other = (leader + 1) % SERVERS;
    cluster.kill9(other);
    is_mailed(&path.join("alerter"), "a copy of the log is missing").await;
    assert!(king.output().contains(&format!("server n{} has no whole copy", other + 1)), "{}", king.output());
    client.accepted("config.set", serde_json::json!({ "values": { "MEANWHILE": "x" } })).await;
    cluster.restart(other).await;
    is_mailed(&path.join("alerter"), "every copy of the log is there again").await;
}
