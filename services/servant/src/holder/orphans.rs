//! What an instance leaves behind. The holder is the reaper of all its descendants, so even those that left the group
//! or the session come to it when their parents die, and nothing stays.

use super::launch::SLOT_VARIABLE;
use super::words::Slot;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, wait};
use std::io;

/// Reaps every child that has ended.
///
/// # Errors
/// When the kernel cannot say.
pub fn reap() -> io::Result<Vec<(Pid, WaitStatus)>> {
    let mut ended = Vec::new();
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(one)) => ended.push(one),
            Ok(None) | Err(rustix::io::Errno::CHILD) => return Ok(ended),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The living children of this process.
///
/// # Errors
/// When `/proc` does not say.
pub fn children() -> io::Result<Vec<Pid>> {
    let own = rustix::process::getpid().as_raw_nonzero();
    let list = std::fs::read_to_string(format!("/proc/{own}/task/{own}/children"))?;
    Ok(list.split_ascii_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect())
}

/// In which slot a child of this process was born, if that can be told: by its session, which it may have left, or by
/// its environment, which it may have replaced.
pub fn slot_of(child: Pid, sessions: &[(Pid, Slot)]) -> Option<Slot> {
    let session = rustix::process::getsid(Some(child)).ok();
    let by_session = sessions.iter().find(|(pid, _)| Some(*pid) == session).map(|(_, slot)| *slot);
    by_session.or_else(|| {
        let environment = std::fs::read(format!("/proc/{}/environ", child.as_raw_nonzero())).ok()?;
        let variables = environment.split(|byte| *byte == 0).filter_map(|one| std::str::from_utf8(one).ok());
        let mut values = variables.filter_map(|one| one.strip_prefix(SLOT_VARIABLE)?.strip_prefix('='));
        values.next()?.parse().ok()
    })
}

/// Signals every one of these. They are our own unreaped children, so no number can have passed to a stranger.
pub fn signal(children: &[Pid], signal: Signal) {
    for child in children {
        // It may have ended meanwhile: then it is a zombie, and signals to it do nothing.
        let _ = kill_process(*child, signal);
    }
}
