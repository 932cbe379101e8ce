//! A real nats-server, a real SMTP server, the alerter's own binary, and somebody who plays the King.

pub mod king;
pub mod nats;
pub mod smtp;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;

/// How long anything may take before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The alerter as its own process. It dies with this value.
pub struct Alerter {
    child: Child,
    log: tokio::io::Lines<BufReader<ChildStderr>>,
}

impl Alerter {
    /// Starts it and waits until it has read the log.
    pub async fn start(nats: &str, data: &TempDir, more: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_alerter"))
            .args(["--nats", nats, "--data"])
            .arg(data.path())
            .args([
                "--resolve-after-ms",
                "200",
                "--from",
                "King <king@example.org>",
                "--to",
                "ops@example.org",
            ])
            .args(more)
            .env_remove("KING_SMTP")
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the alerter was built");
        let log = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        let mut alerter = Self { child, log };
        alerter.says("has read the log").await;
        alerter
    }

    /// Waits for a log line.
    pub async fn says(&mut self, wanted: &str) {
        let search = async {
            while let Some(line) = self.log.next_line().await.expect("its log is text") {
                println!("alerter: {line}");
                if line.contains(wanted) {
                    return;
                }
            }
            panic!("the alerter ended without saying {wanted:?}");
        };
        timeout(PATIENCE, search).await.unwrap_or_else(|_| panic!("the alerter never said {wanted:?}"));
    }

    /// SIGKILL, and waits until it is gone.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("it was alive");
    }
}
