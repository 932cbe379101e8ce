//! Looking into a push while it is in quarantine, by one `git cat-file` process: what its references name, and the
//! manifests of its versions.

use super::bundle::quarantined;
use super::program::{Git, ProgramError};
use crate::manifest::{self, KING_YAML, MANIFEST_BYTES, ManifestProblem, PROCFILE};
use events::{CommitHash, Manifest};
use std::io;
use std::path::Path;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout};

/// A running `git cat-file --batch-command`.
pub struct Inspector {
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    _child: Child,
}

/// Why a commit's manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestFault {
    #[error(
        "has neither a {KING_YAML} nor a {PROCFILE} in its root; add one: `web: <command>` in a {PROCFILE} is enough"
    )]
    Missing,
    #[error("{0}")]
    Wrong(#[from] ManifestProblem),
}

struct Object {
    hash: String,
    kind: String,
    bytes: u64,
}

impl Inspector {
    pub fn start(git: &Git, repository: &Path, quarantine: Option<&Path>) -> Result<Self, ProgramError> {
        let mut command = git.command(repository, &["cat-file", "--batch-command"]);
        quarantined(&mut command, repository, quarantine);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(failed)?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            unreachable!("both are piped");
        };
        Ok(Self { input, output: BufReader::new(output), _child: child })
    }

    /// Whether an object is a commit itself: what a branch must name.
    pub async fn is_commit(&mut self, hash: CommitHash) -> Result<bool, ProgramError> {
        Ok(self.ask("info", &hash.to_string()).await?.is_some_and(|object| object.kind == "commit"))
    }

    /// The commit that a tag names in the end.
    pub async fn commit(&mut self, tag: CommitHash) -> Result<Option<CommitHash>, ProgramError> {
        let object = self.ask("info", &format!("{tag}^{{commit}}")).await?;
        Ok(object.and_then(|object| object.hash.parse().ok()))
    }

    /// Whether a commit names submodules.
    pub async fn has_submodules(&mut self, commit: CommitHash) -> Result<bool, ProgramError> {
        Ok(self.ask("info", &format!("{commit}:.gitmodules")).await?.is_some())
    }

    /// The manifest of a commit: `king.yaml`, else `Procfile`.
    pub async fn manifest(
        &mut self,
        commit: CommitHash,
    ) -> Result<Result<Manifest, ManifestFault>, ProgramError> {
        for file in [KING_YAML, PROCFILE] {
            if let Some(found) = self.contents(commit, file).await? {
                return Ok(found
                    .and_then(|bytes| manifest::parse(file, &bytes))
                    .map_err(ManifestFault::Wrong));
            }
        }
        Ok(Err(ManifestFault::Missing))
    }

    async fn contents(
        &mut self,
        commit: CommitHash,
        file: &'static str,
    ) -> Result<Option<Result<Vec<u8>, ManifestProblem>>, ProgramError> {
        let Some(object) = self.ask("contents", &format!("{commit}:{file}")).await? else {
            return Ok(None);
        };
        let small = object.bytes <= MANIFEST_BYTES as u64;
        let mut contents = Vec::new();
        // Its end of line is not its own.
        let mut rest = (&mut self.output).take(object.bytes + 1);
        if small {
            rest.read_to_end(&mut contents).await.map_err(failed)?;
            contents.pop();
        } else {
            tokio::io::copy(&mut rest, &mut tokio::io::sink()).await.map_err(failed)?;
        }
        if object.kind != "blob" {
            let reason = "is a folder; it must be a file".to_owned();
            return Ok(Some(Err(ManifestProblem { file, place: manifest::Place::START, reason })));
        }
        let bytes = usize::try_from(object.bytes).unwrap_or(usize::MAX);
        Ok(Some(if small { Ok(contents) } else { Err(manifest::too_large(file, bytes)) }))
    }

    async fn ask(&mut self, question: &str, object: &str) -> Result<Option<Object>, ProgramError> {
        self.input.write_all(format!("{question} {object}\n").as_bytes()).await.map_err(failed)?;
        let mut line = String::new();
        self.output.read_line(&mut line).await.map_err(failed)?;
        let line = line.trim_end();
        if line.ends_with(" missing") {
            return Ok(None);
        }
        let mut words = line.split(' ');
        let object = || -> Option<Object> {
            let (hash, kind) = (words.next()?.to_owned(), words.next()?.to_owned());
            Some(Object { hash, kind, bytes: words.next()?.parse().ok()? })
        }();
        match object {
            Some(object) => Ok(Some(object)),
            None => Err(ProgramError::Answer { command: "cat-file".into(), answer: line.to_owned() }),
        }
    }
}

fn failed(source: io::Error) -> ProgramError {
    ProgramError::Run { command: "cat-file".into(), source }
}
