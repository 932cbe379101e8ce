//! The few calls that Rust cannot check: a fork that goes on as a holder, and a fork that becomes a program. Both happen
//! in processes of one thread. Nothing here decides anything; [`super::launch`] and [`super::stem`] do.
#![allow(unsafe_code, reason = "fork, and what happens between fork and exec, has no safe form")]

use super::launch::{Executable, Prepared};
use super::words::Confinement;
use libc::{c_char, c_int};
use rustix::process::{Pid, PidfdFlags, WaitOptions, pidfd_open, waitpid};
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// As in linux/sched.h; the crate's own constant is too narrow for it.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Makes this the standard input or standard error of the process, in place of what it was.
///
/// # Errors
/// When the descriptor cannot be copied.
pub fn stand_in(number: Standard, file: &File) -> io::Result<()> {
    let number = match number {
        Standard::Input => libc::STDIN_FILENO,
        Standard::Errors => libc::STDERR_FILENO,
    };
    // SAFETY: nobody owns these two numbers but the process itself.
    if unsafe { libc::dup2(file.as_raw_fd(), number) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// A standard descriptor.
#[derive(Clone, Copy)]
pub enum Standard {
    Input,
    Errors,
}

/// Goes on in two processes: none in the child.
///
/// # Errors
/// When there can be no more processes.
pub fn fork() -> io::Result<Option<Pid>> {
    // SAFETY: the process has one thread, so the child has all that its memory says it has.
    match unsafe { libc::fork() } {
        0 => Ok(None),
        pid => parent_of(i64::from(pid)).map(Some),
    }
}

/// The child that a fork gave, or why it gave none.
fn parent_of(pid: i64) -> io::Result<Pid> {
    let pid = i32::try_from(pid).ok().filter(|pid| *pid > 0).and_then(Pid::from_raw);
    pid.ok_or_else(io::Error::last_os_error)
}

/// What becomes of children that end.
#[derive(Clone, Copy)]
pub enum Children {
    /// The kernel reaps them.
    Forgotten,
    /// They wait to be reaped.
    Kept,
}

/// Sets what becomes of children that end.
pub fn keep_children(children: Children) {
    let action = match children {
        Children::Forgotten => libc::SIG_IGN,
        Children::Kept => libc::SIG_DFL,
    };
    // SAFETY: no handler is set, only what the kernel does.
    unsafe { libc::signal(libc::SIGCHLD, action) };
}

/// From now on this can be read whenever a child has ended; one that is started gets the signal as ever.
///
/// # Errors
/// When the kernel refuses it.
pub fn ends_of_children() -> io::Result<File> {
    // SAFETY: the set is filled before it is used, and the descriptor is nobody else's.
    unsafe {
        let mut ends: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut ends);
        libc::sigaddset(&raw mut ends, libc::SIGCHLD);
        if libc::sigprocmask(libc::SIG_BLOCK, &raw const ends, std::ptr::null_mut()) < 0 {
            return Err(io::Error::last_os_error());
        }
        match libc::signalfd(-1, &raw const ends, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
            -1 => Err(io::Error::last_os_error()),
            descriptor => Ok(File::from_raw_fd(descriptor)),
        }
    }
}

/// Names this process, for those who list processes and for those who end them by name.
pub fn rename(name: &CStr) {
    // SAFETY: the kernel copies at most 16 bytes of a text that ends with a zero byte.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

/// Where the arguments of this process are, and of what is forked from it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Title {
    begin: usize,
    end: usize,
}

impl Title {
    /// Looks for it. Empty where the kernel does not tell.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn find() -> io::Result<Self> {
        let stat = std::fs::read_to_string("/proc/self/stat")?;
        let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        // Fields 48 and 49 of proc(5): the first one here is field 3.
        let mut places =
            fields.split_ascii_whitespace().skip(45).map_while(|field| field.parse::<usize>().ok());
        let (begin, end) = (places.next().unwrap_or_default(), places.next().unwrap_or_default());
        Ok(Self { begin, end })
    }

    /// Writes over the end of the arguments. Does nothing where there is no room.
    pub fn end_with(self, tail: &[u8]) {
        if self.begin != 0 && self.end.saturating_sub(self.begin) > tail.len() {
            let place = (self.end - 1 - tail.len()) as *mut u8;
            // SAFETY: the kernel put the arguments there, writable and ended by a zero byte, and nobody else reads them now.
            unsafe { std::ptr::copy_nonoverlapping(tail.as_ptr(), place, tail.len()) };
        }
    }
}

/// A process that was started, and how to wait for it.
pub struct Launched {
    pub pid: Pid,
    pub exit: OwnedFd,
}

/// Starts a program; an error of any step before it runs is returned.
///
/// # Errors
/// When there can be no more processes, or what the child found.
pub fn launch(prepared: &mut Prepared, report: File, outcome: &mut File) -> io::Result<Launched> {
    let launched = match clone3(prepared, &report) {
        // A kernel, or what stands before it, that does not know the call.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
            forked(prepared, &report)?
        }
        other => other?,
    };
    drop(report);
    match super::launch::failure(outcome)? {
        None => Ok(launched),
        Some(error) => {
            // It ends by itself; nobody else reaps it.
            let _ = waitpid(Some(launched.pid), WaitOptions::empty());
            Err(error)
        }
    }
}

/// Room for what the child calls before it runs the program.
#[cfg(target_arch = "x86_64")]
const CHILD_STACK: usize = 64 * 1024;

/// What the child is given.
#[cfg(target_arch = "x86_64")]
struct Task<'a> {
    prepared: &'a mut Prepared,
    report: RawFd,
}

/// A child that borrows the memory of this process until it runs the program, as with vfork(2): nothing is copied, not
/// even tables of pages, and this process stands still meanwhile. The child has a stack of its own.
#[cfg(target_arch = "x86_64")]
fn clone3(prepared: &mut Prepared, report: &File) -> io::Result<Launched> {
    let mut stack: Vec<u128> = Vec::with_capacity(CHILD_STACK / size_of::<u128>());
    let (mut how, mut pidfd) = (how_to_clone(prepared), -1);
    how.flags |= (libc::CLONE_VM | libc::CLONE_VFORK) as u64;
    how.pidfd = &raw mut pidfd as u64;
    how.stack = stack.as_mut_ptr() as u64;
    how.stack_size = CHILD_STACK as u64;
    let mut task = Task { prepared, report: report.as_raw_fd() };
    let pid: i64;
    // SAFETY: the child begins on its own stack, which is aligned as a call wants it, and never comes back out of this
    // block. This process goes on when the child has let go of its memory, for good; what it wrote there is in `task` and
    // in `stack`, which live until then.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 => pid,
            in("rdi") &raw const how,
            in("rsi") size_of_val(&how),
            in("r12") &raw mut task,
            in("r13") begin as unsafe extern "C" fn(*mut Task<'_>) -> !,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    let pid = match i32::try_from(-pid) {
        Ok(error) if error > 0 => return Err(io::Error::from_raw_os_error(error)),
        Ok(_) | Err(_) => parent_of(pid)?,
    };
    // SAFETY: the kernel has just opened it for us.
    let exit = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Launched { pid, exit })
}

/// The first call of the child.
#[cfg(target_arch = "x86_64")]
unsafe extern "C" fn begin(task: *mut Task<'_>) -> ! {
    // SAFETY: this is the child, and who made the task stands still.
    unsafe { become_program((*task).prepared, (*task).report) }
}

/// A child with a copy of all memory.
#[cfg(not(target_arch = "x86_64"))]
fn clone3(prepared: &mut Prepared, report: &File) -> io::Result<Launched> {
    let (mut how, mut pidfd) = (how_to_clone(prepared), -1);
    how.pidfd = &raw mut pidfd as u64;
    // SAFETY: like fork: the child has a copy of all memory, and calls only what may be called there before it runs
    // another program or ends.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const how, size_of_val(&how)) };
    if pid == 0 {
        // SAFETY: this is that child.
        unsafe { become_program(prepared, report.as_raw_fd()) }
    }
    let pid = parent_of(pid)?;
    // SAFETY: the kernel has just opened it for us.
    let exit = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Launched { pid, exit })
}

/// A child with a descriptor of it, born in its control group.
fn how_to_clone(prepared: &Prepared) -> libc::clone_args {
    // SAFETY: every field of this structure may be zero.
    let mut how: libc::clone_args = unsafe { std::mem::zeroed() };
    how.flags = libc::CLONE_PIDFD as u64;
    how.exit_signal = libc::SIGCHLD as u64;
    if let Some(cgroup) = &prepared.cgroup {
        how.flags |= CLONE_INTO_CGROUP;
        how.cgroup = cgroup.as_raw_fd() as u64;
    }
    how
}

fn forked(prepared: &mut Prepared, report: &File) -> io::Result<Launched> {
    let Some(pid) = fork()? else {
        // SAFETY: this is the child.
        unsafe { become_program(prepared, report.as_raw_fd()) }
    };
    // It is not reaped yet, so the number is its own.
    Ok(Launched { pid, exit: pidfd_open(pid, PidfdFlags::empty())? })
}

/// The child between fork and exec: no memory is taken, no lock, nothing is returned.
unsafe fn become_program(prepared: &mut Prepared, report: RawFd) -> ! {
    // SAFETY: all pointers were made before the fork and live until the exec; all calls are safe after a fork.
    unsafe {
        // Where the descriptors that it shall have are not in its way.
        let report = libc::fcntl(report, libc::F_DUPFD_CLOEXEC, first_free(prepared));
        let failed = match arrange(prepared) {
            Ok(()) => execute(&prepared.executables, prepared.environment.as_ptr()),
            Err(error) => error,
        };
        let bytes = failed.to_ne_bytes();
        libc::write(report, bytes.as_ptr().cast(), bytes.len());
        libc::_exit(127)
    }
}

fn errno() -> c_int {
    // SAFETY: it is the calling thread's own.
    unsafe { *libc::__errno_location() }
}

fn check(result: c_int) -> Result<(), c_int> {
    if result < 0 { Err(errno()) } else { Ok(()) }
}

/// The first descriptor that is none of those which the program shall have.
fn first_free(prepared: &Prepared) -> c_int {
    c_int::try_from(prepared.descriptors.len()).unwrap_or(c_int::MAX)
}

unsafe fn arrange(prepared: &mut Prepared) -> Result<(), c_int> {
    // SAFETY: see `become_program`.
    unsafe {
        check(libc::setsid())?;
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        check(libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut()))?;
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        // First all out of the way of the numbers that they shall have, then each to its own.
        let free = first_free(prepared);
        for descriptor in &mut prepared.descriptors {
            *descriptor = libc::fcntl(*descriptor, libc::F_DUPFD_CLOEXEC, free);
            check(*descriptor)?;
        }
        for (number, descriptor) in (0..).zip(&prepared.descriptors) {
            check(libc::dup2(*descriptor, number))?;
        }
        prepared.listen_pid.write(libc::getpid());
        join(&prepared.joined)?;
        // Before the user is changed: the way there may be open to the servant alone.
        check(libc::chdir(prepared.directory.as_ptr()))?;
        confine(&prepared.confinement)
    }
}

/// Puts this process into these control groups, by their lists, and confines it: for a child between fork and exec, in which
/// no memory may be taken.
///
/// # Errors
/// When the system refuses one of it. Some may have been done.
pub fn confine_self(joined: &[OwnedFd], confinement: &Confinement) -> io::Result<()> {
    // SAFETY: these are calls of the system alone, and what they are given outlives them.
    unsafe { join(joined).and_then(|()| confine(confinement)) }.map_err(io::Error::from_raw_os_error)
}

unsafe fn join(groups: &[OwnedFd]) -> Result<(), c_int> {
    for group in groups {
        // SAFETY: see `become_program`.
        check_written(unsafe { libc::write(group.as_raw_fd(), c"0".as_ptr().cast(), 1) })?;
    }
    Ok(())
}

unsafe fn confine(confinement: &Confinement) -> Result<(), c_int> {
    // SAFETY: see `become_program`.
    unsafe {
        if let Some(most) = confinement.open_files {
            let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
            check(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit))?;
        }
        if let Some(most) = confinement.data_bytes {
            let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
            check(libc::setrlimit(libc::RLIMIT_DATA, &raw const limit))?;
        }
        if let Some(nice) = confinement.nice {
            check(libc::setpriority(libc::PRIO_PROCESS, 0, nice.into()))?;
        }
        let Some(user) = &confinement.user else {
            return Ok(());
        };
        check(libc::setgroups(user.groups.len(), user.groups.as_ptr()))?;
        check(libc::setresgid(user.gid, user.gid, user.gid))?;
        check(libc::setresuid(user.uid, user.uid, user.uid))
    }
}

fn check_written(count: isize) -> Result<(), c_int> {
    if count < 0 { Err(errno()) } else { Ok(()) }
}

/// Tries each place of the program; returns why none could be run.
unsafe fn execute(executables: &[Executable], environment: *const *const c_char) -> c_int {
    let mut failed = libc::ENOENT;
    for executable in executables {
        // SAFETY: see `become_program`.
        unsafe {
            libc::execve(executable.path.as_ptr(), executable.arguments.as_ptr(), environment);
            if errno() == libc::ENOEXEC {
                // A script that does not name what runs it, as execvp(3) does.
                libc::execve(c"/bin/sh".as_ptr(), executable.as_script.as_ptr(), environment);
            }
        }
        match errno() {
            libc::ENOENT | libc::ENOTDIR if failed != libc::EACCES => failed = libc::ENOENT,
            libc::ENOENT | libc::ENOTDIR => {}
            libc::EACCES => failed = libc::EACCES,
            other => return other,
        }
    }
    failed
}
