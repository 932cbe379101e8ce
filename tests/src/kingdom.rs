//! A whole kingdom of real processes in a temporary folder, for one test alone. When it is dropped nothing of it runs
//! any more; when the test failed, what its services said is printed first.

use crate::apps::File;
use crate::client::Client;
use crate::cluster::Cluster;
use crate::command::{Ended, run};
use crate::nats::{Server, Syncing};
use crate::ports::Ports;
use crate::process::{Process, clean_environment};
use crate::reaper::Reaper;
use crate::repository::Repository;
use crate::{http, programs, strays, wait};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tokio::process::Command;

/// Lines of each service's log that a failed test prints.
const LAST_LINES: usize = 60;

/// The services of a kingdom with one servant, in the order of their start.
pub const SERVICES: [&str; 5] = ["nats", "king", "foreman", "alerter", "s1"];

/// What a kingdom shall be like.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Up to four; the first is `king`, the others are `king-2` and so on.
    pub kings: u16,
    pub servants: u16,
    /// Further flags of the King.
    pub king: Vec<String>,
    /// The sockets of the engines that the servants use, in their order; those beyond have none.
    pub engines: Vec<PathBuf>,
    /// Further flags of the Alerter.
    pub alerter: Vec<String>,
    /// Further flags of every servant; `{name}` stands for its name.
    pub servant: Vec<String>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            kings: 1,
            servants: 1,
            king: Vec::new(),
            engines: Vec::new(),
            alerter: vec!["--resolve-after-ms".into(), "1500".into()],
            servant: Vec::new(),
        }
    }
}

/// A kingdom that runs.
pub struct Kingdom {
    // The fields are dropped in this order: processes before their folder.
    services: BTreeMap<String, Process>,
    nats: Server,
    /// Where NATS clients connect.
    url: String,
    pub client: Client,
    pub ports: Ports,
    servants: u16,
    _reaper: Reaper,
    folder: TempDir,
}

impl Kingdom {
    /// Starts one with one servant.
    pub async fn start() -> Self {
        Self::with(Plan::default()).await
    }

    /// Starts one as planned, and waits until every servant has joined.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn with(plan: Plan) -> Self {
        let folder = tempfile::Builder::new().prefix("kt-").tempdir().expect("a temporary folder");
        let _reaper = Reaper::of(folder.path());
        let logs = folder.path().join("log");
        std::fs::create_dir(&logs).expect("the test's folder can be written");
        let ports = Ports::reserve();
        let mut nats = Server::prepare(folder.path(), &logs, ports.nats(), Syncing::Always);
        nats.start().await;
        let url = nats.url();
        let client = Client::connect(&url).await;
        let mut kingdom = Self {
            services: BTreeMap::new(),
            nats,
            url,
            client,
            ports,
            servants: plan.servants,
            _reaper,
            folder,
        };
        kingdom.add_all(&plan);
        kingdom.start_service("king");
        kingdom.is_ready().await;
        let others: Vec<String> = kingdom.services.keys().filter(|name| *name != "king").cloned().collect();
        others.iter().for_each(|name| kingdom.start_service(name));
        kingdom.all_servants_live().await;
        kingdom
    }

    fn add_all(&mut self, plan: &Plan) {
        for index in 0..plan.kings {
            self.add_king(index, &plan.king);
        }
        self.add("foreman", "foreman", vec![]);
        self.add("alerter", "alerter", plan.alerter.iter().map(OsString::from).collect());
        for index in 0..plan.servants {
            let (name, range) = (format!("s{}", index + 1), self.ports.of_servant(index, plan.servants));
            let mut flags = servant_flags(&name, range);
            // Never the one of the host on which the tests run.
            let none = self.path().join("no-engine.sock");
            let engine = plan.engines.get(usize::from(index)).unwrap_or(&none);
            flags.extend(["--docker-socket".into(), engine.into()]);
            flags.extend(plan.servant.iter().map(|flag| flag.replace("{name}", &name).into()));
            self.add(&name, "servant", flags);
        }
    }

    fn add_king(&mut self, index: u16, more: &[String]) {
        let name = king_name(index);
        let mut flags = vec![
            OsString::from("--http"),
            self.ports.http_of(index).to_string().into(),
            "--name".into(),
            name.clone().into(),
            "--nats-system-password-file".into(),
            self.nats.password_file.clone().into(),
        ];
        flags.extend(more.iter().map(OsString::from));
        let data = if index == 0 { self.path().to_owned() } else { self.path().join("kings").join(&name) };
        let process = self.service_process(&name, "king", &data, flags);
        self.services.insert(name, process);
    }

    fn add(&mut self, name: &str, program: &str, flags: Vec<OsString>) {
        let process = self.service_process(name, program, self.folder.path(), flags);
        self.services.insert(name.to_owned(), process);
    }

    /// A further program of this kingdom that is not started and not kept by it.
    pub fn service_process(
        &self,
        name: &str,
        program: &str,
        data: &Path,
        flags: impl IntoIterator<Item = OsString>,
    ) -> Process {
        let common = ["--nats".into(), self.url.clone().into(), "--data".into(), data.as_os_str().to_owned()];
        let arguments = common.into_iter().chain(flags);
        Process::new(name, &self.path().join("log"), programs::kingdom(program), arguments)
    }

    /// The folder of everything: data, logs, repositories.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Where NATS clients connect.
    pub fn nats_url(&self) -> String {
        self.url.clone()
    }

    /// Every service and every client finds these servers instead of the one that the kingdom was made with, from its next
    /// start on.
    pub async fn move_to(&mut self, cluster: &Cluster) {
        for process in self.services.values_mut() {
            process.replace_argument(&self.url, cluster.url());
            process.replace_argument(&self.nats.password_file, &cluster.password_file);
        }
        self.url = cluster.url();
        self.client = Client::connect(&self.url).await;
    }

    /// The ports of the first servant, both ends included.
    pub fn servant_ports(&self) -> (u16, u16) {
        self.ports.of_servant(0, self.servants)
    }

    fn process(&mut self, name: &str) -> &mut Process {
        if name == "nats" {
            return &mut self.nats.process;
        }
        self.services.get_mut(name).unwrap_or_else(|| panic!("there is no service {name}"))
    }

    /// Starts a service; does not wait until it serves.
    pub fn start_service(&mut self, name: &str) {
        self.process(name).start();
    }

    /// Kills a service with SIGKILL. What it has started lives on.
    pub fn kill9(&mut self, name: &str) {
        self.process(name).kill9();
    }

    /// Sends a signal to a service.
    pub fn signal(&mut self, name: &str, signal: Signal) {
        self.process(name).signal(signal);
    }

    /// The process id of a service.
    ///
    /// # Panics
    /// When it does not run.
    pub fn pid(&self, name: &str) -> u32 {
        if name == "nats" { self.nats.process.pid() } else { self.services[name].pid() }
    }

    /// Whether a service has ended by itself.
    pub fn has_ended(&mut self, name: &str) -> bool {
        self.process(name).has_ended()
    }

    /// Starts a service that was killed, and waits until it serves.
    pub async fn restart(&mut self, name: &str) {
        self.start_service(name);
        match name {
            "nats" => self.nats.greets().await,
            "king" => self.is_ready().await,
            _ => {}
        }
    }

    /// Every King that answers, by its name.
    pub async fn kings(&self) -> BTreeMap<String, Value> {
        let places = self.client.gather("king.query.king.ls").await;
        let items = places.into_iter().flat_map(|mut place| match place["ok"]["items"].take() {
            Value::Array(items) => items,
            other => panic!("{other}"),
        });
        items.map(|item| (item["name"].as_str().expect("it has a name").to_owned(), item)).collect()
    }

    /// Waits until one King writes and so many others are backups; gives the name of the one that writes.
    pub async fn one_writes(&self, backups: usize) -> String {
        wait::until(&format!("one King writes, and {backups} follow it"), async || {
            let kings = self.kings().await;
            let with = |role: &str| kings.iter().filter(|(_, king)| king["role"] == role).count();
            wait::holds(with("writer") == 1 && with("backup") == backups, || format!("{kings:?}"))?;
            let writer = kings.into_iter().find(|(_, king)| king["role"] == "writer");
            writer.map(|(name, _)| name).ok_or_else(|| "just seen".to_owned())
        })
        .await
    }

    /// Waits until a King other than this one writes.
    pub async fn another_writes(&self, than: &str) -> String {
        wait::until(&format!("another King than {than} writes"), async || {
            let kings = self.kings().await;
            let writer = kings.iter().find(|(name, king)| *name != than && king["role"] == "writer");
            writer.map(|(name, _)| name.clone()).ok_or_else(|| format!("{kings:?}"))
        })
        .await
    }

    /// Where a King serves HTTP.
    pub fn http_of(&self, king: &str) -> std::net::SocketAddr {
        let index =
            king.strip_prefix("king-").map_or(0, |number| number.parse::<u16>().expect("a number") - 1);
        self.ports.http_of(index)
    }

    /// What a service has said so far.
    pub fn said(&mut self, name: &str) -> String {
        self.process(name).output()
    }

    /// Waits until the King takes commands.
    pub async fn is_ready(&self) {
        wait::until("the King is ready", async || {
            let answer = http::get(self.ports.http(), "/readyz").await.map_err(|error| error.to_string())?;
            wait::holds(answer.status == 200, || format!("{} {}", answer.status, answer.body))
        })
        .await;
    }

    /// Waits until every servant of the plan has joined and is not lost.
    pub async fn all_servants_live(&self) {
        wait::until("every servant lives", async || {
            let servants = self.client.ask("servant.ls", json!({})).await?;
            let live = servants.iter().filter(|servant| servant["lost"] == false).count();
            wait::holds(live == usize::from(self.servants), || format!("{servants:?}"))
        })
        .await;
    }

    /// The address of an app's Git remote.
    pub fn remote(&self, app: &str) -> String {
        format!("http://{}/git/{app}.git", self.ports.http())
    }

    /// A repository with these files, its remote set to the app of the same name.
    pub async fn repository(&self, app: &str, files: &[File]) -> Repository {
        let path: PathBuf = self.path().join("repositories").join(app);
        Repository::create(&path, &self.remote(app), files).await
    }

    /// Runs `kingctl`.
    pub async fn kingctl(&self, arguments: &[&str]) -> Ended {
        run(self.kingctl_command(arguments)).await
    }

    /// A `kingctl` as a command, for those that need more than their arguments.
    pub fn kingctl_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(programs::kingdom("kingctl"));
        command.args(arguments).env_clear().envs(clean_environment());
        command.env("KING_NATS", &self.url).env("USER", "tester").current_dir(self.path());
        command
    }

    /// A `kingctl` that is not started yet, for those that go on until they are told to end.
    pub fn kingctl_process(&self, arguments: &[&str]) -> Process {
        let name = format!("kingctl-{}", arguments.first().unwrap_or(&"help"));
        let logs = self.path().join("log");
        let mut process = Process::new(&name, &logs, programs::kingdom("kingctl"), arguments);
        process.variable("KING_NATS", &self.url);
        process.variable("USER", "tester");
        process
    }

    /// Runs `kingctl … -o json`, which must succeed, and parses what it prints.
    pub async fn kingctl_json(&self, arguments: &[&str]) -> Value {
        let printed = self.kingctl(&[arguments, &["-o", "json"]].concat()).await.success();
        serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error} in {printed}"))
    }

    /// Pushes an app as version 1.0.0, deploys so many instances of its main process, and waits until they run.
    pub async fn deploy(&self, app: &str, files: &[File], count: u32) -> Repository {
        let repository = self.repository(app, files).await;
        repository.publish("v1.0.0").await;
        let target = format!("{app}@1.0.0");
        self.kingctl(&["app", "deploy", &target, "--count", &count.to_string(), "--wait"]).await.success();
        repository
    }

    /// The instances of an app.
    pub async fn instances(&self, app: &str) -> Vec<Value> {
        self.client.query("instance.ls", json!({ "app": app })).await
    }

    /// Waits until an app is as it shall be.
    pub async fn settled(&self, app: &str) {
        wait::until(&format!("{app} is settled"), async || {
            let item = self.client.ask("app.show", json!({ "app": app })).await?.remove(0);
            wait::holds(item["phase"] == "settled", || item.to_string())
        })
        .await;
    }

    /// How often each instance runs on this machine, and as which process.
    pub fn runs(&self) -> BTreeMap<String, Vec<u32>> {
        strays::runs(self.path())
    }

    /// The mails that were written to files, oldest first.
    pub fn mails(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.path().join("alerter/mail")) else { return Vec::new() };
        let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "eml"));
        paths.sort();
        paths.iter().filter_map(|path| std::fs::read_to_string(path).ok()).collect()
    }

    /// Waits until there is a mail that holds all these words in its headers.
    pub async fn mail_about(&self, words: &[&str]) -> String {
        wait::until(&format!("a mail tells of {words:?}"), async || {
            let fits = |mail: &String| {
                let head = mail.split("\r\n\r\n").next().unwrap_or_default().replace("\r\n ", " ");
                words.iter().all(|word| head.contains(word))
            };
            let mails = self.mails();
            let subject = |mail: &String| {
                mail.lines().find(|line| line.starts_with("Subject:")).unwrap_or("?").to_owned()
            };
            let subjects: Vec<_> = mails.iter().map(subject).collect();
            mails.into_iter().find(fits).ok_or_else(|| format!("the mails are {subjects:?}"))
        })
        .await
    }
}

/// What a King is called.
pub fn king_name(index: u16) -> String {
    if index == 0 { "king".to_owned() } else { format!("king-{}", index + 1) }
}

/// The flags of a servant.
pub fn servant_flags(name: &str, (first, last): (u16, u16)) -> Vec<OsString> {
    vec!["--name".into(), name.into(), "--ports".into(), format!("{first}-{last}").into()]
}

impl Drop for Kingdom {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for process in self.services.values().chain([&self.nats.process]) {
                let output = process.output();
                let lines: Vec<&str> = output.lines().collect();
                let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
                eprintln!("\n===== the last lines of {} =====\n{}", process.name, last.join("\n"));
            }
        }
        self.services.clear();
        strays::kill_all(self.folder.path());
    }
}
