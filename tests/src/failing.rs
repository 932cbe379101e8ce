//! A disk that fails: syncs of one file of a running program answer EIO, once or until the end (strace, attached to it).
//!
//! The program's own system call is not made: what it wrote stays in the memory of the system, and the next sync that is
//! let through says that all is well, as after a real failure.

use crate::process::clean_environment;
use crate::wait;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// Every system call by which a program lets its files reach the disk.
const SYNCS: &str = "fsync,fdatasync,sync_file_range,msync";
/// How long strace may take to stop every thread of a program once.
const PATIENCE: Duration = Duration::from_secs(30);

/// Which syncs fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fails {
    /// The next; those after it are made.
    Once,
    /// All.
    Always,
}

/// What lets them fail, until it is dropped.
#[derive(Debug)]
pub struct Failing {
    _strace: Child,
}

impl Failing {
    /// Lets the syncs of a file fail in a process that runs.
    ///
    /// # Panics
    /// When strace cannot be attached; `scripts/bootstrap --for test` installs it.
    pub async fn syncs(pid: u32, file: &Path, fails: Fails) -> Self {
        assert!(file.exists(), "there is no {}", file.display());
        let when = match fails {
            Fails::Once => ":when=1",
            Fails::Always => "",
        };
        let mut command = Command::new("strace");
        command.arg("-f").arg("-p").arg(pid.to_string()).arg("-P").arg(file);
        command.args(["-e", &format!("trace={SYNCS}"), "-e", &format!("inject={SYNCS}:error=EIO{when}")]);
        command.args(["-o", "/dev/null"]).env_clear().envs(clean_environment());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut strace = command.spawn().expect("strace is there (scripts/bootstrap --for test)");
        let said = strace.stderr.take().expect("it is piped");
        let mut lines = BufReader::new(said).lines();
        let attached = async {
            while let Some(line) = lines.next_line().await.expect("strace speaks UTF-8") {
                if line.contains("attached") {
                    return Ok(());
                }
            }
            Err("strace has ended; may this process be traced?")
        };
        let attached = tokio::time::timeout(PATIENCE, attached).await.expect("strace attaches in time");
        attached.unwrap_or_else(|why| panic!("{why}"));
        // It goes on saying which threads come: somebody has to read that.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { _strace: strace }
    }
}

/// Waits until a condition that the failure leads to is there.
///
/// # Panics
/// When it does not come.
pub async fn leads_to(what: &str, mut is_there: impl FnMut() -> bool) {
    wait::until(what, async || wait::holds(is_there(), || "it is not there yet".to_owned())).await;
}
