//! What an instance leaves behind. The holder is the reaper of all its descendants, so even those that left the group
//! or the session come to it when their parents die, and nothing stays.

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, wait};
use std::io;

/// Reaps every child that has ended; gives the status of this one, if it is among them.
pub fn reap(main: Pid) -> io::Result<Option<WaitStatus>> {
    let mut status = None;
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, ended))) if pid == main => status = Some(ended),
            Ok(Some(_)) => {}
            Ok(None) | Err(rustix::io::Errno::CHILD) => return Ok(status),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The living children of this process.
pub fn children() -> io::Result<Vec<Pid>> {
    let own = rustix::process::getpid().as_raw_nonzero();
    let list = std::fs::read_to_string(format!("/proc/{own}/task/{own}/children"))?;
    Ok(list.split_ascii_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect())
}

/// Signals every one of these. They are our own unreaped children, so no number can have passed to a stranger.
pub fn signal(children: &[Pid], signal: Signal) {
    for child in children {
        // It may have ended meanwhile: then it is a zombie, and signals to it do nothing.
        let _ = kill_process(*child, signal);
    }
}
