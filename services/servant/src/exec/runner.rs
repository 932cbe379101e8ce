//! The runner: the small process between the Servant and one command. It is the reaper of all that the command starts, so
//! that a run ends whole, double-forked or not; and when the Servant goes away, however that happens, it ends the run. It
//! has one thread, no runtime and no network, and never touches what the command reads or writes.

use super::session::{self, Controls};
use super::words::{KILL, ORDER_BYTES, RunOrder, Said, TERMINATE};
use crate::holder::orphans;
use crate::holder::words::GroupOrder;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Uid, fchown, fstat};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitStatus, getpid, kill_process_group, pidfd_open, set_child_subreaper, setsid,
    test_kill_process_group,
};
use std::fs::File;
use std::io::{self, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

/// The first argument of a runner, by which it knows what it is.
pub const WORD: &str = "exec";

/// How often the end of what is left is looked at.
const ENDING: Timespec = Timespec { tv_sec: 0, tv_nsec: 3_000_000 };
/// How often orphans of a run that goes on are reaped.
const LOOK: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };

/// Runs what the Servant orders over standard input, to its end. Called first thing in `main`.
///
/// # Errors
/// When there is no Servant, or it orders nothing that can be read.
pub fn run() -> io::Result<()> {
    // So that nobody who ends "servant" by its name means this.
    std::fs::write("/proc/self/comm", "king-exec")?;
    let _ = setsid();
    set_child_subreaper(Some(getpid()))?;
    std::env::set_current_dir("/")?;
    let mut servant = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let (order, descriptors) = receive(&mut servant)?;
    match start(&order, descriptors) {
        Err(reason) => say(&mut servant, &Said::NotStarted { reason }),
        Ok(main) => {
            let mut runner = Runner::new(servant, main)?;
            runner.say(&Said::Started { pid: main.as_raw_nonzero().get().unsigned_abs() });
            while !runner.turn()? {}
        }
    }
    Ok(())
}

fn receive(servant: &mut UnixStream) -> io::Result<(RunOrder, [OwnedFd; 3])> {
    let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut length = [0; 4];
    let received =
        recvmsg(&*servant, &mut [IoSliceMut::new(&mut length)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    if received.bytes != length.len() {
        return Err(bad("the length of an order is missing"));
    }
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    let descriptors = descriptors.try_into().map_err(|_| bad("an order has three descriptors"))?;
    let length = u32::from_be_bytes(length) as usize;
    if length > ORDER_BYTES {
        return Err(bad("an order is too long"));
    }
    let mut order = vec![0; length];
    servant.read_exact(&mut order)?;
    Ok((serde_json::from_slice(&order)?, descriptors))
}

fn start(order: &RunOrder, [input, output, errors]: [OwnedFd; 3]) -> Result<Pid, String> {
    let (program, arguments) = order.arguments.split_first().ok_or("the command is empty")?;
    let confined = "its limits and user cannot be set";
    let groups = lists(&order.groups).map_err(|error| format!("{confined}: {error}"))?;
    for descriptor in [&input, &output, &errors] {
        give_away(descriptor, order).map_err(|error| format!("{confined}: {error}"))?;
    }
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(&order.environment).current_dir(&order.directory);
    command.stdin(Stdio::from(input)).stdout(Stdio::from(output)).stderr(Stdio::from(errors));
    let controls = if order.terminal { Controls::Terminal } else { Controls::Nothing };
    session::lead(&mut command, controls, groups, order.confinement.clone());
    let child = command.spawn().map_err(|error| {
        format!("{program:?} could not be started in {}: {error}", order.directory.display())
    })?;
    // Its ends of the pipes are in `command` and go with it: only what runs holds them from here.
    Ok(Pid::from_child(&child))
}

/// The lists of who is in these groups.
fn lists(groups: &[GroupOrder]) -> io::Result<Vec<OwnedFd>> {
    let list = |group: &GroupOrder| File::options().write(true).open(group.path.join("cgroup.procs"));
    groups.iter().map(|group| list(group).map(OwnedFd::from)).collect()
}

/// A pipe or terminal becomes the user's own who runs there: else it could not be opened by its name, such as `/dev/stdout`.
fn give_away(descriptor: &OwnedFd, order: &RunOrder) -> io::Result<()> {
    let Some(user) = &order.confinement.user else { return Ok(()) };
    let kind = FileType::from_raw_mode(fstat(descriptor)?.st_mode);
    // An empty input is a device of the host, and stays what it is.
    if kind == FileType::Fifo || order.terminal {
        fchown(descriptor, Some(Uid::from_raw(user.uid)), None)?;
    }
    Ok(())
}

fn say(servant: &mut UnixStream, said: &Said) {
    let mut line = serde_json::to_vec(said).expect("what is said has text keys");
    line.push(b'\n');
    // The Servant may be gone: that is seen by reading.
    let _ = servant.write_all(&line);
}

struct Runner {
    servant: UnixStream,
    main: Pid,
    exit: OwnedFd,
    status: Option<WaitStatus>,
    is_killing: bool,
}

impl Runner {
    fn new(servant: UnixStream, main: Pid) -> io::Result<Self> {
        // From here its status is reaped by `orphans::reap`, so the number stays ours until then.
        let exit = pidfd_open(main, PidfdFlags::empty())?;
        Ok(Self { servant, main, exit, status: None, is_killing: false })
    }

    fn say(&mut self, said: &Said) {
        say(&mut self.servant, said);
    }

    /// Says whether nothing is left.
    fn turn(&mut self) -> io::Result<bool> {
        self.wait()?;
        let ended = orphans::reap()?.into_iter().find(|(pid, _)| *pid == self.main);
        self.status = self.status.or(ended.map(|(_, status)| status));
        let left = orphans::children()?;
        if self.status.is_none() && !self.is_killing {
            return Ok(false);
        }
        // The number is ours while the main process is not reaped, and while anybody is in the group.
        let _ = kill_process_group(self.main, Signal::KILL);
        orphans::signal(&left, Signal::KILL);
        match self.status {
            Some(status) if left.is_empty() && test_kill_process_group(self.main).is_err() => {
                self.say(&Said::Ended { code: status.exit_status(), signal: status.terminating_signal() });
                Ok(true)
            }
            Some(_) | None => Ok(false),
        }
    }

    fn wait(&mut self) -> io::Result<()> {
        let is_ending = self.status.is_some() || self.is_killing;
        let mut fds = vec![PollFd::new(&self.exit, PollFlags::IN)];
        if is_ending {
            fds.clear();
        } else {
            fds.push(PollFd::new(&self.servant, PollFlags::IN));
        }
        match poll(&mut fds, Some(if is_ending { &ENDING } else { &LOOK })) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if fds.get(1).is_some_and(|servant| !servant.revents().is_empty()) {
            self.hear();
        }
        Ok(())
    }

    /// A Servant that is gone wants what it would want if it could: nothing of a run stays.
    fn hear(&mut self) {
        let mut word = [0];
        match self.servant.read(&mut word) {
            Ok(1) if word[0] == TERMINATE => self.terminate(),
            Ok(1) if word[0] == KILL => self.is_killing = true,
            Ok(1) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(_) | Err(_) => self.is_killing = true,
        }
    }

    fn terminate(&self) {
        let _ = kill_process_group(self.main, Signal::TERM);
        // A shell may sleep in a stopped job, and a job of a shell has a group of its own.
        let _ = kill_process_group(self.main, Signal::CONT);
        match orphans::children() {
            Ok(left) => orphans::signal(&left, Signal::TERM),
            // It is killed when its grace is over.
            Err(error) => drop(writeln!(io::stderr(), "what a run left cannot be listed: {error}")),
        }
    }
}
