//! The holder: one small process per instance, in a session of its own. It owns the pipes, the spool, the sockets that
//! the instance listens on and the exit status, so that the Servant may die and come back while the instance runs on. It
//! has one thread, no runtime and no network; it decides nothing but to clean up after its children, and waits for the
//! Servant's word.
//!
//! Read [`words`] (what the two say to each other), then [`child`] (a process that is held) and [`launch`] (how it is
//! started). Holders are forked from a [`stem`].

pub mod words;
pub mod runs;
pub mod stem;
pub(crate) mod raw;
mod launch;
mod child;
mod lines;
mod sockets;
pub(crate) mod groups;
mod connection;
pub(crate) mod orphans;

use crate::spool::{SpoolLimits, SpoolWriter};
use child::{Child, Progress};
use connection::Connection;
use events::subject::Output;
use lines::Company;
use runs::{Ended, Runs};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, getpid, set_child_subreaper, setsid};
use sockets::Sockets;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;
use stem::{Birth, Heritage};
use words::{Order, Said, Slot, StartFailure, StartOrder, Told};

/// The first argument of this program that makes it a stem, and so a holder.
pub const WORD: &str = "holder";
/// The socket in the folder of an instance.
pub const SOCKET: &str = "holder.sock";
/// Held by a living holder: there is never a second one.
pub const LOCK: &str = "holder.lock";
/// How often the folder is looked for; the seldomer the longer nothing happens.
const LOOK_MS: i64 = 5000;
const LONGEST_LOOK_MS: i64 = 20_000;
/// How often the end of a run that could not be recorded is tried to be recorded again.
const RECORD_AGAIN_MS: i64 = 200;
/// At most this often the Servant is told of new lines.
const TELL_MS: u64 = 10;
/// How much is read from a pipe at once: half of it costs a twentieth of the rate of a fast writer, more gains little and stays
/// with each holder that ever read so much.
const READ_BYTES: usize = 128 * 1024;

/// Is a stem, and in each process that is forked from it a holder. Called first thing in `main`.
///
/// # Errors
/// When standard input is no socket of a Servant, or an instance cannot be held any more.
pub fn run() -> io::Result<()> {
    match stem::run()? {
        Some((birth, heritage)) => hold(birth, heritage),
        None => Ok(()),
    }
}

/// Holds an instance until the Servant lets it go.
fn hold(birth: Birth, heritage: Heritage) -> io::Result<()> {
    let Birth { folder, servant, lock: _lock, log } = birth;
    raw::stand_in(raw::Standard::Errors, &log)?;
    raw::rename(c"king-holder");
    heritage.title.end_with(folder.as_os_str().as_bytes());
    // A fork of a session's leader leads none itself, so this cannot fail.
    setsid()?;
    set_child_subreaper(Some(getpid()))?;
    // Sockets have short paths: from here all paths are relative.
    std::env::set_current_dir(folder)?;
    let mut holder = Holder::open(Connection::new(servant)?, heritage.boot)?;
    while holder.is_wanted {
        holder.turn()?;
    }
    Ok(())
}

struct Holder {
    listener: UnixListener,
    servant: Option<Connection>,
    nothing: File,
    /// Can be read when a child has ended, be it an orphan.
    ends: File,
    sockets: Sockets,
    children: BTreeMap<Slot, Child>,
    /// Ends that the disk has not taken yet: they are told only when it has.
    unrecorded: BTreeMap<Slot, Ended>,
    spools: [SpoolWriter; 2],
    runs: Runs,
    is_wanted: bool,
    look_ms: i64,
    told_lines_at: u64,
    has_untold_lines: bool,
    buffer: Vec<u8>,
}

/// What waiting came to.
struct Polled {
    /// Nobody has anything.
    is_silent: bool,
    /// A child has ended, be it an orphan.
    has_ended: bool,
}

impl Holder {
    fn open(first: Connection, boot: String) -> io::Result<Self> {
        match std::fs::remove_file(SOCKET) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(SOCKET)?;
        listener.set_nonblocking(true)?;
        let open = |output| SpoolWriter::open(Path::new("."), output, SpoolLimits::STANDARD);
        let mut holder = Self {
            listener,
            servant: None,
            nothing: File::open("/dev/null")?,
            ends: raw::ends_of_children()?,
            sockets: Sockets::default(),
            children: BTreeMap::new(),
            unrecorded: BTreeMap::new(),
            spools: [open(Output::Stdout)?, open(Output::Stderr)?],
            runs: Runs::open(Path::new("."), boot)?,
            is_wanted: true,
            look_ms: LOOK_MS,
            told_lines_at: 0,
            has_untold_lines: false,
            buffer: vec![0; READ_BYTES],
        };
        holder.greet(first);
        Ok(holder)
    }

    fn turn(&mut self) -> io::Result<()> {
        self.wait()?;
        self.accept()?;
        self.hear();
        self.drain();
        self.look_at_children()?;
        self.record_ends();
        self.look_at_folder();
        self.tell_lines();
        self.flush();
        Ok(())
    }

    /// Until there is something to do, or to look at.
    fn wait(&mut self) -> io::Result<()> {
        let Polled { is_silent, has_ended } = self.poll()?;
        if has_ended {
            self.forget_ends()?;
        }
        self.look_ms = if is_silent { (self.look_ms * 2).min(LONGEST_LOOK_MS) } else { LOOK_MS };
        Ok(())
    }

    /// That a child has ended is told once; whoever has ended by now is reaped in this turn.
    fn forget_ends(&mut self) -> io::Result<()> {
        let mut told = [0; 1024];
        match self.ends.read(&mut told) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Waits for all that can have something.
    fn poll(&self) -> io::Result<Polled> {
        let mut fds =
            vec![PollFd::new(&self.ends, PollFlags::IN), PollFd::new(&self.listener, PollFlags::IN)];
        if let Some(servant) = &self.servant {
            fds.push(PollFd::from_borrowed_fd(servant.as_fd(), servant.wants()));
        }
        let children = self.children.values().flat_map(Child::fds);
        fds.extend(children.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        let ms = self.timeout_ms();
        let timeout = Timespec { tv_sec: ms / 1000, tv_nsec: (ms % 1000) * 1_000_000 };
        match poll(&mut fds, Some(&timeout)) {
            Ok(count) => Ok(Polled { is_silent: count == 0, has_ended: !fds[0].revents().is_empty() }),
            Err(rustix::io::Errno::INTR) => Ok(Polled { is_silent: true, has_ended: false }),
            Err(error) => Err(error.into()),
        }
    }

    fn timeout_ms(&self) -> i64 {
        let look = self.children.values().filter_map(Child::look_in).min();
        // Rounded up: what is due in less than a millisecond is not spun for.
        let look = look.map(|look| i64::try_from(look.as_millis()).map_or(LOOK_MS, |ms| ms + 1));
        let record = (!self.unrecorded.is_empty()).then_some(RECORD_AGAIN_MS);
        // A Servant that is busy shows by taking what waits for it.
        let is_idle = self.servant.as_ref().is_none_or(Connection::is_idle);
        let lines = (self.has_untold_lines && is_idle).then_some(TELL_MS as i64);
        [look, record, lines].into_iter().flatten().fold(self.look_ms, i64::min)
    }

    fn accept(&mut self) -> io::Result<()> {
        match self.listener.accept() {
            Ok((stream, _)) => {
                let servant = Connection::new(stream)?;
                self.greet(servant);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// A new connection replaces the old: its Servant is dead, for there is one at a time.
    fn greet(&mut self, mut servant: Connection) {
        servant.say(&Said::State(self.runs.state()));
        self.servant = Some(servant);
        self.has_untold_lines = false;
    }

    fn hear(&mut self) {
        let Some(servant) = &mut self.servant else {
            return;
        };
        let (orders, is_open) = servant.hear();
        if !is_open {
            self.servant = None;
        }
        orders.into_iter().for_each(|order| self.obey(order));
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Start(order) => self.start_if_free(&order),
            Order::Signal(order) => {
                if let Some(child) = self.children.get_mut(&order.slot) {
                    let signal = order.signal.and_then(Signal::from_named_raw).unwrap_or(Signal::TERM);
                    child.signal(order.told, order.grace_ms.map(Duration::from_millis), signal);
                }
            }
            Order::Leave if self.children.is_empty() && self.unrecorded.is_empty() => {
                self.say(&Said::Left);
                self.is_wanted = false;
            }
            // The Servant lets go only what has ended.
            Order::Leave => self.say(&Said::State(self.runs.state())),
        }
    }

    fn start_if_free(&mut self, order: &StartOrder) {
        let slot = order.slot;
        if self.unrecorded.contains_key(&slot) {
            let reason = "the end of the last run is not recorded yet".to_owned();
            return self.say(&Said::StartFailed(StartFailure { slot, reason, passing: true, port: None }));
        }
        match self.runs.state().slot(slot) {
            // It was asked for twice: it runs, and there is never a second one.
            Some(state) if self.children.contains_key(&slot) => self.say(&Said::Started(state.run)),
            Some(_) | None => {
                let said = match self.start(order) {
                    Ok(run) => Said::Started(run),
                    Err(failure) => Said::StartFailed(failure),
                };
                self.say(&said);
            }
        }
    }

    fn start(&mut self, order: &StartOrder) -> Result<words::Run, StartFailure> {
        let slot = order.slot;
        let failed = |passing, port, reason| StartFailure { slot, reason, passing, port };
        self.sockets.want(&order.sockets).map_err(|error| failed(true, error.port(), error.to_string()))?;
        let sockets = self.sockets.handed(&order.sockets);
        let child = Child::start(order, self.nothing.as_fd(), sockets).map_err(|error| {
            let program = order.arguments.first().map_or("", String::as_str);
            let reason = format!("{program:?} could not be started in the folder of the release: {error}");
            failed(child::is_passing(&error), None, reason)
        })?;
        match self.runs.record_start(slot, child.pid()) {
            Ok(run) => {
                self.children.insert(slot, child);
                Ok(run)
            }
            Err(error) => {
                child.abandon();
                let reason = format!("its start could not be recorded, so it was killed: {error}");
                Err(failed(true, None, reason))
            }
        }
    }

    fn drain(&mut self) {
        let company = if self.children.len() > 1 { Company::Shared } else { Company::Alone };
        for child in self.children.values_mut() {
            self.has_untold_lines |= child.drain(company, &mut self.spools, &mut self.buffer);
        }
    }

    /// Reaps, keeps the times that were ordered, and cleans up after those that have ended.
    fn look_at_children(&mut self) -> io::Result<()> {
        for (pid, status) in orphans::reap()? {
            if let Some(child) = self.children.values_mut().find(|child| child.raw_pid() == pid) {
                child.reaped(status);
            }
        }
        self.children.values_mut().for_each(Child::keep_time);
        if !self.children.values().any(Child::has_ended) {
            return Ok(());
        }
        let left = self.left()?;
        let mut ended = Vec::new();
        for (slot, child) in &mut self.children {
            let own: Vec<_> = left.iter().filter(|(_, of)| of == slot).map(|(pid, _)| *pid).collect();
            if let Progress::Ended(end, told) = child.progress(&own) {
                ended.push((*slot, end, told));
            }
        }
        ended.into_iter().for_each(|(slot, end, told)| self.finish(slot, end, told));
        Ok(())
    }

    /// What lives of those that came to this process when their parents died, each with its slot. Whose slot cannot be
    /// told stays while another slot runs, and is then counted to the last.
    fn left(&self) -> io::Result<Vec<(Pid, Slot)>> {
        let sessions = child::sessions(self.children.iter());
        let last = match &sessions[..] {
            [(_, slot)] => Some(*slot),
            _ => None,
        };
        let members: Vec<(Slot, Vec<Pid>)> =
            self.children.iter().map(|(slot, child)| (*slot, child.members())).collect();
        let by_group = |pid| members.iter().find(|(_, all)| all.contains(&pid)).map(|(slot, _)| *slot);
        let slot_of = |pid| by_group(pid).or(last).or_else(|| orphans::slot_of(pid, &sessions));
        let is_main = |pid: &Pid| sessions.iter().any(|(main, _)| main == pid);
        let orphans = orphans::children()?.into_iter().filter(|pid| !is_main(pid));
        Ok(orphans.filter_map(|pid| Some((pid, slot_of(pid)?))).collect())
    }

    /// An instance whose folder was deleted can never be found again: it is ended, and its holder with it.
    fn look_at_folder(&mut self) {
        // The current directory has no path once it is deleted.
        if std::env::current_dir().is_ok() {
            return;
        }
        self.is_wanted &= !self.children.is_empty();
        self.children.values_mut().for_each(|child| child.signal(Told::Kill, None, Signal::KILL));
    }

    /// Everything of the child is gone: what it left in the pipes is spooled, then its end is recorded, then told.
    fn finish(&mut self, slot: Slot, end: child::End, told: Told) {
        self.drain();
        let Some(mut child) = self.children.remove(&slot) else {
            return;
        };
        let at = service::clock::now();
        self.has_untold_lines |= child.finish(&mut self.spools, at);
        let out_of_memory = child.leave_groups();
        let ended = Ended { at, code: end.code, signal: end.signal, told, out_of_memory };
        self.unrecorded.insert(slot, ended);
    }

    fn record_ends(&mut self) {
        for (slot, ended) in std::mem::take(&mut self.unrecorded) {
            match self.runs.record_exit(slot, ended) {
                Ok(exit) => self.say(&Said::Exited(exit)),
                Err(error) => {
                    self.unrecorded.insert(slot, ended);
                    note(&format!("the end of a run could not be recorded, trying again: {error}"));
                }
            }
        }
    }

    fn tell_lines(&mut self) {
        let now = service::clock::now().0;
        if self.has_untold_lines && now.abs_diff(self.told_lines_at) >= TELL_MS {
            self.told_lines_at = now;
            // Who is busy with what was said before is told later; who is not there looks by itself when it comes.
            self.has_untold_lines =
                self.servant.as_mut().is_some_and(|servant| !servant.say_if_idle(&Said::Spooled));
        }
    }

    fn say(&mut self, said: &Said) {
        match &mut self.servant {
            Some(servant) => servant.say(said),
            // Nobody stores it elsewhere soon.
            None => self.sync(),
        }
    }

    fn flush(&mut self) {
        if self.servant.as_mut().is_some_and(|servant| !servant.flush()) {
            self.servant = None;
            self.sync();
        }
    }

    fn sync(&mut self) {
        if let Err(error) = self.runs.sync() {
            note(&format!("what was recorded could not be made durable: {error}"));
        }
    }
}

/// Writes to `holder.log`. On a full disk there is nobody to tell.
fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
