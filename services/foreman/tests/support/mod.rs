//! A real nats-server, and the foreman's own binary.

pub mod nats;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;

/// How long anything may take before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The foreman as its own process. It dies with this value.
pub struct Foreman {
    child: Child,
    log: Lines<BufReader<ChildStderr>>,
}

impl Foreman {
    /// Starts it and waits until it listens.
    pub async fn start(nats: &str, data: &TempDir) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_foreman"))
            .args(["--nats", nats, "--lost-after-ms", "1500", "--data"])
            .arg(data.path())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the foreman was built");
        let log = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        let mut foreman = Self { child, log };
        foreman.says("listening").await;
        foreman
    }

    /// Waits for a log line.
    pub async fn says(&mut self, wanted: &str) {
        let search = async {
            while let Some(line) = self.log.next_line().await.expect("its log is text") {
                println!("foreman: {line}");
                if line.contains(wanted) {
                    return;
                }
            }
            panic!("the foreman ended without saying {wanted:?}");
        };
        timeout(PATIENCE, search).await.unwrap_or_else(|_| panic!("the foreman never said {wanted:?}"));
    }

    /// SIGKILL, and waits until it is gone.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("it was alive");
    }
}
