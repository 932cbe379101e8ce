//! Git as a program: found once, and run with a clean environment and the King's own settings alone.

use super::GitOptions;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// Largest single allocation of a Git process, in bytes: against objects that unfold in memory.
const ALLOCATION_BYTES: u64 = 1 << 30;

/// The settings of every Git process; no file is read.
const SETTINGS: &[(&str, &str)] = &[
    ("safe.directory", "*"),
    ("core.fsync", "none"),
    ("core.bigFileThreshold", "32m"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("tar.umask", "0022"),
    ("http.receivepack", "true"),
    ("transfer.fsckObjects", "true"),
    ("receive.fsckObjects", "true"),
    // Harmless faults of old repositories.
    ("receive.fsck.zeroPaddedFilemode", "warn"),
    ("receive.fsck.missingSpaceBeforeDate", "warn"),
    ("receive.fsck.badTimezone", "warn"),
    ("receive.autogc", "false"),
    // Every push stays one pack: it is the body of its bundle.
    ("receive.unpackLimit", "1"),
    // What may be deleted or forced is decided before Git looks, by the King's own rules.
    ("receive.denyDeletes", "false"),
    ("receive.denyDeleteCurrent", "ignore"),
    ("receive.denyNonFastForwards", "false"),
];

/// Why a Git process did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    #[error("could not run `git {command}`")]
    Run { command: String, source: std::io::Error },
    #[error("`git {command}` failed ({status}): {message}")]
    Failed { command: String, status: ExitStatus, message: String },
    #[error("`git {command}` answered what was not expected: {answer:?}")]
    Answer { command: String, answer: String },
}

/// Git, as it is installed.
pub struct Git {
    folder: PathBuf,
    settings: Vec<(String, String)>,
}

impl Git {
    /// Asks Git where its programs lie.
    pub async fn find(options: &GitOptions) -> Result<Self, ProgramError> {
        let mut command = Command::new("git");
        command.arg("--exec-path");
        let answer = run(command, "--exec-path", Vec::new()).await?;
        let answer = String::from_utf8_lossy(&answer).trim().to_owned();
        let folder = PathBuf::from(&answer);
        if !folder.join("git-http-backend").is_file() || !folder.join("git").is_file() {
            return Err(ProgramError::Answer { command: "--exec-path".into(), answer });
        }
        let mut settings: Vec<(String, String)> =
            SETTINGS.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        settings.push(("receive.maxInputSize".into(), options.push_bytes.to_string()));
        settings.push((
            "core.hooksPath".into(),
            options.folder.join(super::hook::FOLDER).to_string_lossy().into_owned(),
        ));
        Ok(Self { folder, settings })
    }

    /// `git <arguments>` in a repository.
    pub fn command<S: AsRef<OsStr>>(&self, repository: &Path, arguments: &[S]) -> Command {
        let mut command = self.clean("git");
        command.args(arguments).current_dir(repository).env("GIT_DIR", repository);
        command
    }

    /// `git http-backend`.
    pub fn backend(&self) -> Command {
        self.clean("git-http-backend")
    }

    fn clean(&self, program: &str) -> Command {
        let mut command = Command::new(self.folder.join(program));
        let mut path = self.folder.clone().into_os_string();
        path.push(":/usr/local/bin:/usr/bin:/bin");
        command
            .env_clear()
            .env("PATH", path)
            .env("LC_ALL", "C")
            .env("HOME", "/nonexistent")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_NO_REPLACE_OBJECTS", "1")
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ALLOW_PROTOCOL", "none")
            .env("GIT_ALLOC_LIMIT", ALLOCATION_BYTES.to_string())
            .env("GIT_CONFIG_COUNT", self.settings.len().to_string());
        for (index, (key, value)) in self.settings.iter().enumerate() {
            command
                .env(format!("GIT_CONFIG_KEY_{index}"), key)
                .env(format!("GIT_CONFIG_VALUE_{index}"), value);
        }
        command.kill_on_drop(true);
        command
    }
}

/// Runs a command to its end with these bytes as its input, and returns its output.
pub async fn run(command: Command, name: &str, input: Vec<u8>) -> Result<Vec<u8>, ProgramError> {
    run_into(command, name, input, Stdio::piped()).await
}

/// Like [`run`], with its output to another place; what goes there is not returned.
pub async fn run_into(
    mut command: Command,
    name: &str,
    input: Vec<u8>,
    output: Stdio,
) -> Result<Vec<u8>, ProgramError> {
    let failed = |source| ProgramError::Run { command: name.to_owned(), source };
    let stdin = if input.is_empty() { Stdio::null() } else { Stdio::piped() };
    command.stdin(stdin).stdout(output).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    let stdin = child.stdin.take();
    let feed = async move {
        if let Some(mut stdin) = stdin {
            // A process that stops reading tells why by its status.
            let _ = stdin.write_all(&input).await;
        }
    };
    let ((), output) = tokio::join!(feed, child.wait_with_output());
    let output = output.map_err(failed)?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(ProgramError::Failed {
            command: name.to_owned(),
            status: output.status,
            message: last_lines(&output.stderr),
        })
    }
}

/// The end of what a process said, for messages.
pub fn last_lines(stderr: &[u8]) -> String {
    let start = stderr.len().saturating_sub(2048);
    String::from_utf8_lossy(&stderr[start..]).trim().replace('\n', "; ")
}
