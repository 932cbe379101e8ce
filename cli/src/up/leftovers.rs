//! Programs that an earlier `kingctl up` left behind when it was killed: found by their pid files, or by the mark in
//! their environment where the file was not written any more, and ended, so that nobody runs twice.

mod life;

pub use life::Life;

use super::say;
use crate::failure::Failure;
use anyhow::{Context, anyhow};
use life::Held;
use service::Shutdown;
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The environment variable that marks a program as started by `kingctl up`: the path of its pid file. Instances do
/// not inherit it, since a Servant gives them an environment of their own.
pub const MARK: &str = "KING_UP";
/// How long one may take to end. A Servant that is killed has lost nothing: the next one finds its instances.
const GRACE: Duration = Duration::from_secs(20);

/// One that was left behind.
pub(super) struct Left {
    name: String,
    pub(super) process: Held,
    file: PathBuf,
}

/// Ends what was left behind, Servants first and nats-server last.
///
/// # Errors
/// When the pid files cannot be read, one cannot be killed, or the end is asked for meanwhile.
pub async fn end(pids: &Path, shutdown: &Shutdown) -> Result<(), Failure> {
    let mut left = find(pids)?;
    left.sort_by_key(|left| order(&left.name));
    if !left.is_empty() {
        let names: Vec<_> =
            left.iter().map(|left| format!("{} (pid {})", left.name, left.process.pid())).collect();
        say(&format!(
            "an earlier `kingctl up` was killed and left these running; ending them: {}\n",
            names.join(", ")
        ));
    }
    for left in left {
        tokio::select! {
            biased;
            () = shutdown.requested() => return Err(Failure::Failed(anyhow!(
                "told to stop while ending what an earlier `kingctl up` left; the rest still runs, and the next start ends it"
            ))),
            ended = end_one(&left) => ended?,
        }
    }
    Ok(())
}

/// SIGTERM, then SIGKILL for the whole group; its pid file stays until it is gone.
async fn end_one(left: &Left) -> Result<(), Failure> {
    let Left { name, process, file } = left;
    process
        .terminate()
        .with_context(|| format!("could not send SIGTERM to {name} (pid {})", process.pid()))?;
    if !process.ends_within(GRACE).await? {
        let instances = if name.starts_with("servant-") {
            "; its instances live on, and the one that starts now takes them over"
        } else {
            ""
        };
        say(&format!("{name} did not end within {GRACE:?}; killing it{instances}\n"));
        process.kill().with_context(|| format!("could not kill {name} (pid {})", process.pid()))?;
        if !process.ends_within(GRACE).await? {
            return Err(Failure::Failed(anyhow!(
                "{name} (pid {}) does not end even after SIGKILL: it waits for the kernel, for example for a disk; \
                 see what `cat /proc/{0}/stack` says as root, and start again when it is gone",
                process.pid()
            )));
        }
    }
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Failure::from(anyhow!(error).context(format!("could not remove {}", file.display()))))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn order(name: &str) -> u8 {
    match name {
        "nats" | "nats-1" | "nats-2" | "nats-3" => 4,
        "king" => 3,
        "foreman" => 2,
        "alerter" => 1,
        _ => 0,
    }
}

pub(super) fn find(pids: &Path) -> Result<Vec<Left>, Failure> {
    let mut found = BTreeMap::new();
    for (life, file) in recorded(pids)?.into_iter().chain(marked(pids)?) {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let held = life.hold().with_context(|| format!("could not look at {name} (pid {})", life.pid()))?;
        if let Some(process) = held {
            found.insert(life.pid(), Left { name, process, file });
        }
    }
    Ok(found.into_values().collect())
}

/// By pid file.
fn recorded(pids: &Path) -> Result<Vec<(Life, PathBuf)>, Failure> {
    let entries = match std::fs::read_dir(pids) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Failure::from(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.context("could not read the pid files")?.path();
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("could not read {}", path.display()))?;
        found.extend(Life::parse(&text).map(|life| (life, path)));
    }
    Ok(found)
}

/// By mark: those that lead a group of their own, as every program does that `kingctl up` starts, and no child of one.
fn marked(pids: &Path) -> Result<Vec<(Life, PathBuf)>, Failure> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").context("could not read /proc")? {
        let name = entry.context("could not read /proc")?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        // One that ended meanwhile, or somebody else's.
        let (Some(life), Ok(environment)) = (Life::of(pid), std::fs::read(format!("/proc/{pid}/environ")))
        else {
            continue;
        };
        let file =
            environment.split(|byte| *byte == 0).find_map(mark).filter(|file| file.parent() == Some(pids));
        found.extend(file.filter(|_| life.leads_a_group()).map(|file| (life, file)));
    }
    Ok(found)
}

fn mark(variable: &[u8]) -> Option<PathBuf> {
    let value = variable.strip_prefix(MARK.as_bytes())?.strip_prefix(b"=")?;
    Some(PathBuf::from(std::ffi::OsStr::from_bytes(value)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command};

    fn sleeper(file: &Path) -> Child {
        let mut sleep = Command::new("sleep");
        let child = sleep.arg("600").env(MARK, file).process_group(0).spawn().expect("sleep starts");
        // The kernel lets the parent go on before it shows the environment of the child.
        let environment = format!("/proc/{}/environ", child.id());
        while std::fs::read(&environment).expect("it runs").is_empty() {
            std::thread::yield_now();
        }
        child
    }

    /// Life's end is seen by its parent, which is this process.
    async fn is_ended(mut child: Child, pids: &Path) {
        let life = Life::of(child.id()).expect("it runs");
        end(pids, &Shutdown::by_hand()).await.expect("ended");
        assert!(!child.wait().expect("it ended").success());
        assert!(life.hold().expect("it can be looked at").is_none());
    }

    #[tokio::test]
    async fn what_was_left_is_ended() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let child = sleeper(Path::new("/elsewhere"));
        let file = folder.path().join("king");
        Life::of(child.id()).expect("it runs").record(&file).expect("written");
        std::fs::write(folder.path().join("nats"), "1 1\n").expect("written");
        is_ended(child, folder.path()).await;
        assert!(!file.exists());
    }

    #[tokio::test]
    async fn what_was_left_without_a_pid_file_is_ended_too() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut stranger = sleeper(Path::new("/elsewhere/king"));
        is_ended(sleeper(&folder.path().join("king")), folder.path()).await;
        assert!(stranger.try_wait().expect("it can be looked at").is_none(), "it lives");
        stranger.kill().expect("killed");
        stranger.wait().expect("it ended");
    }

    #[tokio::test]
    async fn who_is_told_to_stop_waits_for_nobody() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut child = sleeper(&folder.path().join("king"));
        let shutdown = Shutdown::by_hand();
        shutdown.request();
        let failure = end(folder.path(), &shutdown).await.expect_err("told to stop");
        assert!(format!("{failure:?}").contains("told to stop"), "{failure:?}");
        assert!(child.try_wait().expect("it can be looked at").is_none(), "it lives");
        child.kill().expect("killed");
        child.wait().expect("it ended");
    }
}
