//! Programs that an earlier `kingctl up` left behind when it was killed: found by their pid files and ended, so that
//! nobody runs twice. A pid alone proves nothing, so the file also holds when that process was started.

use super::say;
use crate::failure::Failure;
use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::{Instant, sleep};

const GRACE: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A process that cannot be mistaken for a later one with the same pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    pid: i32,
    /// Clock ticks between the host's start and the process's.
    started: u64,
}

impl Life {
    /// The life of a process that runs now.
    pub fn of(pid: u32) -> Option<Self> {
        let pid = i32::try_from(pid).ok()?;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Self::parse_stat(pid, &stat)
    }

    /// From `/proc/<pid>/stat` (proc_pid_stat(5)): the name in parentheses may hold anything; field 3 is the state, 22
    /// the start.
    fn parse_stat(pid: i32, stat: &str) -> Option<Self> {
        let (_, rest) = stat.rsplit_once(')')?;
        let mut fields = rest.split_ascii_whitespace();
        let state = fields.next()?;
        let started = fields.nth(18)?.parse().ok()?;
        (state != "Z").then_some(Self { pid, started })
    }

    fn is_alive(self) -> bool {
        u32::try_from(self.pid).ok().and_then(Self::of) == Some(self)
    }

    fn parse(text: &str) -> Option<Self> {
        let (pid, started) = text.trim().split_once(' ')?;
        Some(Self { pid: pid.parse().ok()?, started: started.parse().ok()? })
    }

    /// Writes down who this is.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn record(self, path: &Path) -> std::io::Result<()> {
        std::fs::write(path, format!("{} {}\n", self.pid, self.started))
    }

    fn signal(self, signal: Signal) {
        // One that ended meanwhile is what was wanted.
        if let Some(pid) = Pid::from_raw(self.pid) {
            let _ = match signal {
                Signal::KILL => kill_process_group(pid, signal),
                _ => kill_process(pid, signal),
            };
        }
    }

    async fn ends_within(self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        while self.is_alive() {
            if Instant::now() >= deadline {
                return false;
            }
            sleep(LOOK_EVERY).await;
        }
        true
    }
}

/// Ends what was left behind, Servants first and nats-server last.
///
/// # Errors
/// When the pid files cannot be read.
pub async fn end(pids: &Path) -> Result<(), Failure> {
    let mut left = find(pids)?;
    left.sort_by_key(|(name, _, _)| order(name));
    if !left.is_empty() {
        let names: Vec<_> = left.iter().map(|(name, life, _)| format!("{name} (pid {})", life.pid)).collect();
        say(&format!(
            "an earlier `kingctl up` was killed and left these running; ending them: {}\n",
            names.join(", ")
        ));
    }
    for (name, life, file) in left {
        life.signal(Signal::TERM);
        if !life.ends_within(GRACE).await {
            say(&format!("{name} did not end within {GRACE:?}; killing it\n"));
            life.signal(Signal::KILL);
            life.ends_within(GRACE).await;
        }
        let _ = std::fs::remove_file(file);
    }
    Ok(())
}

fn order(name: &str) -> u8 {
    match name {
        "nats" => 4,
        "king" => 3,
        "foreman" => 2,
        "alerter" => 1,
        _ => 0,
    }
}

fn find(pids: &Path) -> Result<Vec<(String, Life, PathBuf)>, Failure> {
    let entries = match std::fs::read_dir(pids) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Failure::from(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.context("could not read the pid files")?.path();
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("could not read {}", path.display()))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Some(life) = Life::parse(&text).filter(|life| life.is_alive()) {
            found.push((name, life, path));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_start() {
        let own = Life::of(std::process::id()).expect("this one runs");
        assert!(own.is_alive());
        assert!(!Life { started: own.started + 1, ..own }.is_alive());
    }

    #[test]
    fn names_with_parentheses_do_not_confuse() {
        let fields: Vec<String> =
            (3..=52).map(|field| if field == 3 { "S".into() } else { field.to_string() }).collect();
        let stat = format!("7 (a) b (c)) {}", fields.join(" "));
        assert_eq!(Life::parse_stat(7, &stat), Some(Life { pid: 7, started: 22 }));
    }

    #[tokio::test]
    async fn what_was_left_is_ended() {
        use std::os::unix::process::CommandExt;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut child =
            std::process::Command::new("sleep").arg("600").process_group(0).spawn().expect("sleep starts");
        let life = Life::of(child.id()).expect("it runs");
        life.record(&folder.path().join("king")).expect("written");
        std::fs::write(folder.path().join("nats"), "1 1\n").expect("written");
        let reaper = std::thread::spawn(move || child.wait());
        end(folder.path()).await.expect("ended");
        assert!(!life.is_alive());
        reaper.join().expect("no panic").expect("it ended");
    }
}
