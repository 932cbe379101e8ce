//! What only a forked child can do for itself: begin a session of its own, take its terminal, and confine itself.

#![allow(
    unsafe_code,
    reason = "what a child does between fork and exec is given to the standard library as unsafe"
)]

use crate::holder::raw::confine_self;
use crate::holder::words::Confinement;
use rustix::process::{ioctl_tiocsctty, setsid};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Whether the standard input of a command is to be the terminal that its session belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controls {
    Terminal,
    Nothing,
}

/// The command will lead a session and a process group of its own, in the control groups of these lists.
pub fn lead(command: &mut Command, controls: Controls, groups: Vec<OwnedFd>, confinement: Confinement) {
    let begin = move || {
        setsid()?;
        match controls {
            Controls::Terminal => ioctl_tiocsctty(rustix::stdio::stdin())?,
            Controls::Nothing => {}
        }
        confine_self(&groups, &confinement)
    };
    // SAFETY: between fork and exec the closure makes system calls and touches nothing else: no lock, no allocation, and of the
    // memory of the parent it only reads what was moved into it.
    unsafe { command.pre_exec(begin) };
}
