//! Keeps one program running: starts it, starts it again when it dies, ends it when told to.

use super::leftovers::{Life, MARK};
use super::log::Log;
use super::plan::Program;
use super::say;
use crate::failure::Failure;
use anyhow::{Context, anyhow};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use service::Shutdown;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A program that ran this long counts as sound again.
const STEADY: Duration = Duration::from_secs(10);

/// When to say what is waited for.
const SAY_AFTER: Duration = Duration::from_secs(10);

/// A program and the task that keeps it.
pub struct Keeper {
    program: Program,
    log: Log,
    end: Shutdown,
    grace: watch::Sender<Duration>,
    deaths: watch::Receiver<Option<ExitStatus>>,
    task: JoinHandle<()>,
}

impl Keeper {
    /// Starts a program and keeps it running from now on.
    ///
    /// # Errors
    /// When it cannot be started at all.
    pub fn start(program: Program, hurry: &Shutdown) -> Result<Self, Failure> {
        let log = Log::follow(&program.name, &program.log)?;
        let child = spawn(&program)?;
        let (deaths_sender, deaths) = watch::channel(None);
        let end = Shutdown::by_hand();
        let (grace, granted) = watch::channel(program.grace);
        let care = Care {
            program: program.clone(),
            log: log.clone(),
            end: end.clone(),
            hurry: hurry.clone(),
            grace: granted,
            deaths: deaths_sender,
        };
        Ok(Self { program, log, end, grace, deaths, task: tokio::spawn(care.keep(child)) })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.program.name
    }

    /// Waits until it dies for the first time.
    pub async fn death(&self) -> String {
        let mut deaths = self.deaths.clone();
        match deaths.wait_for(Option::is_some).await {
            Ok(status) => status.map_or_else(String::new, |status| status.to_string()),
            Err(_) => "no longer kept".to_owned(),
        }
    }

    /// A failure with the last lines of its log.
    pub fn with_last_words(&self, failure: Failure) -> Failure {
        let words = self.log.last_lines();
        match failure {
            Failure::Failed(error) => {
                Failure::Failed(anyhow!("{error:#}\nthe end of {}:\n{words}", self.program.log.display()))
            }
            failure => failure,
        }
    }

    /// Whether it is a Servant.
    pub fn is_servant(&self) -> bool {
        is_servant(&self.program)
    }

    /// Gives it this long to end, if it has less.
    pub fn grant(&self, grace: Duration) {
        self.grace.send_modify(|granted| *granted = grace.max(*granted));
    }

    /// Asks it to end, without waiting.
    pub fn ask_to_end(&self) {
        self.end.request();
    }

    /// Ends it, and waits until it is gone.
    pub async fn stop(self) {
        self.end.request();
        if let Err(error) = self.task.await {
            say(&format!("{}: its keeper failed: {error}\n", self.program.name));
        }
        self.log.stop();
    }
}

/// What the task needs.
struct Care {
    program: Program,
    log: Log,
    end: Shutdown,
    hurry: Shutdown,
    grace: watch::Receiver<Duration>,
    deaths: watch::Sender<Option<ExitStatus>>,
}

impl Care {
    async fn keep(self, first: Child) {
        let mut pause = FIRST_PAUSE;
        let mut child = first;
        loop {
            let started = Instant::now();
            let pid = child.id().unwrap_or_default();
            tokio::select! {
                status = child.wait() => self.tell_death(pid, status, started.elapsed(), pause),
                () = self.end.requested() => return self.end(child).await,
            }
            pause = if started.elapsed() >= STEADY { FIRST_PAUSE } else { pause };
            child = match self.again(pause).await {
                Some(child) => child,
                None => return,
            };
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn tell_death(&self, pid: u32, status: std::io::Result<ExitStatus>, lived: Duration, pause: Duration) {
        let name = &self.program.name;
        match status {
            Ok(status) => {
                let pause = if lived >= STEADY { FIRST_PAUSE } else { pause };
                say(&format!(
                    "{name} (pid {pid}) ended after {lived:.1?} ({status}); starting it again in {pause:?}; the end of its log:\n{}",
                    self.log.last_lines()
                ));
                self.deaths.send_replace(Some(status));
            }
            Err(error) => say(&format!("{name} (pid {pid}) could not be waited for: {error}\n")),
        }
    }

    /// Starts it again, however often it takes; none when it shall end.
    async fn again(&self, mut pause: Duration) -> Option<Child> {
        loop {
            tokio::select! {
                () = sleep(pause) => {}
                () = self.end.requested() => return None,
            }
            match spawn(&self.program) {
                Ok(child) => {
                    say(&format!(
                        "{} runs again, as pid {}\n",
                        self.program.name,
                        child.id().unwrap_or_default()
                    ));
                    return Some(child);
                }
                Err(failure) => say(&format!("{}: {failure:?}; trying again\n", self.program.name)),
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// SIGTERM, then SIGKILL for the whole group.
    async fn end(self, mut child: Child) {
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // One that ended meanwhile is what was wanted.
            let _ = kill_process(pid, Signal::TERM);
        }
        let in_time = tokio::select! {
            ended = self.ends_by_itself(&mut child) => ended,
            () = self.hurry.requested() => false,
        };
        if !in_time {
            say(&format!("{} did not end in time; killing it{}\n", self.program.name, self.what_lives_on()));
            kill_group(&child);
            let _ = child.wait().await;
        }
        // What stays names a life that is over, so the next start passes over it; but the disk may be in trouble.
        if let Err(error) = std::fs::remove_file(&self.program.pid)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            say(&format!("could not remove {}: {error}\n", self.program.pid.display()));
        }
    }

    async fn ends_by_itself(&self, child: &mut Child) -> bool {
        let grace = *self.grace.borrow();
        let first = SAY_AFTER.min(grace);
        if timeout(first, child.wait()).await.is_ok() {
            return true;
        }
        if grace > first {
            say(&format!(
                "{} still stops; it may take up to {grace:?}, as long as its slowest app is allowed to; another Ctrl-C does not wait for it\n",
                self.program.name
            ));
        }
        timeout(grace - first, child.wait()).await.is_ok()
    }

    /// Instances outlive their Servant: then it is a promise that is kept, and must be said.
    fn what_lives_on(&self) -> &'static str {
        if is_servant(&self.program) {
            "; instances that it ran may live on: the next start finds them, and `kingctl app stop` ends them then"
        } else {
            ""
        }
    }
}

fn is_servant(program: &Program) -> bool {
    program.name.starts_with("servant-")
}

/// SIGKILL for the group of a child that is not reaped yet, so that its number is its own.
fn kill_group(child: &Child) {
    let group = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    // One that ended meanwhile is what was wanted.
    let _ = group.map(|group| kill_process_group(group, Signal::KILL));
}

fn spawn(program: &Program) -> Result<Child, Failure> {
    let output = Log::open_for_append(&program.log)?;
    let errors = output.try_clone()?;
    let mut child = Command::new(&program.path)
        .args(&program.arguments)
        .env(MARK, &program.pid)
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .process_group(0)
        .spawn()
        .with_context(|| {
            format!(
                "could not start {} ({}); is it built and installed? `make build` and scripts/bootstrap do that",
                program.name,
                program.path.display()
            )
        })?;
    let recorded = child.id().and_then(Life::of).map_or(Ok(()), |life| life.record(&program.pid));
    if let Err(error) = recorded {
        // Nobody would know of it. The task that tokio has for such children reaps it.
        kill_group(&child);
        child.start_kill().with_context(|| format!("could not kill {} again", program.name))?;
        let what = format!("could not write {}, so {} does not run", program.pid.display(), program.name);
        return Err(Failure::from(anyhow::Error::new(error).context(what)));
    }
    Ok(child)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::up::leftovers;

    #[tokio::test]
    async fn what_cannot_be_recorded_does_not_run() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let pids = folder.path().join("missing");
        let program = Program {
            name: "king".into(),
            path: "sleep".into(),
            arguments: vec!["600".into()],
            log: folder.path().join("log"),
            pid: pids.join("king"),
            grace: Duration::ZERO,
        };
        let failure = spawn(&program).expect_err("there is no folder for the pid file");
        assert!(format!("{failure:?}").contains("king does not run"), "{failure:?}");
        // SIGKILL was sent already; this waits until it has its effect.
        for left in leftovers::find(&pids).expect("it can be looked for") {
            assert!(left.process.ends_within(Duration::from_secs(20)).await.expect("it can be waited for"));
        }
    }
}
