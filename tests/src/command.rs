//! Other people's programs, run to their end: `kingctl`, `git`, Python.

use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(90);

/// What a program did.
#[derive(Clone, Debug)]
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// Standard output, when the program ended with 0.
    ///
    /// # Panics
    /// When it did not.
    pub fn success(self) -> String {
        assert_eq!(self.code, 0, "it failed\nstdout: {}\nstderr: {}", self.stdout, self.stderr);
        self.stdout
    }

    /// Standard error, when the program ended with this code.
    ///
    /// # Panics
    /// When it ended with another.
    pub fn failure(self, code: i32) -> String {
        assert_eq!(self.code, code, "the wrong end\nstdout: {}\nstderr: {}", self.stdout, self.stderr);
        self.stderr
    }
}

/// Runs a command to its end.
///
/// # Panics
/// When it cannot be started, or does not end in time.
pub async fn run(mut command: Command) -> Ended {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let child = command.spawn().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    let output = timeout(PATIENCE, child.wait_with_output()).await;
    let output = output.unwrap_or_else(|_| panic!("{command:?} does not end within {PATIENCE:?}"));
    let output = output.expect("a child can be waited for");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ended {
        code: output.status.code().unwrap_or(-1),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}
