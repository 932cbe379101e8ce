//! The process that is held in a slot, with its session and its pipes, from its start until nothing of it is left.

use super::groups::Groups;
use super::launch::{self, Handed};
use super::lines::{Company, Lines};
use super::orphans;
use super::words::{Slot, StartOrder, Told};
use crate::spool::SpoolWriter;
use events::Timestamp;
use rustix::fs::{Uid, fchown};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process_group, test_kill_process_group};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// How much is read from a pipe before others get their turn.
const DRAIN_BYTES: usize = 1 << 20;
/// How long pipes that a stranger holds open are waited for once everything was killed.
const STRANGERS: Duration = Duration::from_millis(500);
/// How often the end of what is left of an instance is looked at: at first, and when it takes long.
const ENDING: Duration = Duration::from_millis(2);
const LONG_ENDING: Duration = Duration::from_millis(50);
/// Below this, what comes from a process is left to collect for a moment before it is read on: a holder that wakes up
/// for every line costs the app more than the line does.
const SMALL_DRAIN_BYTES: usize = 256 * 1024;
/// That moment: far shorter than a fast writer needs to fill the pipe.
const REST: Duration = Duration::from_millis(1);
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
    lines: [Lines; 2],
    /// Until when the pipes are left to fill.
    rests_until: Option<Instant>,
    told: Told,
    /// Set when the main process has ended: what it left is being cleaned up.
    end: Option<(End, Instant)>,
    killed_at: Option<Instant>,
    /// When it has had its time to end by itself.
    kill_at: Option<Instant>,
    /// What outlived the main process and was told to end.
    warned: Vec<Pid>,
    groups: Groups,
}

/// Whether the same start may work later.
pub fn is_passing(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::AGAIN | Errno::NOMEM | Errno::MFILE | Errno::NFILE | Errno::TXTBSY | Errno::IO)
    )
}

impl Child {
    pub fn start(
        order: &StartOrder,
        input: BorrowedFd<'_>,
        sockets: Vec<(&str, BorrowedFd<'_>)>,
    ) -> io::Result<Self> {
        let (stdout, output) = pipe_with(PipeFlags::CLOEXEC)?;
        let (stderr, errors) = pipe_with(PipeFlags::CLOEXEC)?;
        for pipe in [&stdout, &stderr] {
            rustix::io::ioctl_fionbio(pipe, true)?;
            // A smaller pipe is only slower.
            let _ = rustix::pipe::fcntl_setpipe_size(pipe, PIPE_BYTES);
        }
        if let Some(user) = &order.confinement.user {
            // Else it could not open them by their names, such as `/dev/stdout`.
            for pipe in [&output, &errors] {
                fchown(pipe, Some(Uid::from_raw(user.uid)), None)?;
            }
        }
        let handed = Handed { input, output: output.as_fd(), errors: errors.as_fd(), sockets };
        let groups = Groups::new(&order.groups);
        let launched = launch::launch(order, &handed, &groups)?;
        Ok(Self {
            pid: launched.pid,
            exit: launched.exit,
            pipes: [Some(stdout), Some(stderr)],
            lines: Default::default(),
            rests_until: None,
            told: Told::Nothing,
            end: None,
            killed_at: None,
            kill_at: None,
            warned: Vec::new(),
            groups,
        })
    }

    /// Ends it at once, for good: nothing of it is left when this returns but what it has sent out of its session.
    pub fn abandon(self) {
        // The group is its own from before it began to run, and it is not reaped.
        let _ = kill_process_group(self.pid, Signal::KILL);
        self.groups.kill();
        while let Err(Errno::INTR) = rustix::process::waitpid(Some(self.pid), WaitOptions::empty()) {}
    }

    pub fn raw_pid(&self) -> Pid {
        self.pid
    }

    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// When it must be looked at again, if it must: seldomer the longer it takes.
    pub fn look_in(&self) -> Option<Duration> {
        let ending = self.end.map(|(_, at)| (at.elapsed() / 4).clamp(ENDING, LONG_ENDING));
        let due = |at: Instant| at.saturating_duration_since(Instant::now());
        let (grace, rest) = (self.kill_at.map(due), self.rests_until.map(due));
        [ending, grace, rest].into_iter().flatten().min()
    }

    /// What to wait for.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let exit = self.end.is_none().then(|| self.exit.as_fd());
        let pipes = self.pipes.iter().flatten().filter(|_| self.rests_until.is_none());
        pipes.map(AsFd::as_fd).chain(exit)
    }

    /// Signals the whole group; what left the group too when it is a kill. What is told to terminate and has not within
    /// its grace is killed.
    pub fn signal(&mut self, told: Told, grace: Option<Duration>, signal: Signal) {
        self.told = self.told.max(told);
        match told {
            Told::Nothing => {}
            Told::Terminate => {
                self.kill_at = self.kill_at.or_else(|| Instant::now().checked_add(grace?));
                self.signal_group(signal);
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
        self.groups.kill();
        self.killed_at.get_or_insert_with(Instant::now);
    }

    /// Spools what is in the pipes now, bounded; says whether anything was written.
    pub fn drain(&mut self, company: Company, spools: &mut [SpoolWriter; 2], buffer: &mut [u8]) -> bool {
        let (mut wrote, mut total) = (false, 0);
        let until = if self.has_ended() { Until::End } else { Until::Empty };
        for ((pipe, lines), spool) in self.pipes.iter_mut().zip(&mut self.lines).zip(spools) {
            total += read(pipe, until, buffer, |bytes| {
                lines.pass(bytes, company, spool, service::clock::now());
            });
            wrote |= spool.flush();
        }
        let is_small = !self.has_ended() && (1..SMALL_DRAIN_BYTES).contains(&total);
        self.rests_until = is_small.then(|| Instant::now() + REST);
        wrote
    }

    /// Spools the last lines, which have no end; says whether anything was written.
    pub fn finish(&mut self, spools: &mut [SpoolWriter; 2], at: Timestamp) -> bool {
        let mut wrote = false;
        for (lines, spool) in self.lines.iter_mut().zip(spools) {
            lines.finish(spool, at);
            wrote |= spool.flush();
        }
        wrote
    }

    /// The main process was reaped.
    pub fn reaped(&mut self, status: WaitStatus) {
        let end = End { code: status.exit_status(), signal: status.terminating_signal() };
        self.end = Some((end, Instant::now()));
        self.rests_until = None;
    }

    /// Whether the main process has ended.
    pub fn has_ended(&self) -> bool {
        self.end.is_some()
    }

    /// Kills what has had its time.
    pub fn keep_time(&mut self) {
        if self.kill_at.is_some_and(|at| at <= Instant::now()) {
            self.signal(Told::Kill, None, Signal::KILL);
        }
    }

    /// Once the main process has ended, cleans up after it. `left` are the children of the holder that were born in this
    /// slot.
    pub fn progress(&mut self, left: &[Pid]) -> Progress {
        let Some((end, _)) = self.end else {
            return Progress::Lives;
        };
        let members = self.groups.members();
        let is_empty = left.is_empty() && members.is_empty() && test_kill_process_group(self.pid).is_err();
        if !is_empty {
            self.end_rest(left, &members);
        }
        if is_empty && (self.pipes.iter().all(Option::is_none) || self.is_too_late()) {
            return Progress::Ended(end, self.told);
        }
        Progress::Lives
    }

    fn end_rest(&mut self, left: &[Pid], members: &[Pid]) {
        if self.told != Told::Terminate {
            self.kill();
            return orphans::signal(left, Signal::KILL);
        }
        // Those that left the group have not heard of the end yet; each is told once.
        self.warned.retain(|pid| left.contains(pid) || members.contains(pid));
        let is_fresh = |pid: &&Pid| !self.warned.contains(pid);
        let orphans: Vec<Pid> = left.iter().filter(is_fresh).copied().collect();
        let is_other = |pid: &&Pid| !left.contains(pid) && !self.warned.contains(pid);
        let others: Vec<Pid> = members.iter().filter(is_other).copied().collect();
        orphans::signal(&orphans, Signal::TERM);
        if !others.is_empty() {
            self.groups.signal(&others, Signal::TERM);
        }
        self.warned.extend(orphans.into_iter().chain(others));
    }

    /// Lets its control groups go; says whether something of it was killed because its memory was used up.
    pub fn leave_groups(&self) -> bool {
        let ran_out = self.groups.ran_out_of_memory();
        self.groups.remove();
        ran_out
    }

    /// Who is in the control group of the slot, if it has one.
    pub fn members(&self) -> Vec<Pid> {
        self.groups.members()
    }

    /// Nothing of the instance lives, and yet a pipe is open: a stranger holds it, who is given a moment.
    fn is_too_late(&mut self) -> bool {
        self.killed_at.get_or_insert_with(Instant::now).elapsed() >= STRANGERS
    }
}

/// How far a pipe is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    /// Until it has no more for now. To read on would be to race with the writer for every line.
    Empty,
    /// Until its end is seen.
    End,
}

/// Reads what is in a pipe now, bounded; says how much.
fn read(place: &mut Option<OwnedFd>, until: Until, buffer: &mut [u8], mut take: impl FnMut(&[u8])) -> usize {
    let Some(pipe) = place.as_ref() else {
        return 0;
    };
    let mut total = 0;
    while total < DRAIN_BYTES {
        match rustix::io::read(pipe, &mut *buffer) {
            Ok(length) if length > 0 => {
                take(&buffer[..length]);
                total += length;
                if length < buffer.len() && until == Until::Empty {
                    return total;
                }
            }
            Err(Errno::AGAIN) => return total,
            Err(Errno::INTR) => {}
            Ok(_) | Err(_) => {
                *place = None;
                return total;
            }
        }
    }
    total
}

/// The sessions of these children, with their slots.
pub fn sessions<'a>(children: impl Iterator<Item = (&'a Slot, &'a Child)>) -> Vec<(Pid, Slot)> {
    children.map(|(slot, child)| (child.raw_pid(), *slot)).collect()
}
