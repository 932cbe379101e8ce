//! What a program needs to be started, made ready before the fork: between fork and exec no memory may be taken.

use super::groups::Groups;
use super::raw::{self, Launched};
use super::words::{Confinement, StartOrder};
use libc::c_char;
use rustix::pipe::{PipeFlags, pipe_with};
use std::ffi::{CString, NulError};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

/// The variable that tells a process, and who looks for it, in which slot it runs.
pub const SLOT_VARIABLE: &str = "KING_SLOT";
/// Room for the number of a process in text.
const PID_DIGITS: usize = 10;

/// Where descriptors from 0 on come from.
pub struct Handed<'a> {
    pub input: BorrowedFd<'a>,
    pub output: BorrowedFd<'a>,
    pub errors: BorrowedFd<'a>,
    /// Sockets with their names, from 3 on.
    pub sockets: Vec<(&'a str, BorrowedFd<'a>)>,
}

/// Everything between fork and exec, as the kernel takes it.
pub struct Prepared {
    /// The sources of descriptors 0, 1, 2 and on.
    pub descriptors: Vec<RawFd>,
    pub directory: CString,
    pub executables: Vec<Executable>,
    pub environment: Vec<*const c_char>,
    pub listen_pid: ListenPid,
    /// The control group to be born in, and the lists of others to get into.
    pub cgroup: Option<OwnedFd>,
    pub joined: Vec<OwnedFd>,
    pub confinement: Confinement,
    _texts: Vec<CString>,
}

/// One place where the program may be.
pub struct Executable {
    pub path: CString,
    pub arguments: Vec<*const c_char>,
    /// For `/bin/sh`, if it turns out to be a script without a first line.
    pub as_script: Vec<*const c_char>,
}

/// The variable `LISTEN_PID` of sd_listen_fds(3): only the child knows its value.
pub struct ListenPid {
    text: Option<Box<[u8]>>,
}

impl ListenPid {
    const NAME: &[u8] = b"LISTEN_PID=";

    fn new(is_wanted: Wanted) -> Self {
        let text = match is_wanted {
            Wanted::Yes => {
                let mut text = Self::NAME.to_vec();
                text.resize(Self::NAME.len() + PID_DIGITS + 1, 0);
                Some(text.into_boxed_slice())
            }
            Wanted::No => None,
        };
        Self { text }
    }

    /// Puts the number in. Takes no memory.
    pub fn write(&mut self, pid: i32) {
        let Some(text) = &mut self.text else {
            return;
        };
        let mut digits = [0; PID_DIGITS];
        let (mut rest, mut count) = (pid.unsigned_abs(), 0);
        while rest > 0 && count < PID_DIGITS {
            digits[count] = b'0' + u8::try_from(rest % 10).unwrap_or(0);
            rest /= 10;
            count += 1;
        }
        for (place, digit) in text[Self::NAME.len()..].iter_mut().zip(digits[..count].iter().rev()) {
            *place = *digit;
        }
    }
}

enum Wanted {
    Yes,
    No,
}

/// Starts what is ordered.
///
/// # Errors
/// When it cannot be started: an order that holds a zero byte, no such program, no more processes.
pub fn launch(order: &StartOrder, handed: &Handed<'_>, groups: &Groups) -> io::Result<Launched> {
    let mut prepared = Prepared::new(order, handed, groups)?;
    let (outcome, report) = pipe_with(PipeFlags::CLOEXEC)?;
    raw::launch(&mut prepared, File::from(report), &mut File::from(outcome))
}

/// What the child says before it runs the program: nothing, or the number of an error.
pub fn failure(outcome: &mut File) -> io::Result<Option<io::Error>> {
    let mut said = Vec::new();
    outcome.take(4).read_to_end(&mut said)?;
    Ok(said.try_into().ok().map(|bytes| io::Error::from_raw_os_error(i32::from_ne_bytes(bytes))))
}

impl Prepared {
    fn new(order: &StartOrder, handed: &Handed<'_>, groups: &Groups) -> io::Result<Self> {
        let (cgroup, joined) = groups.open()?;
        let confinement = order.confinement.clone();
        let mut texts = Vec::new();
        let arguments: Vec<CString> =
            order.arguments.iter().map(|one| text(one)).collect::<Result<_, _>>()?;
        let places = order.arguments.first().map_or_else(Vec::new, |program| places(program, order));
        let executables =
            places.iter().map(|place| executable(place, &arguments)).collect::<Result<_, _>>()?;
        texts.extend(arguments);
        let listen_pid = ListenPid::new(if handed.sockets.is_empty() { Wanted::No } else { Wanted::Yes });
        let mut environment: Vec<*const c_char> = Vec::new();
        for variable in variables(order, handed) {
            let variable = text(&variable)?;
            environment.push(variable.as_ptr());
            texts.push(variable);
        }
        environment.extend(listen_pid.text.iter().map(|text| text.as_ptr().cast()));
        environment.push(std::ptr::null());
        let first = [handed.input, handed.output, handed.errors];
        let sockets = handed.sockets.iter().map(|(_, socket)| *socket);
        let descriptors = first.into_iter().chain(sockets).map(|fd| fd.as_raw_fd()).collect();
        let directory = CString::new(order.directory.as_os_str().as_encoded_bytes())?;
        Ok(Self {
            descriptors,
            directory,
            executables,
            environment,
            listen_pid,
            cgroup,
            joined,
            confinement,
            _texts: texts,
        })
    }
}

fn text(text: &str) -> Result<CString, NulError> {
    CString::new(text)
}

/// `NAME=value` of all variables but `LISTEN_PID`.
fn variables(order: &StartOrder, handed: &Handed<'_>) -> Vec<String> {
    let own = |name: &str| name == SLOT_VARIABLE || name.starts_with("LISTEN_");
    let given = order.environment.iter().filter(|(name, _)| !own(name));
    let mut variables: Vec<String> = given.map(|(name, value)| format!("{name}={value}")).collect();
    variables.push(format!("{SLOT_VARIABLE}={}", order.slot));
    if !handed.sockets.is_empty() {
        let names: Vec<&str> = handed.sockets.iter().map(|(name, _)| *name).collect();
        variables.push(format!("LISTEN_FDS={}", names.len()));
        variables.push(format!("LISTEN_FDNAMES={}", names.join(":")));
    }
    variables
}

/// Where a program may be: as execvp(3) looks for it, with the PATH that it will have.
fn places(program: &str, order: &StartOrder) -> Vec<PathBuf> {
    if program.is_empty() || program.contains('/') {
        return vec![PathBuf::from(program)];
    }
    let path = order.environment.get("PATH").map_or("/usr/local/bin:/usr/bin:/bin", String::as_str);
    path.split(':')
        .map(|folder| Path::new(if folder.is_empty() { "." } else { folder }).join(program))
        .collect()
}

fn executable(place: &Path, arguments: &[CString]) -> Result<Executable, NulError> {
    let path = CString::new(place.as_os_str().as_encoded_bytes())?;
    let all = || arguments.iter().map(|argument| argument.as_ptr());
    let end = std::iter::once(std::ptr::null());
    let as_script = [c"/bin/sh".as_ptr(), path.as_ptr()].into_iter().chain(all().skip(1)).chain(end.clone());
    let as_script = as_script.collect();
    Ok(Executable { arguments: all().chain(end).collect(), as_script, path })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_the_process_is_written_as_text() {
        for pid in [1, 42, 4_194_304, i32::MAX] {
            let mut listen = ListenPid::new(Wanted::Yes);
            listen.write(pid);
            let text = listen.text.unwrap();
            let end = text.iter().position(|byte| *byte == 0).unwrap();
            assert_eq!(&text[..end], format!("LISTEN_PID={pid}").as_bytes());
        }
    }

    #[test]
    fn programs_are_looked_for_where_the_app_would() {
        let mut order = StartOrder::default();
        assert_eq!(places("./run", &order), [Path::new("./run")]);
        order.environment.insert("PATH".into(), "/a::b".into());
        assert_eq!(places("run", &order), [Path::new("/a/run"), Path::new("./run"), Path::new("b/run")]);
    }
}
