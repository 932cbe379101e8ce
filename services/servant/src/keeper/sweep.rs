//! Killing what nobody holds any more: the processes of an instance whose holder was killed, or of a build whose Servant
//! was. They are known by a variable in their environment, and by pid with start time; each is signalled through a
//! pidfd that was checked after it was opened, so no stranger with a reused number is ever hit.

use crate::host;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::io;
use std::os::fd::OwnedFd;

/// Rounds of looking: what a killed process forked meanwhile is found by the next one.
const ROUNDS: usize = 20;
/// How long the killed are waited for in one round.
const DEATH: Timespec = Timespec { tv_sec: 0, tv_nsec: 500_000_000 };

/// Kills every process that has `mark` (`NAME=value`) in its environment, and the processes with these pids and start
/// times. Returns when they are gone.
///
/// # Errors
/// When `/proc` cannot be read, or some do not die.
pub fn sweep(mark: &str, mains: Vec<(u32, u64)>) -> io::Result<()> {
    for _ in 0..ROUNDS {
        let found = find(mark, &mains)?;
        if found.is_empty() {
            return Ok(());
        }
        tracing::warn!(mark, count = found.len(), "killing what lost its holder");
        for process in &found {
            // It may have died meanwhile.
            let _ = pidfd_send_signal(process, Signal::KILL);
        }
        for process in &found {
            match poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&DEATH)) {
                // The next round looks again.
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Err(io::Error::other(format!("processes with {mark} do not die")))
}

fn find(mark: &str, mains: &[(u32, u64)]) -> io::Result<Vec<OwnedFd>> {
    let mut found = Vec::new();
    let own = std::process::id();
    for entry in std::fs::read_dir("/proc")? {
        let pid = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
        let Some(pid) = pid.filter(|pid| *pid != own) else {
            continue;
        };
        if !matches(pid, mark, mains)? {
            continue;
        }
        let Some(raw) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
            continue;
        };
        let process = match pidfd_open(raw, PidfdFlags::empty()) {
            Ok(process) => process,
            Err(Errno::SRCH) => continue,
            Err(error) => return Err(error.into()),
        };
        // Looked at again: what the descriptor names is what was looked at.
        if matches(pid, mark, mains)? {
            found.push(process);
        }
    }
    Ok(found)
}

fn matches(pid: u32, mark: &str, mains: &[(u32, u64)]) -> io::Result<bool> {
    let has_mark = has_mark(pid, mark)?;
    // A zombie has no start time: it is dead.
    Ok(host::start_ticks(pid).is_some_and(|ticks| has_mark || mains.contains(&(pid, ticks))))
}

/// A process that is gone has no mark, and one of somebody else cannot be read and is none of ours.
fn has_mark(pid: u32, mark: &str) -> io::Result<bool> {
    let environment = match std::fs::read(format!("/proc/{pid}/environ")) {
        Ok(environment) => environment,
        Err(error) => {
            let is_gone = Errno::from_io_error(&error) == Some(Errno::SRCH);
            let is_none_of_ours =
                matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied);
            return if is_gone || is_none_of_ours { Ok(false) } else { Err(error) };
        }
    };
    Ok(environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes()))
}
