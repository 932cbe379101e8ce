//! A real nats-server on a free port, in a folder of its own.

use super::root;
use bus::{Bus, Options};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

pub struct Nats {
    child: Child,
    pub url: String,
    _folder: TempDir,
}

/// The room of the server does not hang on how full the disk is.
const CONFIG: &str = "jetstream { store_dir: \"FOLDER/js\", max_file: 64GB }\n";

fn binary() -> PathBuf {
    let installed = root().join(".tools/bin/nats-server");
    if installed.exists() { installed } else { PathBuf::from("nats-server") }
}

impl Nats {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let port =
            TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
        let config = folder.path().join("nats.conf");
        std::fs::write(&config, CONFIG.replace("FOLDER", &folder.path().display().to_string()))
            .expect("the folder takes a file");
        let child = Command::new(binary())
            .args(["-a", "127.0.0.1", "-p", &port.to_string(), "-c"])
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nats-server is installed by scripts/bootstrap, or on the PATH");
        Self { child, url: format!("nats://127.0.0.1:{port}"), _folder: folder }
    }

    /// SIGSTOP: it is there and does nothing.
    pub fn stand_still(&self) {
        self.signal("-STOP");
    }

    /// SIGCONT.
    pub fn go_on(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(sent.expect("kill is there").success());
    }

    /// A connection to a server where everything is provisioned.
    pub async fn provisioned(&self) -> Bus {
        let options = Options { url: self.url.clone(), name: "test".to_owned(), credentials: None };
        let bus = bus::connect(&options).await.expect("the server is up");
        let limits = bus::provision::Limits::default();
        bus::provision::provision(&bus, &limits).await.expect("an empty server takes all streams");
        bus
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.child.kill().and_then(|()| self.child.wait().map(drop)).expect("it was alive");
    }
}
