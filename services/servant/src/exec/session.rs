//! The one thing that only a forked child can do for itself: begin a session of its own, and take its terminal.

#![allow(
    unsafe_code,
    reason = "what a child does between fork and exec is given to the standard library as unsafe"
)]

use rustix::process::{ioctl_tiocsctty, setsid};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Whether the standard input of a command is to be the terminal that its session belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controls {
    Terminal,
    Nothing,
}

/// The command will lead a session and a process group of its own.
pub fn lead(command: &mut Command, controls: Controls) {
    let begin = move || {
        setsid()?;
        match controls {
            Controls::Terminal => ioctl_tiocsctty(rustix::stdio::stdin())?,
            Controls::Nothing => {}
        }
        Ok(())
    };
    // SAFETY: between fork and exec the closure makes two system calls and touches nothing else: no lock, no memory of
    // the parent, no allocation.
    unsafe { command.pre_exec(begin) };
}
