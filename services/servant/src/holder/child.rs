//! The process that is held, with its group and its pipes, from its start until nothing of it is left.

use super::orphans;
use super::words::{StartOrder, Told};
use events::subject::Output;
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, kill_process_group, pidfd_open, test_kill_process_group,
};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How much is read from a pipe before others get their turn.
const DRAIN_BYTES: usize = 1 << 20;
/// How long pipes that a stranger holds open are waited for once everything was killed.
const STRANGERS: Duration = Duration::from_millis(500);
/// How often the end of what is left of an instance is looked at: at first, and when it takes long.
const ENDING: Duration = Duration::from_millis(2);
const LONG_ENDING: Duration = Duration::from_millis(50);
/// A larger pipe lets a fast writer run on while the holder writes.
const PIPE_BYTES: usize = 1 << 20;

/// How the main process ended.
#[derive(Clone, Copy, Debug)]
pub struct End {
    pub code: Option<i32>,
    pub signal: Option<i32>,
}

pub enum Progress {
    Lives,
    /// Nothing of it is left.
    Ended(End, Told),
}

pub struct Child {
    pid: Pid,
    exit: OwnedFd,
    pipes: [Option<OwnedFd>; 2],
    told: Told,
    /// Set when the main process has ended: what it left is being cleaned up.
    end: Option<(End, Instant)>,
    killed_at: Option<Instant>,
    /// When it has had its time to end by itself.
    kill_at: Option<Instant>,
}

/// Whether the same start may work later.
pub fn is_passing(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::AGAIN | Errno::NOMEM | Errno::MFILE | Errno::NFILE | Errno::TXTBSY | Errno::IO)
    )
}

impl Child {
    pub fn start(order: &StartOrder) -> io::Result<Self> {
        let (program, arguments) = order
            .arguments
            .split_first()
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the command is empty"))?;
        let mut child = Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(&order.environment)
            .current_dir(&order.directory)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let pid = Pid::from_child(&child);
        let pipes = [child.stdout.take().map(OwnedFd::from), child.stderr.take().map(OwnedFd::from)];
        // What runs and cannot be held must not stay.
        Self::hold(pid, pipes).inspect_err(|_| abandon(pid))
    }

    fn hold(pid: Pid, pipes: [Option<OwnedFd>; 2]) -> io::Result<Self> {
        for pipe in pipes.iter().flatten() {
            rustix::io::ioctl_fionbio(pipe, true)?;
            // A smaller pipe is only slower.
            let _ = rustix::pipe::fcntl_setpipe_size(pipe, PIPE_BYTES);
        }
        // From here its status is reaped by `orphans::reap`, so the number stays ours until then.
        let exit = pidfd_open(pid, PidfdFlags::empty())?;
        let (told, end, killed_at, kill_at) = (Told::Nothing, None, None, None);
        Ok(Self { pid, exit, pipes, told, end, killed_at, kill_at })
    }

    /// Ends it at once, for good: nothing of it is left when this returns.
    pub fn abandon(self) {
        abandon(self.pid);
    }

    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// When it must be looked at again, if it must: seldomer the longer it takes.
    pub fn look_in(&self) -> Option<Duration> {
        let ending = self.end.map(|(_, at)| (at.elapsed() / 4).clamp(ENDING, LONG_ENDING));
        let grace = self.kill_at.map(|at| at.saturating_duration_since(Instant::now()));
        ending.into_iter().chain(grace).min()
    }

    /// What to wait for.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let exit = self.end.is_none().then(|| self.exit.as_fd());
        self.pipes.iter().flatten().map(AsFd::as_fd).chain(exit)
    }

    /// Signals the whole group; what left the group too when it is a kill. What is told to terminate and has not within
    /// its grace is killed.
    pub fn signal(&mut self, told: Told, grace: Option<Duration>) {
        self.told = self.told.max(told);
        match told {
            Told::Nothing => {}
            Told::Terminate => {
                self.kill_at = self.kill_at.or_else(|| Instant::now().checked_add(grace?));
                self.signal_group(Signal::TERM);
            }
            Told::Kill => self.kill(),
        }
    }

    fn signal_group(&self, signal: Signal) {
        // The number is ours while the main process is not reaped, and while anybody is in the group.
        let _ = kill_process_group(self.pid, signal);
    }

    fn kill(&mut self) {
        self.kill_at = None;
        self.signal_group(Signal::KILL);
        self.killed_at.get_or_insert_with(Instant::now);
    }

    /// Reads what is in a pipe now, bounded.
    pub fn drain(&mut self, output: Output, buffer: &mut [u8], mut take: impl FnMut(&[u8])) {
        let place = &mut self.pipes[output as usize];
        let Some(pipe) = place.as_ref() else {
            return;
        };
        let mut total = 0;
        while total < DRAIN_BYTES {
            match rustix::io::read(pipe, &mut *buffer) {
                Ok(length) if length > 0 => {
                    take(&buffer[..length]);
                    total += length;
                }
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                Ok(_) | Err(_) => {
                    *place = None;
                    return;
                }
            }
        }
    }

    /// Reaps, and once the main process has ended cleans up after it.
    pub fn progress(&mut self) -> io::Result<Progress> {
        if self.kill_at.is_some_and(|at| at <= Instant::now()) {
            self.signal(Told::Kill, None);
        }
        if let Some(status) = orphans::reap(self.pid)? {
            self.end = Some((end_of(status), Instant::now()));
            // Those that left the group have not heard of the end yet.
            if self.told == Told::Terminate {
                orphans::signal(&orphans::children()?, Signal::TERM);
            }
        }
        let Some((end, _)) = self.end else {
            return Ok(Progress::Lives);
        };
        let left = orphans::children()?;
        let is_empty = left.is_empty() && test_kill_process_group(self.pid).is_err();
        if !is_empty && self.told != Told::Terminate {
            self.kill();
            orphans::signal(&left, Signal::KILL);
        }
        if is_empty && (self.pipes.iter().all(Option::is_none) || self.is_too_late()) {
            return Ok(Progress::Ended(end, self.told));
        }
        Ok(Progress::Lives)
    }

    /// Nothing of the instance lives, and yet a pipe is open: a stranger holds it, who is given a moment.
    fn is_too_late(&mut self) -> bool {
        self.killed_at.get_or_insert_with(Instant::now).elapsed() >= STRANGERS
    }
}

/// Kills a child with its group and with all that it has left behind, and reaps them.
fn abandon(main: Pid) {
    // The group is its own from before it began to run.
    let _ = kill_process_group(main, Signal::KILL);
    loop {
        let left = match orphans::children() {
            Ok(left) if left.is_empty() => return,
            Ok(left) => left,
            // Without the list, at least the one that is known.
            Err(_) => vec![main],
        };
        orphans::signal(&left, Signal::KILL);
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

fn end_of(status: WaitStatus) -> End {
    End { code: status.exit_status(), signal: status.terminating_signal() }
}
