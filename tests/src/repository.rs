//! Git repositories as a user has them, with nothing of the tester's own configuration.

use crate::command::{Ended, run};
use crate::process::clean_environment;
use std::path::{Path, PathBuf};
use tokio::process::Command;

/// A repository with a remote `king`.
#[derive(Debug)]
pub struct Repository {
    pub path: PathBuf,
}

impl Repository {
    /// Makes a repository with one commit of these files, and the remote.
    ///
    /// # Panics
    /// When Git fails.
    pub async fn create(path: &Path, remote: &str, files: &[(&str, &str)]) -> Self {
        std::fs::create_dir_all(path).expect("the test's folder can be written");
        let repository = Self { path: path.to_owned() };
        repository.git(&["init", "--quiet", "--initial-branch=main"]).await.success();
        repository.git(&["remote", "add", "king", remote]).await.success();
        repository.commit(files).await;
        repository
    }

    /// Commits these files.
    ///
    /// # Panics
    /// When Git fails.
    pub async fn commit(&self, files: &[(&str, &str)]) {
        for (name, text) in files {
            let path = self.path.join(name);
            std::fs::create_dir_all(path.parent().expect("a file has a folder"))
                .expect("a folder can be made");
            std::fs::write(path, text).expect("a file can be written");
        }
        self.git(&["add", "--all"]).await.success();
        self.git(&["commit", "--quiet", "--allow-empty", "--message", "a change"]).await.success();
    }

    /// Tags the newest commit and pushes the branch with the tag.
    ///
    /// # Panics
    /// When the push is refused.
    pub async fn publish(&self, tag: &str) {
        self.git(&["tag", tag]).await.success();
        self.git(&["push", "--quiet", "king", "main", tag]).await.success();
    }

    /// Runs Git in it.
    ///
    /// # Panics
    /// When Git cannot be started.
    pub async fn git(&self, arguments: &[&str]) -> Ended {
        let mut command = Command::new("git");
        command.args(arguments).current_dir(&self.path).env_clear().envs(clean_environment());
        command.env("HOME", &self.path).env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_TERMINAL_PROMPT", "0");
        for role in ["AUTHOR", "COMMITTER"] {
            command
                .env(format!("GIT_{role}_NAME"), "Tester")
                .env(format!("GIT_{role}_EMAIL"), "t@example.org");
        }
        run(command).await
    }
}
