//! The kingdom under faults. Every program has a data folder of its own, as if on a host of its own, and reaches each
//! NATS server through a proxy of its own.

use super::disk::Disk;
use crate::apps::{C_APP, File, IDLE_APP, PYTHON_APP};
use crate::client::Client;
use crate::cluster::{Cluster, SERVERS};
use crate::kingdom::servant_flags;
use crate::ports::Ports;
use crate::process::Process;
use crate::proxy::{Proxy, Weather};
use crate::reaper::Reaper;
use crate::repository::Repository;
use crate::{http, programs, strays, wait};
use events::query::KingRole;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// The Kings.
pub const KINGS: [&str; 3] = ["king-1", "king-2", "king-3"];
/// The Foremen and their domains.
pub const FOREMEN: [(&str, &str); 2] = [("foreman-east", "east"), ("foreman-west", "west")];
/// The Servants and their domains.
pub const SERVANTS: [(&str, &str); 3] = [("s1", "east"), ("s2", "east"), ("s3", "west")];
/// The Alerter.
pub const ALERTER: &str = "alerter";
/// The server, the King and the Servant whose disks are filled.
pub const SMALL_SERVER: usize = 2;
pub const SMALL_KING: usize = 2;
pub const SMALL_SERVANT: &str = SERVANTS[2].0;
/// Apps that nobody changes, with their instances.
pub const STEADY: [(&str, &[File], u32); 3] =
    [("idle", IDLE_APP, 3), ("metal", C_APP, 1), ("snake", PYTHON_APP, 1)];
/// The app that users scale.
pub const MOVING: &str = "moving";
/// How long the start of everything may take, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// Megabytes of the disks.
const SERVER_DISK: u64 = 256;
const KING_DISK: u64 = 128;
const SERVANT_DISK: u64 = 128;

/// One program and its lines to the servers.
#[derive(Debug)]
struct Service {
    process: Process,
    lines: Vec<Proxy>,
}

/// The disks, where there can be some: of each server, of each King, and of [`SMALL_SERVANT`].
#[derive(Debug)]
pub struct Disks {
    pub servers: Vec<Disk>,
    pub kings: Vec<Disk>,
    pub servant: Option<Disk>,
}

impl Disks {
    fn in_folder(path: &Path) -> Self {
        let servers =
            (1..=SERVERS).filter_map(|server| Disk::at(&path.join(format!("n{server}")), SERVER_DISK));
        let kings = KINGS.iter().filter_map(|king| Disk::at(&path.join(king), KING_DISK));
        Self {
            servers: servers.collect(),
            kings: kings.collect(),
            servant: Disk::at(&path.join(SMALL_SERVANT), SERVANT_DISK),
        }
    }

    fn all(&self) -> impl Iterator<Item = &Disk> {
        self.servers.iter().chain(&self.kings).chain(&self.servant)
    }
}

/// The kingdom.
#[derive(Debug)]
pub struct Site {
    // The fields are dropped in this order: programs before disks before their folder.
    services: BTreeMap<String, Service>,
    pub cluster: Cluster,
    /// Connected to every server, past the proxies.
    pub client: Client,
    pub disks: Disks,
    ports: BTreeMap<String, Ports>,
    reaper: Option<Reaper>,
    folder: Option<TempDir>,
}

impl Site {
    /// Starts everything, and deploys the apps.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("kc-").tempdir().expect("a temporary folder");
        let path = folder.path();
        let reaper = Some(Reaper::of(path));
        let disks = Disks::in_folder(path);
        std::fs::create_dir(path.join("log")).expect("the test's folder can be written");
        let cluster = Cluster::start(path, &path.join("log")).await;
        let client = Client::connect(&cluster.url()).await;
        let folder = Some(folder);
        let (services, ports) = (BTreeMap::new(), BTreeMap::new());
        let mut site = Self { services, cluster, client, disks, ports, reaper, folder };
        site.add_all().await;
        site.start_all().await;
        site.deploy_all().await;
        site
    }

    async fn add_all(&mut self) {
        let password = self.cluster.password_file.clone();
        for king in KINGS {
            self.ports.insert(king.to_owned(), Ports::reserve());
            let http = self.http(king).to_string();
            let flags = ["--name", king, "--http", &http, "--nats-system-password-file"].map(OsString::from);
            self.add(king, "king", flags.into_iter().chain([password.clone().into()])).await;
        }
        for (foreman, domain) in FOREMEN {
            self.add(foreman, "foreman", ["--domain", domain].map(OsString::from)).await;
        }
        for (servant, domain) in SERVANTS {
            let ports = Ports::reserve();
            let flags = servant_flags(servant, ports.of_servant(0, 1));
            self.ports.insert(servant.to_owned(), ports);
            self.add(servant, "servant", flags.into_iter().chain(["--domain", domain].map(OsString::from)))
                .await;
        }
        self.add(ALERTER, "alerter", []).await;
    }

    async fn add(&mut self, name: &str, program: &str, flags: impl IntoIterator<Item = OsString>) {
        let mut lines = Vec::new();
        for server in 0..SERVERS {
            lines.push(Proxy::to(self.cluster.port(server)).await);
        }
        let urls: Vec<_> = lines.iter().map(|line| format!("nats://127.0.0.1:{}", line.port())).collect();
        let common = ["--nats".into(), urls.join(",").into(), "--data".into(), self.path().join(name).into()];
        let arguments = common.into_iter().chain(flags);
        let process = Process::new(name, &self.path().join("log"), programs::kingdom(program), arguments);
        self.services.insert(name.to_owned(), Service { process, lines });
    }

    async fn start_all(&mut self) {
        self.services.values_mut().for_each(|service| service.process.start());
        for king in KINGS {
            self.is_ready(king).await;
        }
        self.all_servants_live().await;
    }

    async fn deploy_all(&self) {
        for (app, files, count) in STEADY.into_iter().chain([(MOVING, IDLE_APP, 1)]) {
            let remote = format!("http://{}/git/{app}.git", self.http(KINGS[0]));
            let path = self.path().join("repositories").join(app);
            Repository::create(&path, &remote, files).await.publish("v1.0.0").await;
            let order = json!({ "app": app, "version": "1.0.0", "count": count });
            self.client.accepted("app.deploy", order).await;
        }
    }

    /// The folder of everything.
    ///
    /// # Panics
    /// When it was given away by [`Site::keep`].
    pub fn path(&self) -> &Path {
        self.folder.as_ref().expect("it is kept only at the end").path()
    }

    /// Lets the folder stay when everything ends.
    pub fn keep(mut self) -> PathBuf {
        self.end_all();
        self.disks.all().for_each(Disk::keep);
        // Told that the end is clean, it removes nothing.
        drop(self.reaper.take());
        self.folder.take().expect("it is kept once").keep()
    }

    fn end_all(&mut self) {
        if let Some(folder) = &self.folder {
            self.services.clear();
            strays::kill_all(folder.path());
        }
    }

    /// Where a King serves HTTP.
    pub fn http(&self, king: &str) -> SocketAddr {
        self.ports[king].http()
    }

    fn service(&self, name: &str) -> &Service {
        self.services.get(name).unwrap_or_else(|| panic!("there is no {name}"))
    }

    fn process(&mut self, name: &str) -> &mut Process {
        &mut self.services.get_mut(name).unwrap_or_else(|| panic!("there is no {name}")).process
    }

    /// Kills a program with SIGKILL.
    pub fn kill9(&mut self, name: &str) {
        self.process(name).kill9();
    }

    /// Cuts the power of Kings and servers, all in one moment, each with its disk.
    ///
    /// # Panics
    /// When they have no disks.
    pub async fn cut_power(&mut self, kings: &[&str], servers: &[usize]) {
        // What stands still sees nothing of the end of its disk.
        kings.iter().for_each(|king| self.signal(king, Signal::STOP));
        servers.iter().for_each(|server| self.cluster.pause(*server));
        let disks = self.disks_of(kings, servers);
        disks.iter().for_each(|disk| disk.cut_power());
        kings.iter().for_each(|king| self.kill9(king));
        servers.iter().for_each(|server| self.cluster.kill9(*server));
        for disk in self.disks_of(kings, servers) {
            disk.unplug().await;
        }
    }

    /// Gives power again; the programs are not started by that.
    ///
    /// # Panics
    /// When they have no disks, or these cannot be read any more.
    pub fn give_power(&self, kings: &[&str], servers: &[usize]) {
        self.disks_of(kings, servers).into_iter().for_each(Disk::plug);
    }

    fn disks_of(&self, kings: &[&str], servers: &[usize]) -> Vec<&Disk> {
        let of_kings = KINGS.iter().zip(&self.disks.kings).filter(|(king, _)| kings.contains(king));
        let of_servers = servers.iter().map(|server| &self.disks.servers[*server]);
        of_kings.map(|(_, disk)| disk).chain(of_servers).collect()
    }

    /// Sends a signal to a program.
    pub fn signal(&self, name: &str, signal: Signal) {
        self.service(name).process.signal(signal);
    }

    /// What a program has said so far.
    pub fn said(&self, name: &str) -> String {
        self.service(name).process.output()
    }

    /// Starts a program that was killed.
    pub fn start_again(&mut self, name: &str) {
        self.process(name).start();
    }

    /// Starts programs again that have ended by themselves, as a service manager does, and names them.
    pub fn revive(&mut self) -> Vec<String> {
        let mut revived = Vec::new();
        for (name, service) in &mut self.services {
            if service.process.runs() && service.process.has_ended() {
                service.process.start();
                revived.push(name.clone());
            }
        }
        revived
    }

    /// The variables of a program at its next start.
    pub fn variable(&mut self, name: &str, key: &str, value: Option<&str>) {
        match value {
            Some(value) => self.process(name).variable(key, value),
            None => self.process(name).without_variable(key),
        }
    }

    /// The weather between a program and every server.
    pub fn weather(&self, name: &str, weather: Weather) {
        self.service(name).lines.iter().for_each(|line| line.set(weather));
    }

    /// Resets what a program is connected to.
    pub fn reset(&self, name: &str) {
        self.service(name).lines.iter().for_each(Proxy::reset);
    }

    /// Lets a program believe in connections that are gone.
    pub fn half_open(&self, name: &str) {
        self.service(name).lines.iter().for_each(Proxy::half_open);
    }

    /// What a King says of itself.
    ///
    /// # Errors
    /// When it does not.
    pub async fn king(&self, king: &str) -> Result<Value, String> {
        let answer = http::get(self.http(king), "/v1/king").await.map_err(|error| error.to_string())?;
        let mut body: Value = serde_json::from_str(&answer.body).map_err(|error| error.to_string())?;
        match body["items"].take() {
            Value::Array(items) if items.len() == 1 => Ok(items.into_iter().next().unwrap_or_default()),
            _ => Err(format!("{king}: {} {}", answer.status, answer.body)),
        }
    }

    /// The King that writes.
    ///
    /// # Panics
    /// When none does.
    pub async fn writer(&self) -> &'static str {
        wait::until("a King writes", async || {
            for king in KINGS {
                let metrics = http::get(self.http(king), "/metrics").await.map_err(|error| error.to_string());
                let writes = format!("role=\"{}\"}} 1", KingRole::Writer);
                if metrics.is_ok_and(|metrics| metrics.body.contains(&writes)) {
                    return Ok(king);
                }
            }
            Err("none says that it does".to_owned())
        })
        .await
    }

    /// Waits until a King is ready.
    ///
    /// # Panics
    /// When it does not become so.
    pub async fn is_ready(&self, king: &str) {
        wait::within(PATIENCE, &format!("{king} is ready"), async || {
            let answer = http::get(self.http(king), "/readyz").await.map_err(|error| error.to_string())?;
            wait::holds(answer.status == 200, || format!("{} {}", answer.status, answer.body))
        })
        .await;
    }

    /// Waits until no Servant is lost.
    ///
    /// # Panics
    /// When one stays so.
    pub async fn all_servants_live(&self) {
        wait::within(PATIENCE, "every Servant lives", async || {
            let servants = self.client.ask("servant.ls", json!({})).await?;
            let live = servants.iter().filter(|servant| servant["lost"] == false).count();
            wait::holds(live == SERVANTS.len(), || format!("{servants:?}"))
        })
        .await;
    }

    /// Where a Servant keeps the reports that wait.
    pub fn outbox(&self, servant: &str) -> PathBuf {
        self.path().join(servant).join(format!("servant-{servant}")).join("outbox")
    }

    /// Tells a program to end, and waits until it has.
    ///
    /// # Panics
    /// When it does not.
    pub async fn stop(&mut self, name: &str) {
        let process = self.process(name);
        process.signal(Signal::TERM);
        process.ended(PATIENCE).await;
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.end_all();
    }
}
