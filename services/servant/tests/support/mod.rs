//! A real servant under a real nats-server; the test plays the King and the Foreman.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

pub mod server;

use bus::Bus;
use bus::logs::{Logs, Start};
use bus::objects::Objects;
use bus::views::Views;
use events::answer::{ReportAnswer, Verdict};
use events::manifest::{CommandLine, HealthCheck, Restart};
use events::report::{InstanceNews, RegisterServant, ServantNews};
use events::view::{AssignedInstance, AssignedProcess, AssignedRelease, Assignment, Stamp, Stamped};
use events::{Digest, InstanceId, News, Report, ReportId, ServantId, subject, wire};
use servant::keeper::InstanceFolder;
use server::Server;
use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::watch;

/// Nothing here takes as long; a test that waits so long has failed.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What was reported, in order, each once.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    ids: BTreeSet<ReportId>,
    pub reports: Vec<Report>,
}

impl Heard {
    pub fn news(&self) -> impl Iterator<Item = &News> {
        self.reports.iter().map(|report| &report.news)
    }

    pub fn of(&self, instance: InstanceId) -> Vec<InstanceNews> {
        self.news()
            .filter_map(|news| match news {
                News::Instance(news) if news.instance() == instance => Some(news.clone()),
                News::Instance(_) | News::Servant(_) | News::Exec(_) => None,
            })
            .collect()
    }

    pub fn registration(&self) -> Option<RegisterServant> {
        self.news().find_map(|news| match news {
            News::Servant(ServantNews::Register(facts)) => Some(facts.clone()),
            News::Servant(_) | News::Instance(_) | News::Exec(_) => None,
        })
    }

    pub fn pids(&self, instance: InstanceId) -> Vec<u32> {
        self.of(instance)
            .into_iter()
            .filter_map(|news| match news {
                InstanceNews::Started(news) => Some(news.pid),
                _ => None,
            })
            .collect()
    }

    pub fn is_ready(&self, instance: InstanceId) -> bool {
        self.of(instance).iter().any(|news| matches!(news, InstanceNews::Ready(_)))
    }

    pub fn is_stopped(&self, instance: InstanceId) -> bool {
        self.of(instance).iter().any(|news| matches!(news, InstanceNews::Stopped(_)))
    }
}

pub struct Kingdom {
    pub server: Server,
    pub bus: Bus,
    pub data: TempDir,
    heard: watch::Receiver<Heard>,
    servant: Option<Child>,
    extra: Vec<String>,
    event: u64,
}

impl Kingdom {
    /// Everything provisioned, the Foreman answering, no servant yet.
    pub async fn new() -> Self {
        Self::with_verdict(|_| Verdict::Committed).await
    }

    pub async fn with_verdict(verdict: impl Fn(&Report) -> Verdict + Send + 'static) -> Self {
        let server = Server::start();
        let bus = server.provisioned().await;
        let heard = foreman(&bus, verdict).await;
        let data = tempfile::tempdir().unwrap();
        Self { server, bus, data, heard, servant: None, extra: Vec::new(), event: 0 }
    }

    /// With a servant that has registered.
    pub async fn with_servant(extra: &[&str]) -> Self {
        let mut kingdom = Self::new().await;
        kingdom.extra = extra.iter().map(|flag| (*flag).to_owned()).collect();
        kingdom.start_servant();
        kingdom.wait("it registers", |heard| heard.registration().is_some()).await;
        kingdom
    }

    pub fn start_servant(&mut self) {
        self.servant = Some(self.spawn_servant(Stdio::inherit()));
    }

    pub fn spawn_servant(&self, stderr: Stdio) -> Child {
        Command::new(env!("CARGO_BIN_EXE_servant"))
            .args(["--name", "one", "--nats", &self.server.url(), "--log", "debug,async_nats=warn,sled=warn"])
            .arg("--data")
            .arg(self.data.path())
            .args(&self.extra)
            .stdin(Stdio::null())
            .stderr(stderr)
            .spawn()
            .unwrap()
    }

    /// As a power switch would.
    pub fn kill_servant(&mut self) {
        let mut servant = self.servant.take().unwrap();
        servant.kill().unwrap();
        servant.wait().unwrap();
    }

    /// SIGTERM, and until it has ended.
    pub fn end_servant(&mut self) {
        let mut servant = self.servant.take().unwrap();
        signal(servant.id(), "TERM");
        assert!(servant.wait().unwrap().success());
    }

    pub fn folder(&self) -> PathBuf {
        self.data.path().join("servant-one")
    }

    pub fn instance_folder(&self, instance: InstanceId) -> PathBuf {
        InstanceFolder::new(&self.folder().join("instances"), instance).path
    }

    pub fn heard(&self) -> Heard {
        self.heard.borrow().clone()
    }

    pub async fn wait(&self, what: &str, is_so: impl Fn(&Heard) -> bool) -> Heard {
        let mut heard = self.heard.clone();
        match tokio::time::timeout(PATIENCE, heard.wait_for(&is_so)).await {
            Ok(heard) => heard.unwrap().clone(),
            Err(_) => panic!("{what}: not within {PATIENCE:?}; heard {:#?}", self.heard().reports),
        }
    }

    pub async fn assign(&mut self, releases: &[&AssignedRelease], instances: &[&AssignedInstance]) {
        self.event += 1;
        let stamp = Stamp { epoch: 1, event: self.event };
        self.assign_at(stamp, releases, instances).await;
    }

    pub async fn assign_at(
        &self,
        stamp: Stamp,
        releases: &[&AssignedRelease],
        instances: &[&AssignedInstance],
    ) {
        let view = Assignment {
            releases: releases.iter().map(|release| (*release).clone()).collect(),
            instances: instances.iter().map(|instance| (*instance).clone()).collect(),
            stopping: Vec::new(),
        };
        let id = self.heard().registration().expect("registered").servant;
        self.put_view(id, &Stamped { stamp, view }).await;
    }

    pub async fn put_view(&self, id: ServantId, view: &Stamped<Assignment>) {
        let views = Views::open(&self.bus).await.unwrap();
        views.put(&subject::assignment_key(id), wire::encode(view), view.stamp).await.unwrap();
    }

    /// Stores an app of these files and gives a release of it.
    pub async fn release(
        &self,
        number: u32,
        files: &[(&str, &str)],
        process: AssignedProcess,
    ) -> AssignedRelease {
        let archive = pack(files);
        self.release_of(number, &archive, process).await
    }

    pub async fn release_of(&self, number: u32, archive: &[u8], process: AssignedProcess) -> AssignedRelease {
        let digest = Digest::of(archive);
        let objects = Objects::open(&self.bus).await.unwrap();
        objects.put(&digest, archive.to_vec()).await.unwrap();
        AssignedRelease {
            app: "hello".parse().unwrap(),
            release: number,
            version: "1.0.0".parse().unwrap(),
            archive: digest,
            build: None,
            processes: BTreeMap::from([("web".parse().unwrap(), process)]),
        }
    }

    /// All lines of an instance's stream until this many are there, by number, repeated ones told apart.
    pub async fn lines(&self, instance: InstanceId, output: &str, count: usize) -> BTreeMap<u64, String> {
        let logs = Logs::open(&self.bus).await.unwrap();
        let filter = format!("king.log.default.hello.{instance}.{output}");
        let mut tail = logs.tail(&filter, Start::Beginning).await.unwrap();
        let mut lines = BTreeMap::new();
        let begun = Instant::now();
        while lines.len() < count {
            let left = PATIENCE.saturating_sub(begun.elapsed());
            let entry = tokio::time::timeout(left, tail.next())
                .await
                .unwrap_or_else(|_| panic!("{} of {count} lines of {output}: {lines:#?}", lines.len()))
                .unwrap();
            for (index, line) in entry.batch.lines.iter().enumerate() {
                let text = String::from_utf8_lossy(&line.text).into_owned();
                let number = entry.batch.first + index as u64;
                if let Some(before) = lines.insert(number, text.clone()) {
                    assert_eq!(before, text, "line {number} came twice and differs");
                }
            }
        }
        lines
    }
}

impl Drop for Kingdom {
    fn drop(&mut self) {
        if let Some(mut servant) = self.servant.take() {
            let _ = servant.kill();
            let _ = servant.wait();
        }
        // The holders outlive a servant, and so they would a test: those of this data folder are ended.
        let mark = self.data.path().display().to_string();
        for pid in processes() {
            let holder = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let directory = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
            if holder.contains(&mark) || directory.starts_with(self.data.path()) {
                signal(pid, "KILL");
            }
        }
        if let Some(facts) = self.heard().registration() {
            servant::cgroup::Cgroups::probe(facts.servant).forget();
        }
    }
}

async fn foreman(bus: &Bus, verdict: impl Fn(&Report) -> Verdict + Send + 'static) -> watch::Receiver<Heard> {
    let mut requests = bus.subscribe("king.up.default.*").await.unwrap();
    let (sender, receiver) = watch::channel(Heard::default());
    let bus = bus.clone();
    tokio::spawn(async move {
        while let Some(request) = requests.next().await {
            let reports: Vec<Report> = wire::decode(&request.payload).unwrap();
            let verdicts = reports.iter().map(&verdict).collect();
            sender.send_modify(|heard| {
                for report in reports {
                    if heard.ids.insert(report.id) {
                        heard.reports.push(report);
                    }
                }
            });
            // A Foreman that is cut off cannot answer.
            let _ = bus.answer(&request, wire::encode(&ReportAnswer { verdicts })).await;
        }
    });
    receiver
}

pub fn pack(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o755);
        builder.append_data(&mut header, name, text.as_bytes()).unwrap();
    }
    zstd::encode_all(&builder.into_inner().unwrap()[..], 3).unwrap()
}

/// A process type that runs this script and has no port.
pub fn script(text: &str) -> AssignedProcess {
    AssignedProcess {
        command: Some(CommandLine::Shell(text.to_owned())),
        container: None,
        env: BTreeMap::new(),
        ports: Vec::new(),
        health: None,
        restart: Restart::Always,
        stop_grace_ms: 5000,
        errors: None,
        supervision: Default::default(),
        workers: None,
    }
}

/// A process type that answers HTTP on its port.
pub fn web(text: &str) -> AssignedProcess {
    let health = HealthCheck { path: Some("/".to_owned()), ..HealthCheck::default() };
    AssignedProcess { ports: vec!["http".parse().unwrap()], health: Some(health), ..script(text) }
}

/// A server that says who it is.
pub const SERVER: &str = "import os, http.server
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
        self.wfile.write(f\"{os.getpid()} {os.environ['KING_INSTANCE']}\".encode())
http.server.HTTPServer(('127.0.0.1', int(os.environ['PORT'])), H).serve_forever()
";

pub fn instance(release: &AssignedRelease) -> AssignedInstance {
    AssignedInstance {
        instance: InstanceId(service::clock::fresh_id()),
        app: release.app.clone(),
        release: release.release,
        process: "web".parse().unwrap(),
        ports: BTreeMap::new(),
        restarts: 0,
    }
}

pub fn with_port(release: &AssignedRelease, port: u16) -> AssignedInstance {
    AssignedInstance { ports: BTreeMap::from([("http".parse().unwrap(), port)]), ..instance(release) }
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub fn signal(pid: u32, name: &str) {
    // It may be gone: then there is nothing to end.
    let _ = Command::new("kill").args([format!("-{name}"), pid.to_string()]).stderr(Stdio::null()).status();
}

pub fn processes() -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").unwrap();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// Living processes, no zombies.
pub fn lives(pid: u32) -> bool {
    servant::host::start_ticks(pid).is_some()
}

/// Living processes of an instance, its holder not among them.
pub fn processes_of(instance: InstanceId) -> Vec<u32> {
    let mark = format!("KING_INSTANCE={instance}");
    let has_mark = |pid: &u32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
    };
    processes().into_iter().filter(|pid| lives(*pid)).filter(has_mark).collect()
}

/// The last process that the holder of this folder started.
pub fn last_pid(folder: &Path) -> u32 {
    servant::holder::runs::read(folder).unwrap().run.unwrap().pid
}

/// Waits for something that nobody tells.
pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The body that a port answers with.
pub async fn get(port: u16) -> Option<String> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
}

pub fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}
