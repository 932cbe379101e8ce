//! `kingctl up` on real programs: it serves, repairs, refuses a second one, cleans up after a killed one, and leaves
//! nothing behind.

use kingdom_tests::command::Ended;
use kingdom_tests::ports::Ports;
use kingdom_tests::process::Process;
use kingdom_tests::{command, http, programs, strays, wait};
use rustix::process::Signal;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);

/// A `kingctl up` in a folder of its own.
struct Up {
    ports: Ports,
    folder: TempDir,
    processes: u32,
}

impl Up {
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("ku-").tempdir().expect("a temporary folder");
        Self { ports: Ports::reserve(), folder, processes: 0 }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn process(&mut self) -> Process {
        self.processes += 1;
        let (first, last) = self.ports.of_servant(0, 1);
        let arguments = [
            "up".into(),
            "--data".into(),
            self.data().display().to_string(),
            "--nats-port".into(),
            self.ports.nats().to_string(),
            "--http".into(),
            self.ports.http().to_string(),
            "--ports".into(),
            format!("{first}-{last}"),
            "--nats-server".into(),
            programs::nats_server().display().to_string(),
        ];
        let name = format!("up-{}", self.processes);
        Process::new(&name, self.folder.path(), programs::kingdom("kingctl"), arguments)
    }

    async fn start(&mut self) -> Process {
        let mut process = self.process();
        process.start();
        says(&process, "The kingdom is up").await;
        process
    }

    fn pid_of(&self, service: &str) -> Option<u32> {
        let text = std::fs::read_to_string(self.data().join("up/pids").join(service)).ok()?;
        text.split(' ').next()?.parse().ok()
    }

    async fn kingctl(&self, arguments: &[&str]) -> Ended {
        let nats = format!("nats://127.0.0.1:{}", self.ports.nats());
        let all = [&["--nats", &nats], arguments].concat();
        let mut kingctl = tokio::process::Command::new(programs::kingdom("kingctl"));
        kingctl.args(all).current_dir(self.folder.path());
        command::run(kingctl).await
    }

    /// The newest event, as the King says it.
    async fn event(&self) -> u64 {
        let printed = self.kingctl(&["king", "show", "-o", "json"]).await.success();
        let kings: serde_json::Value = serde_json::from_str(&printed).expect("a list");
        kings[0]["event"].as_u64().expect("a number")
    }

    async fn servant_is_alive(&self) {
        wait::until("the servant is alive", async || {
            let list = self.kingctl(&["servant", "ls"]).await.success();
            wait::holds(list.contains("alive"), || list.clone())
        })
        .await;
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        strays::kill_all(self.folder.path());
    }
}

async fn says(process: &Process, words: &str) {
    wait::within(PATIENCE, &format!("kingctl up says {words:?}"), async || {
        let output = process.output();
        wait::holds(output.contains(words), || output.clone())
    })
    .await;
}

fn nothing_runs(folder: &Path) {
    let left = strays::of_folder(folder);
    assert!(left.is_empty(), "left behind: {left:#?}");
}

#[tokio::test]
async fn it_serves_stops_and_finds_everything_as_it_was() {
    let mut up = Up::new();
    let mut first = up.start().await;
    up.servant_is_alive().await;
    up.kingctl(&["app", "create", "shop"]).await.success();
    let event = up.event().await;
    first.signal(Signal::INT);
    assert!(first.ended(PATIENCE).await.success(), "{}", first.output());
    nothing_runs(up.folder.path());

    let mut second = up.start().await;
    assert!(up.kingctl(&["app", "ls"]).await.success().contains("shop"));
    assert!(up.event().await > event, "the log goes on");
    second.signal(Signal::TERM);
    assert!(second.ended(PATIENCE).await.success(), "{}", second.output());
    nothing_runs(up.folder.path());
}

#[tokio::test]
async fn it_starts_again_what_dies() {
    let mut up = Up::new();
    let process = up.start().await;
    up.servant_is_alive().await;
    for service in ["king", "foreman", "servant-s1", "alerter", "nats"] {
        let before = up.pid_of(service).expect("it runs");
        strays::kill9(before);
        wait::within(PATIENCE, &format!("{service} runs again"), async || {
            let now = up.pid_of(service);
            wait::holds(now.is_some_and(|now| now != before), || format!("pid {now:?}"))
        })
        .await;
        says(&process, &format!("{service} (pid {before}) ended")).await;
    }
    wait::within(PATIENCE, "the King is ready again", async || {
        http::get(up.ports.http(), "/readyz")
            .await
            .map_err(|error| error.to_string())
            .and_then(|page| wait::holds(page.status == 200, || format!("{page:?}")))
    })
    .await;
    up.kingctl(&["app", "create", "shop"]).await.success();
}

#[tokio::test]
async fn a_second_one_on_the_same_folder_is_refused() {
    let mut up = Up::new();
    let first = up.start().await;
    let mut second = up.process();
    second.start();
    assert_eq!(second.ended(PATIENCE).await.code(), Some(4), "{}", second.output());
    let said = second.output();
    assert!(said.contains(&first.pid().to_string()), "it names the holder: {said}");
    up.kingctl(&["king", "show"]).await.success();
}

#[tokio::test]
async fn what_a_killed_one_left_running_is_ended_first() {
    let mut up = Up::new();
    let mut killed = up.start().await;
    let left = up.pid_of("king").expect("it runs");
    killed.kill9();
    let mut next = up.start().await;
    let said = next.output();
    assert!(said.contains(&format!("king (pid {left})")), "it says what it ends: {said}");
    assert_ne!(up.pid_of("king"), Some(left));
    next.signal(Signal::INT);
    assert!(next.ended(PATIENCE).await.success(), "{}", next.output());
    nothing_runs(up.folder.path());
}
