//! The Servant's end of one run: its runner, and the other ends of its pipes or of its terminal.

use super::runner::WORD;
use super::words::{KILL, RunOrder, Said, TERMINATE};
use events::exec::{Stdio as Wanted, TerminalSize};
use rustix::fs::{Mode, OFlags};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

/// What can be read of it, and written to it.
pub struct Streams {
    /// None when it has no input.
    pub input: Option<Sender>,
    pub output: Receiver,
    /// None when it has a terminal, on which all of its output is one.
    pub errors: Option<Receiver>,
}

/// The runner of a run. When it is dropped, the run is ended.
pub struct Runner {
    said: Lines<BufReader<OwnedReadHalf>>,
    orders: OwnedWriteHalf,
}

/// The ends that the command gets: input, output, errors.
type Theirs = [OwnedFd; 3];

/// Starts a runner, which starts the command and says whether it could. `program` is this same program.
///
/// # Errors
/// When the host has no more processes or descriptors.
pub async fn start(program: &Path, order: &RunOrder, wanted: &Wanted) -> io::Result<(Streams, Runner)> {
    let (streams, theirs) = match wanted {
        Wanted::Terminal(terminal) => terminal_of(terminal.size)?,
        Wanted::Input => pipes(Input::Pipe)?,
        Wanted::Discard | Wanted::Output => pipes(Input::Empty)?,
    };
    let (ours, control) = std::os::unix::net::UnixStream::pair()?;
    let mut command = tokio::process::Command::new(program);
    command.arg(WORD).arg0("king-exec").env_clear().process_group(0);
    command.stdin(Stdio::from(OwnedFd::from(control))).stdout(Stdio::null()).kill_on_drop(false);
    let mut runner = command.spawn()?;
    // Ours of its end: else its end would not be seen.
    drop(command);
    tokio::spawn(async move { runner.wait().await });
    let json = serde_json::to_vec(order)?;
    send_head(&ours, json.len(), &theirs)?;
    drop(theirs);
    ours.set_nonblocking(true)?;
    let (said, mut orders) = UnixStream::from_std(ours)?.into_split();
    orders.write_all(&json).await?;
    Ok((streams, Runner { said: BufReader::new(said).lines(), orders }))
}

/// The length of the order, with the descriptors beside it. A new socket has room for so little.
fn send_head(control: &std::os::unix::net::UnixStream, length: usize, theirs: &Theirs) -> io::Result<()> {
    let length = u32::try_from(length).map_err(io::Error::other)?.to_be_bytes();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let rights = theirs.each_ref().map(AsFd::as_fd);
    assert!(ancillary.push(SendAncillaryMessage::ScmRights(&rights)), "there is space for three");
    sendmsg(control, &[IoSlice::new(&length)], &mut ancillary, SendFlags::empty())?;
    Ok(())
}

enum Input {
    Pipe,
    Empty,
}

fn pipes(input: Input) -> io::Result<(Streams, Theirs)> {
    let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
    let (input, their_input) = match input {
        Input::Pipe => {
            let (theirs, ours) = pipe()?;
            (Some(writer(ours)?), theirs)
        }
        Input::Empty => {
            let null = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
            (None, null)
        }
    };
    let (output, their_output) = pipe()?;
    let (errors, their_errors) = pipe()?;
    let streams = Streams { input, output: reader(output)?, errors: Some(reader(errors)?) };
    Ok((streams, [their_input, their_output, their_errors]))
}

fn terminal_of(size: TerminalSize) -> io::Result<(Streams, Theirs)> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let terminal =
        ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    resize(&master, size)?;
    let theirs = [terminal.try_clone()?, terminal.try_clone()?, terminal];
    let input = Some(writer(master.try_clone()?)?);
    Ok((Streams { input, output: reader(master)?, errors: None }, theirs))
}

/// Says how large a terminal is now; what runs there hears of it.
///
/// # Errors
/// When it is no terminal.
pub fn resize(terminal: impl AsFd, size: TerminalSize) -> io::Result<()> {
    let winsize = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    Ok(tcsetwinsize(terminal, winsize)?)
}

/// The side of a pipe or of a terminal that is read here.
fn reader(descriptor: OwnedFd) -> io::Result<Receiver> {
    rustix::io::ioctl_fionbio(&descriptor, true)?;
    Receiver::from_owned_fd_unchecked(descriptor)
}

/// The side that is written here.
fn writer(descriptor: OwnedFd) -> io::Result<Sender> {
    rustix::io::ioctl_fionbio(&descriptor, true)?;
    Sender::from_owned_fd_unchecked(descriptor)
}

/// Reads what is there, waiting for it. None at the end, also when the other side of a terminal is closed. Can be
/// cancelled safely.
pub async fn read(from: &Receiver, most: usize) -> Option<Vec<u8>> {
    let mut buffer = vec![0; most];
    loop {
        from.readable().await.ok()?;
        match from.try_read(&mut buffer) {
            Ok(0) => return None,
            Ok(length) => {
                buffer.truncate(length);
                return Some(buffer);
            }
            Err(error) if is_passing(&error) => {}
            // EIO: nobody has the terminal open any more.
            Err(_) => return None,
        }
    }
}

/// Writes as much as goes in at once, waiting for room. None when nobody reads. Can be cancelled safely.
pub async fn write(to: &Sender, bytes: &[u8]) -> Option<usize> {
    loop {
        to.writable().await.ok()?;
        match to.try_write(bytes) {
            Ok(length) => return Some(length),
            Err(error) if is_passing(&error) => {}
            Err(_) => return None,
        }
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

impl Runner {
    /// What it says next; none when it is gone. Can be cancelled safely.
    pub async fn said(&mut self) -> Option<Said> {
        let line = self.said.next_line().await.ok()??;
        serde_json::from_str(&line).ok()
    }

    /// Asks the run to end.
    pub async fn terminate(&mut self) {
        self.order(TERMINATE).await;
    }

    /// Ends the run.
    pub async fn kill(&mut self) {
        self.order(KILL).await;
    }

    async fn order(&mut self, word: u8) {
        // A runner that is gone is seen by what it no longer says.
        let _ = self.orders.write_all(&[word]).await;
    }
}
