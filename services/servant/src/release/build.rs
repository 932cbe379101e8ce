//! Building a release: its build command, once, in its tree, with its output in a file and a limit on its time.

use crate::spec::Spec;
use events::manifest::CommandLine;
use rustix::process::{Pid, Signal, kill_process_group};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::process::Command;

/// How long a build may take.
pub const BUILD_LIMIT: Duration = Duration::from_secs(15 * 60);
/// The variable by which the builds of a dead Servant are found.
pub const BUILDER_VARIABLE: &str = "KING_BUILDER";
/// How much of a build's output is told when it fails.
const LAST_LINES: usize = 20;
const LAST_BYTES: u64 = 6 * 1024;

/// What every process of the kingdom finds in its environment, whatever the Servant's own holds.
pub fn base_environment(home: &Path, path: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("PATH".to_owned(), path.to_owned()),
        ("HOME".to_owned(), home.display().to_string()),
        ("LANG".to_owned(), "C.UTF-8".to_owned()),
    ])
}

/// Why a build failed.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("the build could not be started: {0}")]
    Start(#[source] io::Error),
    #[error("the build ended with {status}; its last lines:\n{last}")]
    Failed { status: ExitStatus, last: String },
    #[error("the build took longer than {} s and was killed; its last lines:\n{last}", limit.as_secs())]
    TooLong { limit: Duration, last: String },
}

/// Runs a build to its end.
///
/// # Errors
/// When it cannot be started, fails, or takes too long.
pub async fn build(
    command: &CommandLine,
    spec: &Spec,
    tree: &Path,
    log: &Path,
    base: BTreeMap<String, String>,
    limit: Duration,
) -> Result<(), BuildError> {
    let arguments = command.argv();
    let output = File::create(log).map_err(BuildError::Start)?;
    let errors = output.try_clone().map_err(BuildError::Start)?;
    let (program, arguments) = arguments.split_first().ok_or_else(|| {
        BuildError::Start(io::Error::new(io::ErrorKind::InvalidInput, "the build command is empty"))
    })?;
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(base)
        .envs(release_environment(spec))
        .current_dir(tree)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .kill_on_drop(true)
        .spawn()
        .map_err(BuildError::Start)?;
    let group = Group(child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)));
    let ended = tokio::time::timeout(limit, child.wait()).await;
    drop(group);
    match ended {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(BuildError::Failed { status, last: last_lines(log) }),
        Ok(Err(error)) => Err(BuildError::Start(error)),
        Err(_) => Err(BuildError::TooLong { limit, last: last_lines(log) }),
    }
}

/// Kills the group of a build when it ends, however it ends.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // Mostly nobody is left in it.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

fn release_environment(spec: &Spec) -> BTreeMap<String, OsString> {
    BTreeMap::from([
        ("KING_APP".to_owned(), spec.key.app.to_string().into()),
        ("KING_RELEASE".to_owned(), spec.key.release.to_string().into()),
        ("KING_VERSION".to_owned(), spec.version.to_string().into()),
    ])
}

fn last_lines(log: &Path) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LAST_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(LAST_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_else(|error| format!("(its output cannot be read: {error})").into_bytes());
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
}
