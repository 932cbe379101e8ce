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
use events::subject::Output;
use runs::Runs;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{getpid, set_child_subreaper, setsid};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use words::{Order, Said, StartOrder, Told};

/// The socket in the folder of an instance.
pub const SOCKET: &str = "holder.sock";
/// Held by a living holder: there is never a second one.
pub const LOCK: &str = "holder.lock";
/// How often orphans of a running instance are reaped, and the folder is looked for.
const LOOK_MS: i64 = 5000;
/// How often the end of what is left of an instance is looked at.
const ENDING_MS: i64 = 2;
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
        self.hear()?;
        self.drain();
        self.look_at_child()?;
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
        let is_ending = self.child.as_ref().is_some_and(Child::is_ending);
        let ending = if is_ending { ENDING_MS } else { LOOK_MS };
        if self.has_untold_lines { ending.min(TELL_MS as i64) } else { ending }
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

    fn hear(&mut self) -> io::Result<()> {
        let Some(servant) = &mut self.servant else {
            return Ok(());
        };
        let (orders, is_open) = servant.hear();
        if !is_open {
            self.servant = None;
        }
        orders.into_iter().try_for_each(|order| self.obey(order))
    }

    fn obey(&mut self, order: Order) -> io::Result<()> {
        match order {
            Order::Start(order) if self.child.is_none() => self.start(&order)?,
            Order::Start(_) => {
                self.say(&Said::StartFailed { reason: "it runs already".into(), passing: false })
            }
            Order::Signal(told) => {
                if let Some(child) = &mut self.child {
                    child.signal(told);
                }
            }
            Order::Leave if self.child.is_none() => {
                self.say(&Said::Left);
                self.is_wanted = false;
            }
            // The Servant lets go only what has ended.
            Order::Leave => self.say(&Said::State(self.runs.state())),
        }
        Ok(())
    }

    fn start(&mut self, order: &StartOrder) -> io::Result<()> {
        match Child::start(order) {
            Ok(child) => {
                let run = self.runs.record_start(child.pid())?;
                self.child = Some(child);
                self.say(&Said::Started(run));
            }
            Err(error) => {
                let passing = child::is_passing(&error);
                let program = order.arguments.first().map_or("", String::as_str);
                let reason =
                    format!("{program:?} could not be started in the folder of the release: {error}");
                self.say(&Said::StartFailed { reason, passing });
            }
        }
        Ok(())
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
            Progress::Lives => Ok(()),
            Progress::Ended(end, told) => self.finish(end, told),
        }
    }

    /// An instance whose folder was deleted can never be found again: it is ended, and its holder with it.
    fn look_at_folder(&mut self) {
        // The current directory has no path once it is deleted.
        if std::env::current_dir().is_ok() {
            return;
        }
        match &mut self.child {
            Some(child) => child.signal(Told::Kill),
            None => self.is_wanted = false,
        }
    }

    /// Everything of the child is gone: what it left in the pipes is spooled, then its end is recorded, then told.
    fn finish(&mut self, end: child::End, told: Told) -> io::Result<()> {
        self.drain();
        for spool in &mut self.spools {
            spool.finish(service::clock::now());
            self.has_untold_lines |= spool.flush();
        }
        self.child = None;
        let exit = self.runs.record_exit(end.code, end.signal, told)?;
        self.say(&Said::Exited(exit));
        Ok(())
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
