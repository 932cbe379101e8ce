//! A process that cannot be mistaken for a later one with the same pid.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, getpgid, kill_process_group, pidfd_open, pidfd_send_signal};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Which process it is. A pid alone proves nothing, so this also holds when it was started.
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

    pub(super) fn pid(self) -> i32 {
        self.pid
    }

    fn is_alive(self) -> bool {
        u32::try_from(self.pid).ok().and_then(Self::of) == Some(self)
    }

    pub(super) fn leads_a_group(self) -> bool {
        let pid = Pid::from_raw(self.pid);
        pid.is_some() && getpgid(pid).ok() == pid
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let (pid, started) = text.trim().split_once(' ')?;
        Some(Self { pid: pid.parse().ok()?, started: started.parse().ok()? })
    }

    /// Writes down who this is.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn record(self, path: &Path) -> io::Result<()> {
        std::fs::write(path, format!("{} {}\n", self.pid, self.started))
    }

    /// Takes hold of the process, so that no other is ever meant; none when it has ended.
    pub(super) fn hold(self) -> io::Result<Option<Held>> {
        let Some(pid) = Pid::from_raw(self.pid) else { return Ok(None) };
        let handle = match pidfd_open(pid, PidfdFlags::NONBLOCK) {
            Ok(handle) => handle,
            Err(Errno::SRCH | Errno::INVAL) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // Only now does the look prove that the handle is that of this life.
        if !self.is_alive() {
            return Ok(None);
        }
        Ok(Some(Held { life: self, handle }))
    }
}

/// A process by a handle of the kernel.
pub(in crate::up) struct Held {
    life: Life,
    handle: OwnedFd,
}

impl Held {
    pub(super) fn pid(&self) -> i32 {
        self.life.pid
    }

    pub(super) fn terminate(&self) -> io::Result<()> {
        self.signal(Signal::TERM)
    }

    /// Kills its group too. It is stopped first: so it lives, and the group's number is its own for certain.
    pub(super) fn kill(&self) -> io::Result<()> {
        self.signal(Signal::STOP)?;
        if self.life.is_alive()
            && self.life.leads_a_group()
            && let Some(group) = Pid::from_raw(self.life.pid)
        {
            gone_is_fine(kill_process_group(group, Signal::KILL))?;
        }
        self.signal(Signal::KILL)
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        gone_is_fine(pidfd_send_signal(&self.handle, signal))
    }

    /// Whether it ends within this time.
    pub(in crate::up) async fn ends_within(&self, time: Duration) -> io::Result<bool> {
        let deadline = Instant::now() + time;
        while !self.has_ended()? {
            if Instant::now() >= deadline {
                return Ok(false);
            }
            sleep(LOOK_EVERY).await;
        }
        Ok(true)
    }

    /// A handle of a process can be read when the process has ended.
    fn has_ended(&self) -> io::Result<bool> {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        match poll(&mut [PollFd::new(&self.handle, PollFlags::IN)], Some(&now)) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// One that ended meanwhile is what was wanted.
fn gone_is_fine(sent: rustix::io::Result<()>) -> io::Result<()> {
    match sent {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_start() {
        let own = Life::of(std::process::id()).expect("this one runs");
        assert!(own.hold().expect("it can be looked at").is_some());
        let other = Life { started: own.started + 1, ..own };
        assert!(other.hold().expect("it can be looked at").is_none());
    }

    #[test]
    fn names_with_parentheses_do_not_confuse() {
        let fields: Vec<String> =
            (3..=52).map(|field| if field == 3 { "S".into() } else { field.to_string() }).collect();
        let stat = format!("7 (a) b (c)) {}", fields.join(" "));
        assert_eq!(Life::parse_stat(7, &stat), Some(Life { pid: 7, started: 22 }));
    }

    #[tokio::test]
    async fn what_is_killed_takes_its_group_along() {
        use std::os::unix::process::CommandExt;
        let mut shell = std::process::Command::new("sh");
        let script = "trap '' TERM; sleep 600 & echo $!; wait";
        let shell = shell.args(["-c", script]).process_group(0).stdout(std::process::Stdio::piped());
        let mut child = shell.spawn().expect("sh starts");
        let mut line = String::new();
        let mut output = io::BufReader::new(child.stdout.take().expect("it is piped"));
        io::BufRead::read_line(&mut output, &mut line).expect("it says its child");
        let sleeper = Life::of(line.trim().parse().expect("a pid")).expect("it runs").hold();
        let sleeper = sleeper.expect("it can be looked at").expect("it runs");
        let held = Life::of(child.id()).expect("it runs").hold();
        let held = held.expect("it can be looked at").expect("it runs");
        held.kill().expect("killed");
        for process in [held, sleeper] {
            assert!(process.ends_within(Duration::from_secs(20)).await.expect("it can be waited for"));
        }
        child.wait().expect("it ended");
    }
}
