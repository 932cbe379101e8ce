//! A real Docker engine for one test alone: its own data, socket and bridge, and nothing of it left when it is dropped. It
//! needs root and the Debian packages docker.io, busybox-static and iproute2, and no network: the image is made here.

use crate::command::{Ended, run};
use crate::process::{Process, clean_environment};
use crate::{Kingdom, http, wait};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command as Blocking;
use std::sync::atomic::{AtomicU32, Ordering};
use tempfile::TempDir;
use tokio::process::Command;

/// The image that every engine here has: busybox, and a page to serve.
pub const IMAGE: &str = "tiny:1";
/// What [`IMAGE`] serves at `/`.
pub const PAGE: &str = "served from a container\n";

const APPLETS: [&str; 16] = [
    "sh", "httpd", "sleep", "usleep", "cat", "echo", "env", "head", "ls", "nc", "touch", "yes", "id", "true",
    "stty", "tty",
];

/// Engines of this process so far: each has a bridge of its own.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// An engine that runs.
#[derive(Debug)]
pub struct Engine {
    // Dropped in this order: by then it was stopped.
    process: Process,
    bridge: Bridge,
    folder: TempDir,
}

impl Engine {
    /// Starts one that has [`IMAGE`].
    ///
    /// # Panics
    /// When it cannot be started: without root, or without what it needs.
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// Starts one with further flags of `dockerd`.
    ///
    /// # Panics
    /// As [`Engine::start`].
    pub async fn with(more: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("ke-").tempdir().expect("a temporary folder");
        let bridge = Bridge::new();
        let mut process =
            Process::new("dockerd", folder.path(), program("dockerd"), flags(folder.path(), &bridge));
        more.iter().for_each(|flag| process.argument(flag));
        let mut engine = Self { process, bridge, folder };
        engine.process.start();
        engine.answers().await;
        engine.import().await;
        engine
    }

    /// The folder of all that it has.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("docker.sock")
    }

    /// Runs `docker` on it, which must succeed; gives what it prints.
    pub async fn docker(&self, arguments: &[&str]) -> String {
        self.try_docker(arguments).await.success()
    }

    /// Runs `docker` on it.
    pub async fn try_docker(&self, arguments: &[&str]) -> Ended {
        let mut command = Command::new(program("docker"));
        command.arg("-H").arg(format!("unix://{}", self.socket().display())).args(arguments);
        command.env_clear().envs(clean_environment());
        run(command).await
    }

    /// The ids of the containers that a filter shows, running or not.
    pub async fn containers(&self, filter: &str) -> Vec<String> {
        let listed = self.docker(&["ps", "--all", "--no-trunc", "--quiet", "--filter", filter]).await;
        listed.lines().map(str::to_owned).collect()
    }

    /// The ids of the kingdom's containers that run.
    pub async fn running(&self) -> Vec<String> {
        let listed = self.docker(&["ps", "--no-trunc", "--quiet", "--filter", "label=king.instance"]).await;
        listed.lines().map(str::to_owned).collect()
    }

    /// Stops it and starts it again, as an upgrade does: without live-restore its containers end with it.
    pub async fn restart(&mut self) {
        self.process.signal(Signal::TERM);
        self.process.ended(wait::PATIENCE).await;
        self.process.start();
        self.answers().await;
    }

    /// Kills it with SIGKILL and starts it again. Its containers outlive it; what becomes of them then is for its
    /// `live-restore` to say.
    pub async fn kill9(&mut self) {
        self.process.kill9();
        // Its containerd dies with it. Where no init reaps that, its number counts as alive, and the engine would wait
        // for it.
        let pid = self.folder.path().join("exec/containerd/containerd.pid");
        std::fs::remove_file(pid).expect("the engine started a containerd of its own");
        self.process.start();
        self.answers().await;
    }

    /// Lets it hang, or go on.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// What it has said so far.
    pub fn output(&self) -> String {
        self.process.output()
    }

    async fn answers(&self) {
        wait::until("the engine answers", async || {
            let ended = self.try_docker(&["version"]).await;
            wait::holds(ended.code == 0, || format!("{}\n{}", ended.stderr, self.process.output()))
        })
        .await;
    }

    /// Makes an image that has what [`IMAGE`] has, these programs of the host with the libraries that they need, and these
    /// files, each given as where it comes from and where it goes.
    ///
    /// # Panics
    /// When a file is missing, or the engine refuses it.
    pub async fn import_more(&self, name: &str, programs: &[&str], files: &[(&Path, &str)]) {
        let root = self.folder.path().join("root");
        for wanted in programs {
            let place = program(wanted).canonicalize().expect("it is there");
            std::fs::copy(&place, root.join("bin").join(wanted)).expect("a program can be copied");
            let mut ldd = Command::new("ldd");
            ldd.arg(&place);
            let listed = run(ldd).await.success();
            for library in listed.split_ascii_whitespace().filter(|word| word.starts_with('/')) {
                copy(Path::new(library), &root.join(library.trim_start_matches('/')));
            }
        }
        files.iter().for_each(|(from, to)| copy(from, &root.join(to)));
        self.import_root(&root, name).await;
    }

    async fn import(&self) {
        let root = self.folder.path().join("root");
        for folder in ["bin", "www", "tmp", "etc"] {
            std::fs::create_dir_all(root.join(folder)).expect("the test's folder can be written");
        }
        std::fs::copy(program("busybox"), root.join("bin/busybox")).expect("busybox can be copied");
        for applet in APPLETS {
            symlink("busybox", root.join("bin").join(applet)).expect("a link can be made");
        }
        std::fs::write(root.join("www/index.html"), PAGE).expect("a page can be written");
        self.import_root(&root, IMAGE).await;
    }

    async fn import_root(&self, root: &Path, name: &str) {
        let archive = self.folder.path().join("root.tar");
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(root).arg("-cf").arg(&archive).arg(".");
        run(tar).await.success();
        self.docker(&["import", "--change", "ENV PATH=/bin", &archive.display().to_string(), name]).await;
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to.parent().expect("it is no root")).expect("a folder can be made");
    std::fs::copy(from, to).unwrap_or_else(|error| panic!("{} cannot be copied: {error}", from.display()));
}

/// What an instance answers at `/`, on the port that it was given.
///
/// # Errors
/// When it does not.
pub async fn page(instance: &Value) -> Result<String, String> {
    let port =
        instance["ports"]["http"].as_u64().and_then(|port| u16::try_from(port).ok()).ok_or("no port")?;
    let answer = http::get(SocketAddr::from(([127, 0, 0, 1], port)), "/").await;
    answer.map(|answer| answer.body).map_err(|error| error.to_string())
}

/// Waits until so many servants have said that their engines answer.
pub async fn capable(kingdom: &Kingdom, count: usize) {
    wait::until(&format!("{count} engines are reported"), async || {
        let servants = kingdom.client.ask("servant.ls", json!({})).await?;
        let version =
            |servant: &Value| servant["capabilities"]["docker"].as_str().unwrap_or_default().to_owned();
        let found = servants.iter().filter(|servant| version(servant).contains('.')).count();
        wait::holds(found == count, || format!("{servants:?}"))
    })
    .await;
}

/// A real registry on the loopback, from the Debian package docker-registry.
#[derive(Debug)]
pub struct Registry {
    _process: Process,
    pub port: u16,
    _folder: TempDir,
}

impl Registry {
    /// Starts one that is empty.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("kr-").tempdir().expect("a temporary folder");
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = free.expect("there is a free port").port();
        let config = folder.path().join("config.yml");
        let text = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:{port}\n",
            folder.path().join("data").display()
        );
        std::fs::write(&config, text).expect("the test's folder can be written");
        let arguments = ["serve".into(), config.into_os_string()];
        let mut process = Process::new("registry", folder.path(), program("docker-registry"), arguments);
        process.start();
        wait::until("the registry answers", async || {
            let answer = http::get(SocketAddr::from(([127, 0, 0, 1], port)), "/v2/").await;
            let answer = answer.map_err(|error| error.to_string())?;
            wait::holds(answer.status == 200, || answer.status.to_string())
        })
        .await;
        Self { _process: process, port, _folder: folder }
    }
}

/// A program, also where only root looks.
fn program(name: &str) -> PathBuf {
    let places = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    let found = places.iter().map(|place| Path::new(place).join(name)).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("there is no {name}; run scripts/bootstrap --for test"))
}

/// Nothing of the host's network is changed but for the bridge: the engine's own proxy serves published ports.
fn flags(folder: &Path, bridge: &Bridge) -> Vec<String> {
    let path = |name: &str| folder.join(name).display().to_string();
    let mut flags = vec![
        "--host".to_owned(),
        format!("unix://{}", path("docker.sock")),
        "--data-root".to_owned(),
        path("data"),
        "--exec-root".to_owned(),
        path("exec"),
        "--pidfile".to_owned(),
        path("pid"),
        "--bridge".to_owned(),
        bridge.name.clone(),
        "--shutdown-timeout".to_owned(),
        "2".to_owned(),
    ];
    flags.extend(["--iptables=false", "--ip-masq=false", "--ip-forward=false"].map(str::to_owned));
    flags
}

#[allow(clippy::disallowed_methods, reason = "what is dropped cannot await")]
impl Drop for Engine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let said = self.output();
            let lines: Vec<&str> = said.lines().collect();
            eprintln!("\n===== the engine =====\n{}", lines[lines.len().saturating_sub(30)..].join("\n"));
        }
        if self.process.runs() {
            // It may hang, as the test wanted it.
            self.process.signal(Signal::CONT);
            self.remove_all();
            self.process.signal(Signal::TERM);
            for _ in 0..200 {
                if self.process.has_ended() {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
        }
        kill_all_of(self.folder.path());
        unmount(self.folder.path());
        self.bridge.remove();
    }
}

impl Engine {
    fn remove_all(&self) {
        let host = format!("unix://{}", self.socket().display());
        let script = format!("docker -H {host} ps -aq | xargs -r docker -H {host} rm -f -v");
        // What cannot be removed is killed with the engine.
        let _ = Blocking::new("sh").args(["-c", &script]).output();
    }
}

/// The helpers of an engine that was killed: they have its folder in their arguments.
fn kill_all_of(folder: &Path) {
    let mark = folder.display().to_string();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let arguments = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let is_of_it = String::from_utf8_lossy(&arguments).contains(&mark);
        if let Some(pid) = Pid::from_raw(pid).filter(|_| is_of_it && pid.unsigned_abs() != std::process::id())
        {
            // It may have ended meanwhile.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

fn unmount(folder: &Path) {
    let mark = folder.display().to_string();
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let ours =
        mounts.lines().filter_map(|line| line.split(' ').nth(1)).filter(|place| place.starts_with(&mark));
    for place in ours.collect::<Vec<_>>().into_iter().rev() {
        let _ = Blocking::new("umount").args(["-l", place]).output();
    }
}

/// A bridge of this engine alone: two engines on one would give out the same addresses.
#[derive(Debug)]
struct Bridge {
    name: String,
}

impl Bridge {
    fn new() -> Self {
        let number = COUNT.fetch_add(1, Ordering::SeqCst);
        let pid = std::process::id();
        let name = format!("ke{pid}-{number}");
        // 10.128.0.0/9 has 32,768 networks of this size.
        let network = (pid.wrapping_mul(4) + number % 4) % 32_768;
        let address = format!("10.{}.{}.1/24", 128 + network / 256, network % 256);
        ip(&["link", "add", &name, "type", "bridge"]);
        ip(&["address", "add", &address, "dev", &name]);
        ip(&["link", "set", &name, "up"]);
        Self { name }
    }

    fn remove(&self) {
        let _ = Blocking::new(program("ip")).args(["link", "delete", &self.name]).output();
    }
}

fn ip(arguments: &[&str]) {
    let output = Blocking::new(program("ip")).args(arguments).output().expect("ip can be run");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "ip {arguments:?}: {said}; engines need root");
}
