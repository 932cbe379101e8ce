//! `kingctl up`: a whole kingdom by one command, as `make up` starts it.

use kingdom_tests::client::Client;
use kingdom_tests::ports::Ports;
use kingdom_tests::process::Process;
use kingdom_tests::reaper::Reaper;
use kingdom_tests::repository::Repository;
use kingdom_tests::{apps::C_APP, http, programs, strays, wait};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

struct Up {
    process: Process,
    ports: Ports,
    nats: Ports,
    _reaper: Reaper,
    folder: TempDir,
}

impl Up {
    fn new() -> Self {
        Self::with(&[])
    }

    /// One with further flags.
    fn with(flags: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("kt-").tempdir().expect("a temporary folder");
        let (ports, nats) = (Ports::reserve(), Ports::reserve());
        let (first, last) = ports.of_servant(0, 1);
        let arguments = [
            "up".to_owned(),
            "--data".into(),
            folder.path().join("data").display().to_string(),
            "--http".into(),
            ports.http().to_string(),
            "--nats-port".into(),
            nats.nats().to_string(),
            "--ports".into(),
            format!("{first}-{last}"),
            "--servants".into(),
            "2".into(),
        ];
        let mut process = Process::new("up", folder.path(), programs::kingdom("kingctl"), arguments);
        flags.iter().for_each(|flag| process.argument(flag));
        process.variable("KING_NATS_SERVER", programs::nats_server());
        Self { process, ports, nats, _reaper: Reaper::of(folder.path()), folder }
    }

    /// Starts it and waits until it says that it is up.
    async fn start(&mut self) {
        let before = self.process.output().matches("The kingdom is up").count();
        self.process.start();
        wait::until("the kingdom is up", async || {
            let said = self.process.output();
            wait::holds(said.matches("The kingdom is up").count() > before, || said)
        })
        .await;
    }

    async fn client(&self) -> Client {
        Client::connect(&format!("nats://127.0.0.1:{}", self.nats.nats())).await
    }

    fn data(&self) -> &Path {
        self.folder.path()
    }

    /// The process of one of the programs, by the last part of its path.
    fn pid_of(&self, program: &str) -> Result<u32, String> {
        let seen = strays::of_folder(self.data());
        let is = |process: &&strays::Seen| {
            let path = process.command_line.split(' ').next().unwrap_or_default();
            path.rsplit('/').next() == Some(program)
        };
        seen.iter().find(is).map(|process| process.pid).ok_or_else(|| format!("{program} is not in {seen:?}"))
    }

    /// The process whose command line holds a word.
    fn pid_with(&self, word: &str) -> Result<u32, String> {
        let seen = strays::of_folder(self.data());
        let found = seen.iter().find(|process| process.command_line.contains(word));
        found.map(|process| process.pid).ok_or_else(|| format!("{word} is not in {seen:?}"))
    }

    async fn kingctl_ends(&mut self) {
        self.process.signal(Signal::INT);
        let status = self.process.ended(Duration::from_secs(30)).await;
        assert!(status.success(), "{status}: {}", self.process.output());
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("===== kingctl up said =====\n{}", self.process.output());
        }
        strays::kill_all(self.data());
    }
}

async fn healthy(client: &Client) -> Result<Vec<Value>, String> {
    let instances = client.ask("instance.ls", json!({ "app": "metal" })).await?;
    let all = instances.len() == 2 && instances.iter().all(|item| item["phase"] == "healthy");
    wait::holds(all, || format!("{instances:?}")).map(|()| instances)
}

async fn answers(instance: &Value) {
    let port = instance["ports"]["http"].as_u64().and_then(|port| u16::try_from(port).ok()).expect("a port");
    assert_eq!(http::page(port).await.expect("a healthy instance answers"), "c 1.0.0 none\n");
}

#[tokio::test]
async fn one_command_serves_repairs_itself_stops_and_finds_everything_again() {
    let mut up = Up::new();
    up.start().await;
    let said = up.process.output();
    for address in [format!("http://{}", up.ports.http()), format!("nats://127.0.0.1:{}", up.nats.nats())] {
        assert!(said.contains(&address), "it prints {address}: {said}");
    }
    let remote = format!("http://{}/git/metal.git", up.ports.http());
    let repository = Repository::create(&up.data().join("metal"), &remote, C_APP).await;
    repository.publish("v1.0.0").await;
    let client = up.client().await;
    client.accepted("app.deploy", json!({ "app": "metal", "version": "1.0.0", "count": 2 })).await;
    let instances = wait::until("two are healthy", async || healthy(&client).await).await;
    for instance in &instances {
        answers(instance).await;
    }

    for program in ["servant", "foreman", "alerter", "king", "nats-server"] {
        let pid = up.pid_of(program).expect("it runs");
        strays::kill9(pid);
        wait::until(&format!("{program} is started again"), async || {
            let new = up.pid_of(program)?;
            wait::holds(new != pid, || "the old one".to_owned())
        })
        .await;
    }
    wait::until("the King is ready", async || {
        let answer = http::get(up.ports.http(), "/readyz").await.map_err(|error| error.to_string())?;
        wait::holds(answer.status == 200, || answer.body)
    })
    .await;
    let after = wait::until("two are healthy", async || healthy(&client).await).await;
    let pids = |items: &[Value]| -> Vec<Value> { items.iter().map(|item| item["pid"].clone()).collect() };
    assert_eq!(pids(&after), pids(&instances), "what runs does not notice");

    up.kingctl_ends().await;
    let left = strays::of_folder(up.data());
    assert!(left.is_empty(), "nothing runs any more: {left:?}");

    up.start().await;
    let client = up.client().await;
    // Until the servants are back, the King lists what it was told last: the processes of before.
    let again = wait::until("two are healthy again, as new processes", async || {
        let again = healthy(&client).await?;
        let old = again.iter().filter(|item| pids(&instances).contains(&item["pid"])).count();
        wait::holds(old == 0, || format!("{again:?}")).map(|()| again)
    })
    .await;
    let ids = |items: &[Value]| -> Vec<Value> { items.iter().map(|item| item["instance"].clone()).collect() };
    assert_eq!(ids(&again), ids(&instances), "everything is as it was");
    for instance in &again {
        answers(instance).await;
    }
    up.kingctl_ends().await;
    assert!(strays::of_folder(up.data()).is_empty());
}

#[tokio::test]
async fn one_that_was_killed_is_cleaned_up_by_the_next() {
    let mut up = Up::new();
    up.start().await;
    let first = up.pid_of("king").expect("it runs");
    up.process.kill9();
    assert_eq!(up.pid_of("king"), Ok(first), "its programs live on");
    up.start().await;
    let second = up.pid_of("king").expect("it runs");
    assert_ne!(first, second);
    let kings = strays::of_folder(up.data());
    let count = kings.iter().filter(|process| process.command_line.contains("/king ")).count();
    assert_eq!(count, 1, "there is one King: {kings:?}");
    up.kingctl_ends().await;
    assert!(strays::of_folder(up.data()).is_empty());
}

#[tokio::test]
async fn three_servers_lose_nothing_with_any_one_of_them() {
    let mut up = Up::with(&["--nats-servers", "3"]);
    up.start().await;
    let client = up.client().await;
    for (number, server) in ["nats-1.conf", "nats-2.conf", "nats-3.conf"].into_iter().enumerate() {
        let pid = up.pid_with(server).expect("it runs");
        strays::kill9(pid);
        let (id, body) = (format!("three-{number}"), json!({ "app": format!("app-{number}") }));
        let answer = client.command_until_answered(&id, "app.create", &body).await;
        assert_eq!(answer["status"], "accepted", "{server} is dead: {answer}");
        wait::until(&format!("{server} is started again"), async || {
            let new = up.pid_with(server)?;
            wait::holds(new != pid, || "the old one".to_owned())
        })
        .await;
    }
    let log = client.stream(events::subject::LOG_STREAM).await;
    assert_eq!(log.cached_info().config.num_replicas, 3);
    up.kingctl_ends().await;
    assert!(strays::of_folder(up.data()).is_empty());

    up.start().await;
    let apps = up.client().await.query("app.ls", json!({})).await;
    assert_eq!(apps.len(), 3, "everything is as it was: {apps:?}");
    up.kingctl_ends().await;
}
