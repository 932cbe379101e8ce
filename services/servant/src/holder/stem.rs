//! The stem: a process of one thread from which holders are forked. A fork without an exec shares all memory that
//! nobody writes to, and takes a fraction of the time of a program's start. It knows nothing and decides nothing; it
//! ends with the Servant that started it, and the holders stay.

use super::raw::{self, Children, Standard, Title};
use crate::host;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// Longest path of a folder.
const PATH_BYTES: usize = 4096;

/// What a holder is born with.
pub struct Birth {
    pub folder: PathBuf,
    /// Its end of the first connection to the Servant.
    pub servant: UnixStream,
    /// The lock of the folder, taken already: from the fork on there is a holder, whatever becomes of the Servant.
    pub lock: File,
    /// Where it writes down what goes wrong.
    pub log: File,
}

/// What is the same for all holders of a stem, looked up once.
#[derive(Clone, Debug)]
pub struct Heritage {
    pub title: Title,
    /// The kernel's boot id.
    pub boot: String,
}

/// Asks a stem for a holder.
///
/// # Errors
/// When the stem is gone or does not take orders.
pub fn ask(stem: impl AsFd, birth: &Birth) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors = [birth.servant.as_fd(), birth.lock.as_fd(), birth.log.as_fd()];
    assert!(ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)), "there is room for three");
    let path = [IoSlice::new(birth.folder.as_os_str().as_bytes())];
    sendmsg(stem, &path, &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Forks a holder for each order that comes from standard input, until there is nobody to order any. Called first thing
/// in `main`, before there is a second thread. What is returned in a child is the folder that it holds, and what it has
/// from its stem.
///
/// # Errors
/// When standard input is no socket, or holders cannot be forked.
pub fn run() -> io::Result<Option<(Birth, Heritage)>> {
    // So that nobody who ends "servant" by its name means this.
    raw::rename(c"king-stem");
    let heritage = Heritage { title: Title::find()?, boot: host::boot_id()? };
    // It is not for the terminal of the Servant to end it.
    let _ = rustix::process::setsid();
    raw::keep_children(Children::Forgotten);
    let orders = io::stdin().as_fd().try_clone_to_owned()?;
    raw::stand_in(Standard::Input, &File::open("/dev/null")?)?;
    loop {
        let Some(birth) = next(orders.as_fd())? else {
            return Ok(None);
        };
        match raw::fork() {
            Ok(Some(_)) => {}
            Ok(None) => {
                raw::keep_children(Children::Kept);
                return Ok(Some((birth, heritage)));
            }
            // The Servant sees that its end of the connection closes, and tries again.
            Err(error) => eprintln!("a holder for {} could not be forked: {error}", birth.folder.display()),
        }
    }
}

fn next(orders: BorrowedFd<'_>) -> io::Result<Option<Birth>> {
    let mut path = [0; PATH_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    loop {
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut places = [IoSliceMut::new(&mut path)];
        let received = match recvmsg(orders, &mut places, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => continue,
            other => other?,
        };
        let descriptors: Vec<OwnedFd> = ancillary.drain().flat_map(descriptors).collect();
        if received.bytes == 0 {
            return Ok(None);
        }
        let folder = Path::new(OsStr::from_bytes(&path[..received.bytes])).to_owned();
        match <[OwnedFd; 3]>::try_from(descriptors) {
            Ok([servant, lock, log]) => {
                let (servant, lock, log) = (UnixStream::from(servant), File::from(lock), File::from(log));
                return Ok(Some(Birth { folder, servant, lock, log }));
            }
            // There was no room for more descriptors: those that came are closed, and the Servant sees that.
            Err(_) => eprintln!("an order for {} came without its descriptors", folder.display()),
        }
    }
}

fn descriptors(message: RecvAncillaryMessage<'_>) -> Vec<OwnedFd> {
    match message {
        RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect(),
        _ => Vec::new(),
    }
}
