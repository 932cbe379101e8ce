//! A command that asks for health: run as the instance is, within its time, and ended with all that it started.

use crate::exec::session::{self, Controls};
use crate::holder::words::Confinement;
use rustix::process::{Pid, Signal, kill_process_group};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::Command;

/// How much of what it says is told.
const WORDS_BYTES: usize = 512;
/// How long the last of it is waited for once the command has ended.
const LAST_WORDS: Duration = Duration::from_millis(20);

/// A command to ask.
#[derive(Clone, Debug)]
pub struct Question {
    pub arguments: Vec<String>,
    pub environment: BTreeMap<String, String>,
    pub directory: PathBuf,
    /// As whom, and within which limits.
    pub confinement: Confinement,
}

impl Question {
    /// Asks once.
    ///
    /// # Errors
    /// Why it is not healthy, for people: how the command ended, and what it said on its standard error.
    pub async fn ask(&self, limit: Duration) -> Result<(), String> {
        let what = self.arguments.join(" ");
        match tokio::time::timeout(limit, self.run()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(reason)) => Err(format!("`{what}`: {reason}")),
            Err(_) => Err(format!("`{what}`: not ended within {} ms", limit.as_millis())),
        }
    }

    async fn run(&self) -> Result<(), String> {
        let (program, arguments) = self.arguments.split_first().ok_or("the command is empty")?;
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(&self.environment).current_dir(&self.directory);
        // In this order: the user may not get to the folder by itself.
        session::lead(command.as_std_mut(), Controls::Nothing, Vec::new(), self.confinement.clone());
        command.kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("could not be run: {error}"))?;
        let _group = Group(child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)));
        let mut errors = child.stderr.take().ok_or("its standard error cannot be read")?;
        let mut said = Words::default();
        loop {
            let mut chunk = [0; WORDS_BYTES];
            tokio::select! {
                read = errors.read(&mut chunk) => match read {
                    Ok(length) if length > 0 => said.hear(&chunk[..length]),
                    Ok(_) | Err(_) => return judge(child.wait().await, &said),
                },
                ended = child.wait() => {
                    // What it left in the background may hold the pipe open.
                    if let Ok(Ok(length)) = tokio::time::timeout(LAST_WORDS, errors.read(&mut chunk)).await {
                        said.hear(&chunk[..length]);
                    }
                    return judge(ended, &said);
                }
            }
        }
    }
}

/// What a command says on its standard error: the beginning is kept, and all is read, so that nobody waits.
#[derive(Debug, Default)]
pub struct Words(Vec<u8>);

impl Words {
    pub fn hear(&mut self, more: &[u8]) {
        let room = WORDS_BYTES - self.0.len();
        self.0.extend_from_slice(&more[..more.len().min(room)]);
    }

    /// Why it is not healthy: how it ended, and what it said.
    pub fn after(&self, ended: impl fmt::Display) -> String {
        let said = String::from_utf8_lossy(&self.0);
        match said.trim() {
            "" => ended.to_string(),
            said => format!("{ended}: {said}"),
        }
    }
}

fn judge(ended: std::io::Result<std::process::ExitStatus>, said: &Words) -> Result<(), String> {
    let status = ended.map_err(|error| format!("its end could not be heard: {error}"))?;
    if status.success() { Ok(()) } else { Err(said.after(status)) }
}

/// Kills what the command has started when it is over, however it ends.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // Mostly nobody is left in it.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(script: &str) -> Question {
        let path = ("PATH".to_owned(), "/usr/bin:/bin".to_owned());
        let arguments = ["sh", "-c", script].map(str::to_owned).to_vec();
        Question {
            arguments,
            environment: [path].into(),
            directory: "/".into(),
            confinement: Confinement::default(),
        }
    }

    #[tokio::test]
    async fn a_command_is_healthy_when_it_ends_well_and_in_time() {
        let limit = Duration::from_secs(20);
        assert_eq!(question("test $PWD = /").ask(limit).await, Ok(()));
        let reason = question("echo no table >&2; exit 3").ask(limit).await.unwrap_err();
        assert!(reason.ends_with("exit status: 3: no table"), "{reason}");
        let reason = question("sleep 1000 & sleep 1000").ask(Duration::from_millis(50)).await.unwrap_err();
        assert!(reason.contains("not ended within 50 ms"), "{reason}");
    }
}
