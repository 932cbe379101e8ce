//! The hook: what Git runs between receiving a push and accepting it. It is the `king` binary under another name.
//!
//! It decides nothing: it carries the references to the King over a socket, prints what the King says to the pusher
//! and ends with the King's verdict. It starts no runtime, since a push waits for it.
//!
//! The protocol is lines. To the King: `push <id>`, `quarantine <folder name or nothing>`, a line of Git's for each
//! reference, `end`. From the King: `say <text>` for the pusher, and at last `exit <code>`.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The folder of the hook within the folder of the remote.
pub const FOLDER: &str = ".hooks";
/// Environment: the King's socket.
pub const SOCKET: &str = "KING_HOOK_SOCKET";
/// Environment: the id of the push.
pub const PUSH: &str = "KING_HOOK_PUSH";
const NAME: &str = "pre-receive";

/// Lets Git find the hook: a link to the King's own program.
pub(super) fn install(folder: &Path, king: &Path) -> io::Result<()> {
    let hooks = folder.join(FOLDER);
    std::fs::create_dir_all(&hooks)?;
    let link = hooks.join(NAME);
    if std::fs::read_link(&link).is_ok_and(|target| target == king) {
        return Ok(());
    }
    match std::fs::remove_file(&link) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => std::os::unix::fs::symlink(king, &link),
    }
}

/// Whether this process was started as the hook: by the name `pre-receive`, or as `king hook`.
pub fn is_called() -> bool {
    let mut arguments = std::env::args_os();
    let name = arguments.next().is_some_and(|name| Path::new(&name).file_name() == Some(OsStr::new(NAME)));
    name || arguments.next().is_some_and(|mode| mode == "hook")
}

/// Runs as the hook, to its end.
pub fn run() -> ExitCode {
    match carry() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("king: the push could not be handed to the King: {error}; push again");
            ExitCode::FAILURE
        }
    }
}

fn carry() -> io::Result<u8> {
    let variable = |name: &str| {
        let missing = || io::Error::other(format!("{name} is not set; only the King runs this hook"));
        std::env::var_os(name).ok_or_else(missing)
    };
    let (socket, push) = (PathBuf::from(variable(SOCKET)?), variable(PUSH)?);
    let quarantine = std::env::var_os("GIT_QUARANTINE_PATH").unwrap_or_default();
    let quarantine = Path::new(&quarantine).file_name().unwrap_or_default();
    let mut lines = Vec::new();
    io::stdin().lock().read_to_end(&mut lines)?;
    let mut stream = connect(&socket)?;
    let head = format!("push {}\nquarantine {}\n", push.display(), quarantine.display());
    stream.write_all(head.as_bytes())?;
    stream.write_all(&lines)?;
    stream.write_all(b"end\n")?;
    listen(stream)
}

fn listen(stream: UnixStream) -> io::Result<u8> {
    for line in BufReader::new(stream).lines() {
        let line = line?;
        match line.split_once(' ') {
            Some(("say", text)) => eprintln!("{text}"),
            Some(("exit", code)) => return code.parse().map_err(io::Error::other),
            Some(_) | None => return Err(io::Error::other(format!("the King said {line:?}"))),
        }
    }
    Err(io::Error::other("the King hung up"))
}

/// Connects by way of the folder's descriptor: the path of a socket may have 107 bytes only.
fn connect(socket: &Path) -> io::Result<UnixStream> {
    let folder = File::open(socket.parent().unwrap_or(Path::new("/")))?;
    UnixStream::connect(short_path(&folder, socket))
}

/// A path of a few bytes that names the same socket while the folder is open.
pub(super) fn short_path(folder: &File, socket: &Path) -> PathBuf {
    Path::new("/proc/self/fd")
        .join(folder.as_raw_fd().to_string())
        .join(socket.file_name().unwrap_or_default())
}
