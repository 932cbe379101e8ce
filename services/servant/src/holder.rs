//! The holder: one small process per instance, in a session of its own. It owns the pipes, the spool and the exit
//! status, so that the Servant may die and come back while the instance runs on. It has one thread, no runtime and no
//! network; it decides nothing but to clean up after its child, and waits for the Servant's word.
//!
//! Read [`words`] (what the two say to each other), then [`child`] (the process that is held).

pub mod words;
pub mod runs;
mod child;
mod connection;
mod orphans;

use crate::spool::{SpoolLimits, SpoolWriter};
use child::{Child, Progress};
use connection::Connection;
use events::Timestamp;
use events::subject::Output;
use runs::Runs;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{getpid, set_child_subreaper, setsid};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;
use words::{Order, Said, StartOrder, Told};

/// The socket in the folder of an instance.
pub const SOCKET: &str = "holder.sock";
/// Held by a living holder: there is never a second one.
pub const LOCK: &str = "holder.lock";
/// How often orphans of a running instance are reaped, and the folder is looked for.
const LOOK_MS: i64 = 5000;
/// How often the end of a run that could not be recorded is tried to be recorded again.
const RECORD_AGAIN_MS: i64 = 200;
/// At most this often the Servant is told of new lines.
const TELL_MS: u64 = 10;

/// Holds the instance of this folder until the Servant lets it go. Called first thing in `main`.
///
/// # Errors
/// When the folder cannot be used, or another holder holds it.
pub fn run(folder: &Path) -> io::Result<()> {
    // So that nobody who ends "servant" by its name means this.
    std::fs::write("/proc/self/comm", "king-holder")?;
    // It may lead a session already when it was started by hand.
    let _ = setsid();
    set_child_subreaper(Some(getpid()))?;
    // Sockets have short paths: from here all paths are relative.
    std::env::set_current_dir(folder)?;
    let first = first_connection()?;
    let _lock = if first.is_some() { None } else { Some(lock()?) };
    let mut holder = Holder::open(first)?;
    while holder.is_wanted {
        holder.turn()?;
    }
    Ok(())
}

struct Holder {
    listener: UnixListener,
    servant: Option<Connection>,
    child: Option<Child>,
    /// An end that the disk has not taken yet: it is told only when it has.
    unrecorded: Option<(Timestamp, child::End, Told)>,
    spools: [SpoolWriter; 2],
    runs: Runs,
    is_wanted: bool,
    told_lines_at: u64,
    has_untold_lines: bool,
    buffer: Vec<u8>,
}

impl Holder {
    fn open(first: Option<UnixStream>) -> io::Result<Self> {
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
            child: None,
            unrecorded: None,
            spools: [open(Output::Stdout)?, open(Output::Stderr)?],
            runs: Runs::open(Path::new("."))?,
            is_wanted: true,
            told_lines_at: 0,
            has_untold_lines: false,
            buffer: vec![0; 64 * 1024],
        };
        if let Some(stream) = first {
            holder.greet(stream)?;
        }
        Ok(holder)
    }

    fn turn(&mut self) -> io::Result<()> {
        self.wait()?;
        self.accept()?;
        self.hear();
        self.drain();
        self.look_at_child()?;
        self.record_end();
        self.look_at_folder();
        self.tell_lines();
        if let Some(servant) = &mut self.servant
            && !servant.flush()
        {
            self.servant = None;
        }
        Ok(())
    }

    fn wait(&self) -> io::Result<()> {
        let mut fds = vec![PollFd::new(&self.listener, PollFlags::IN)];
        if let Some(servant) = &self.servant {
            fds.push(PollFd::from_borrowed_fd(servant.as_fd(), servant.wants()));
        }
        if let Some(child) = &self.child {
            fds.extend(child.fds().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        }
        let ms = self.timeout_ms();
        let timeout = Timespec { tv_sec: ms / 1000, tv_nsec: (ms % 1000) * 1_000_000 };
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn timeout_ms(&self) -> i64 {
        let look = self.child.as_ref().and_then(Child::look_in);
        // Rounded up: what is due in less than a millisecond is not spun for.
        let look = look.map(|look| i64::try_from(look.as_millis()).map_or(LOOK_MS, |ms| ms + 1));
        let record = self.unrecorded.is_some().then_some(RECORD_AGAIN_MS);
        let lines = self.has_untold_lines.then_some(TELL_MS as i64);
        [look, record, lines].into_iter().flatten().fold(LOOK_MS, i64::min)
    }

    fn accept(&mut self) -> io::Result<()> {
        match self.listener.accept() {
            Ok((stream, _)) => self.greet(stream),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// A new connection replaces the old: its Servant is dead, for there is one at a time.
    fn greet(&mut self, stream: UnixStream) -> io::Result<()> {
        let mut servant = Connection::new(stream)?;
        servant.say(&Said::State(self.runs.state()));
        self.servant = Some(servant);
        self.has_untold_lines = false;
        Ok(())
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
            Order::Start(order) if self.is_idle() => self.start(&order),
            // It was asked for twice: it runs, and there is never a second one.
            Order::Start(_) => match self.runs.state().run {
                Some(run) if self.child.is_some() => self.say(&Said::Started(run)),
                Some(_) | None => {
                    let reason = "the end of the last run is not recorded yet".to_owned();
                    self.say(&Said::StartFailed { reason, passing: true });
                }
            },
            Order::Signal(order) => {
                if let Some(child) = &mut self.child {
                    child.signal(order.told, order.grace_ms.map(Duration::from_millis));
                }
            }
            Order::Leave if self.is_idle() => {
                self.say(&Said::Left);
                self.is_wanted = false;
            }
            // The Servant lets go only what has ended.
            Order::Leave => self.say(&Said::State(self.runs.state())),
        }
    }

    /// Nothing runs, and nothing is owed of what ran.
    fn is_idle(&self) -> bool {
        self.child.is_none() && self.unrecorded.is_none()
    }

    fn start(&mut self, order: &StartOrder) {
        match Child::start(order) {
            Ok(child) => match self.runs.record_start(child.pid()) {
                Ok(run) => {
                    self.child = Some(child);
                    self.say(&Said::Started(run));
                }
                Err(error) => {
                    child.abandon();
                    let reason = format!("its start could not be recorded, so it was killed: {error}");
                    self.say(&Said::StartFailed { reason, passing: true });
                }
            },
            Err(error) => {
                let passing = child::is_passing(&error);
                let program = order.arguments.first().map_or("", String::as_str);
                let reason =
                    format!("{program:?} could not be started in the folder of the release: {error}");
                self.say(&Said::StartFailed { reason, passing });
            }
        }
    }

    fn drain(&mut self) {
        let Some(child) = &mut self.child else {
            return;
        };
        for (output, spool) in Output::ALL.into_iter().zip(&mut self.spools) {
            child.drain(output, &mut self.buffer, |bytes| spool.take(service::clock::now(), bytes));
            self.has_untold_lines |= spool.flush();
        }
    }

    fn look_at_child(&mut self) -> io::Result<()> {
        let Some(child) = &mut self.child else {
            return Ok(());
        };
        match child.progress()? {
            Progress::Lives => {}
            Progress::Ended(end, told) => self.finish(end, told),
        }
        Ok(())
    }

    /// An instance whose folder was deleted can never be found again: it is ended, and its holder with it.
    fn look_at_folder(&mut self) {
        // The current directory has no path once it is deleted.
        if std::env::current_dir().is_ok() {
            return;
        }
        match &mut self.child {
            Some(child) => child.signal(Told::Kill, None),
            None => self.is_wanted = false,
        }
    }

    /// Everything of the child is gone: what it left in the pipes is spooled, then its end is recorded, then told.
    fn finish(&mut self, end: child::End, told: Told) {
        self.drain();
        for spool in &mut self.spools {
            spool.finish(service::clock::now());
            self.has_untold_lines |= spool.flush();
        }
        self.child = None;
        self.unrecorded = Some((service::clock::now(), end, told));
    }

    fn record_end(&mut self) {
        let Some((at, end, told)) = self.unrecorded else {
            return;
        };
        match self.runs.record_exit(at, end.code, end.signal, told) {
            Ok(exit) => {
                self.unrecorded = None;
                self.say(&Said::Exited(exit));
            }
            Err(error) => note(&format!("the end of a run could not be recorded, trying again: {error}")),
        }
    }

    fn tell_lines(&mut self) {
        let now = service::clock::now().0;
        if self.has_untold_lines && now.abs_diff(self.told_lines_at) >= TELL_MS {
            self.told_lines_at = now;
            self.has_untold_lines = false;
            if let Some(servant) = &mut self.servant {
                servant.say_if_idle(&Said::Spooled);
            }
        }
    }

    fn say(&mut self, said: &Said) {
        if let Some(servant) = &mut self.servant {
            servant.say(said);
        }
    }
}

/// Writes to `holder.log`. On a full disk there is nobody to tell.
fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// A holder that was started by hand locks its folder itself.
fn lock() -> io::Result<File> {
    let lock = File::options().create(true).append(true).open(LOCK)?;
    lock.try_lock().map_err(io::Error::other)?;
    Ok(lock)
}

/// Standard input, where it is a socket: a Servant that starts a holder gives it the first connection so, and the lock
/// of the folder, taken already, as its standard output.
fn first_connection() -> io::Result<Option<UnixStream>> {
    let input = io::stdin().as_fd().try_clone_to_owned()?;
    if rustix::net::sockopt::socket_type(&input).is_err() {
        return Ok(None);
    }
    Ok(Some(UnixStream::from(input)))
}
