//! The event stream over a real log: resuming, and a server that is killed.

use super::support::{Kingdom, Memory, commit, created, event};
use bus::log::Log;
use king::feed::History;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

struct Server {
    child: Child,
    port: u16,
}

impl Server {
    /// Starts nats-server on a port (-1: a free one) and waits until it serves.
    async fn start(folder: &Path, port: i32) -> Self {
        let binary = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../.tools/bin/nats-server");
        let config = folder.join("nats.conf");
        // The room of the server does not hang on how full the disk is.
        let store = format!("jetstream {{ store_dir: \"{}/js\", max_file: 64GB }}\n", folder.display());
        std::fs::write(&config, store).unwrap();
        let mut child = Command::new(&binary)
            .args(["-a", "127.0.0.1", "-p", &port.to_string(), "-c"])
            .arg(&config)
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; run scripts/bootstrap first", binary.display()));
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut port = None;
        while let Some(line) = lines.next_line().await.unwrap() {
            if let Some((_, address)) = line.split_once("client connections on ") {
                port = address.rsplit(':').next().unwrap().trim().parse().ok();
            }
            if line.contains("Server is ready") {
                break;
            }
        }
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { child, port: port.expect("the server says its port") }
    }
}

async fn open(port: u16) -> Log {
    let url = format!("nats://127.0.0.1:{port}");
    let options = bus::Options { url, name: "test".into(), credentials: None };
    let bus = bus::connect(&options).await.unwrap();
    bus::provision::provision(&bus, &bus::provision::Limits::default()).await.unwrap();
    Log::open(&bus).await.unwrap()
}

#[tokio::test]
async fn a_cut_stream_goes_on_over_a_killed_server() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path(), -1).await;
    let log = open(server.port).await;
    let kingdom = Kingdom::over(Memory::default(), History::of_log(log.clone()), 64).await;
    kingdom.feed.begin(0, 0);
    for number in 1..=1000 {
        let events = vec![event(number, created(&format!("app-{number}")))];
        let commit = commit(&events);
        let bytes = events::wire::encode(&commit);
        let size = bytes.len();
        let sequence = log.append(bytes, number - 1).await.unwrap();
        kingdom.feed.push(sequence, size, commit.into());
    }
    let mut stream = kingdom.follow("/v1/events?since=0", "").await;
    let mut seen = stream.ids(500).await;
    drop(stream);
    server.child.kill().await.unwrap();
    let header = format!("Last-Event-ID: {}\r\n", seen.last().unwrap());
    let mut stream = kingdom.follow("/v1/events?since=0", &header).await;
    stream.next().await.unwrap();
    let _server = Server::start(folder.path(), i32::from(server.port)).await;
    seen.extend(stream.ids(500).await);
    assert_eq!(seen, (1..=1000).collect::<Vec<_>>());
}
