//! A program under test as a process of its own, in a process group of its own, with its output in a file.

use crate::wait;
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::{OsStr, OsString};
use std::fs::OpenOptions;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// How to start a program, and the process that runs, if one does.
#[derive(Debug)]
pub struct Process {
    pub name: String,
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(String, OsString)>,
    log: PathBuf,
    child: Option<Child>,
}

impl Process {
    /// A program that is not started yet. Its output goes to `<logs>/<name>.log`.
    pub fn new<A: AsRef<OsStr>>(
        name: &str,
        logs: &Path,
        program: PathBuf,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            program,
            arguments: arguments.into_iter().map(|argument| argument.as_ref().to_owned()).collect(),
            environment: clean_environment(),
            log: logs.join(format!("{name}.log")),
            child: None,
        }
    }

    /// Adds an argument for the next start.
    pub fn argument(&mut self, argument: impl AsRef<OsStr>) {
        self.arguments.push(argument.as_ref().to_owned());
    }

    /// Puts another argument in the place of one, for the next start.
    pub fn replace_argument(&mut self, old: impl AsRef<OsStr>, new: impl AsRef<OsStr>) {
        for argument in self.arguments.iter_mut().filter(|argument| **argument == *old.as_ref()) {
            *argument = new.as_ref().to_owned();
        }
    }

    /// Sets a variable of its environment for the next start.
    pub fn variable(&mut self, key: &str, value: impl AsRef<OsStr>) {
        self.environment.push((key.to_owned(), value.as_ref().to_owned()));
    }

    /// Takes a variable out of its environment for the next start.
    pub fn without_variable(&mut self, key: &str) {
        self.environment.retain(|(known, _)| known != key);
    }

    /// Whether it was started and not yet waited for: it may have ended by itself.
    pub fn runs(&self) -> bool {
        self.child.is_some()
    }

    /// Starts it.
    ///
    /// # Panics
    /// When it runs already, or cannot be started.
    pub fn start(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.name);
        let log =
            OpenOptions::new().create(true).append(true).open(&self.log).expect("the log can be written");
        let same = log.try_clone().expect("a file can be shared");
        let child = Command::new(&self.program)
            .args(&self.arguments)
            .env_clear()
            .envs(self.environment.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(same)
            .process_group(0)
            .spawn();
        let child =
            child.unwrap_or_else(|error| panic!("{} does not start: {error}", self.program.display()));
        self.child = Some(child);
    }

    /// Its process id.
    ///
    /// # Panics
    /// When it does not run.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap_or_else(|| panic!("{} does not run", self.name)).id()
    }

    /// Kills it with SIGKILL, as a power loss would, and waits for its end. What it started lives on.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill9(&mut self) {
        let mut child = self.child.take().unwrap_or_else(|| panic!("{} does not run", self.name));
        child.kill().expect("a child that was not waited for can be killed");
        child.wait().expect("a killed child ends");
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When it does not run.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).expect("a pid");
        kill_process(pid, signal).expect("a child that was not waited for can be signalled");
    }

    /// Waits until it ends by itself.
    ///
    /// # Panics
    /// When it does not within the time.
    pub async fn ended(&mut self, patience: Duration) -> ExitStatus {
        let what = format!("{} ends", self.name);
        wait::within(patience, &what, async || self.end().ok_or("it still runs")).await
    }

    /// Whether it has ended by itself.
    ///
    /// # Panics
    /// When it was never started.
    pub fn has_ended(&mut self) -> bool {
        self.end().is_some()
    }

    fn end(&mut self) -> Option<ExitStatus> {
        let child = self.child.as_mut().unwrap_or_else(|| panic!("{} does not run", self.name));
        let status = child.try_wait().expect("a child can be asked")?;
        self.child = None;
        Some(status)
    }

    /// What it has written so far, in all its lives.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The same for every program, whatever the shell of the tester has set.
pub fn clean_environment() -> Vec<(String, OsString)> {
    let mut path = OsString::from("/usr/local/bin:/usr/bin:/bin");
    if let Some(more) = std::env::var_os("PATH") {
        path.push(":");
        path.push(more);
    }
    let home = std::env::var_os("HOME").unwrap_or_else(|| "/".into());
    let mut environment =
        vec![("PATH".into(), path), ("HOME".into(), home), ("LANG".into(), "C.UTF-8".into())];
    // Who looks for a fault may let the services say more.
    environment.extend(std::env::var_os("KING_LOG").map(|filter| ("KING_LOG".into(), filter)));
    environment
}
