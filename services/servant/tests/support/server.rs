//! A real nats-server for a test: on a free port, in a folder of its own, that can be killed and started again.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]
#![allow(dead_code, reason = "each test file uses its own part")]

use bus::{Bus, Options};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use tempfile::TempDir;

/// Durable as `make up` makes it; the port and folder are replaced.
const CONFIG: &str = "
server_name: king-1
listen: 127.0.0.1:4222
jetstream { store_dir: \"./js\", sync_interval: always, max_file: 64GB }
max_payload: 1MB
";

/// Where the server binary may be, in this order.
fn binary() -> PathBuf {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools");
    let mut found = Vec::new();
    collect(&tools, 4, &mut found);
    found.into_iter().next().unwrap_or_else(|| PathBuf::from("nats-server"))
}

fn collect(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_file() && path.file_name().is_some_and(|name| name == "nats-server") {
            found.push(path);
        } else if path.is_dir() && depth > 0 {
            collect(&path, depth - 1, found);
        }
    }
}

/// Ports below those that the system gives out: a client that keeps trying to connect to one of those, while its server
/// is down, can end up connected to itself.
const PORTS: std::ops::Range<u32> = 25_000..32_000;

/// A free port; test processes start looking at different places.
fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let width = PORTS.end - PORTS.start;
    loop {
        let step = std::process::id().wrapping_mul(17).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(PORTS.start + step % width).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A running server. It dies with this value.
pub struct Server {
    child: Option<Child>,
    folder: TempDir,
    port: u16,
}

impl Server {
    /// A server with the configuration of `nats.conf`.
    pub fn start() -> Self {
        Self::start_with(CONFIG)
    }

    /// A server with another configuration; its port and folder are replaced.
    pub fn start_with(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let config = config
            .replace("127.0.0.1:4222", &format!("127.0.0.1:{port}"))
            .replace("./js", &folder.path().join("js").display().to_string());
        std::fs::write(folder.path().join("nats.conf"), config).unwrap();
        let mut server = Self { child: None, folder, port };
        server.restart();
        server
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Ends it as a power switch would, and waits until it is gone.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Kills it, deletes all that it has stored, and starts it again.
    pub fn lose_everything(&mut self) {
        self.kill();
        std::fs::remove_dir_all(self.folder.path().join("js")).unwrap();
        self.restart();
    }

    pub fn restart(&mut self) {
        self.kill();
        let log = std::fs::File::create(self.folder.path().join("server.log")).unwrap();
        let child = Command::new(binary())
            .arg("-c")
            .arg(self.folder.path().join("nats.conf"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("nats-server is installed by scripts/bootstrap, or on the PATH");
        self.child = Some(child);
    }

    /// A connection as any client on this machine makes it: without credentials.
    pub async fn connect(&self) -> Bus {
        bus::connect(&self.options(None)).await.unwrap()
    }

    pub fn options(&self, credentials: Option<(&str, &str)>) -> Options {
        let credentials = credentials.map(|(user, password)| (user.to_owned(), password.to_owned()));
        Options { url: self.url(), name: "test".to_owned(), credentials }
    }

    /// A connection to a server where everything is provisioned.
    pub async fn provisioned(&self) -> Bus {
        let bus = self.connect().await;
        bus::provision::provision(&bus, &limits()).await.unwrap();
        bus
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Limits that fit any disk.
pub fn limits() -> bus::provision::Limits {
    bus::provision::Limits::default()
}
