//! The NATS server of a test: a real one, durable as the King wants it, on a port and in a folder of its own.

use crate::process::Process;
use crate::{programs, wait};
use std::path::{Path, PathBuf};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

pub(crate) const SYSTEM_PASSWORD: &str = "of-the-tests";

/// Whether what the server acknowledges is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syncing {
    Always,
    /// The server's own default: every two minutes.
    Sometimes,
}

/// A server that is configured.
#[derive(Debug)]
pub struct Server {
    pub process: Process,
    pub port: u16,
    /// The file that a King takes as `--nats-system-password-file`.
    pub password_file: PathBuf,
}

impl Server {
    /// Writes the configuration; starts nothing.
    ///
    /// # Panics
    /// When a file cannot be written.
    pub fn prepare(folder: &Path, logs: &Path, port: u16, syncing: Syncing) -> Self {
        let config = folder.join("nats.conf");
        let password_file = folder.join("nats-system-password");
        std::fs::write(&password_file, SYSTEM_PASSWORD).expect("the test's folder can be written");
        std::fs::write(&config, configuration(folder, port, syncing))
            .expect("the test's folder can be written");
        let arguments = ["--config".as_ref(), config.as_os_str()];
        let process = Process::new("nats", logs, programs::nats_server(), arguments);
        Self { process, port, password_file }
    }

    /// Where clients connect.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Starts it and waits until it greets.
    ///
    /// # Panics
    /// When it does not.
    pub async fn start(&mut self) {
        self.process.start();
        self.greets().await;
    }

    /// Waits until it greets.
    ///
    /// # Panics
    /// When it does not.
    pub async fn greets(&self) {
        greets(self.port).await;
    }
}

/// Waits until the server on a port greets.
///
/// # Panics
/// When it does not.
pub async fn greets(port: u16) {
    wait::until("nats-server greets", async || {
        let mut greeting = [0; 5];
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.read_exact(&mut greeting).await
    })
    .await;
}

fn configuration(folder: &Path, port: u16, syncing: Syncing) -> String {
    let store = folder.join("jetstream");
    let sync = match syncing {
        Syncing::Always => "sync_interval: always",
        Syncing::Sometimes => "",
    };
    format!(
        r#"
server_name: test
listen: "127.0.0.1:{port}"
no_auth_user: king
system_account: SYS
jetstream {{ store_dir: "{}", max_file: 64GB, {sync} }}
accounts {{
  KING {{ jetstream: enabled, users: [ {{ user: king, password: king }} ] }}
  SYS {{ users: [ {{ user: system, password: "{SYSTEM_PASSWORD}" }} ] }}
}}
"#,
        store.display()
    )
}
