//! Bundles: what a push brought, as `git bundle` writes it (gitformat-bundle, version 2): a few lines, then a pack.

use super::RepositoryState;
use super::program::{Git, ProgramError};
use super::refs::Change;
use super::spool::{Spool, Spooled};
use events::CommitHash;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::Stdio;

const SIGNATURE: &str = "# v2 git bundle\n";
/// Most bytes of the lines before the pack.
const HEADER_BYTES: u64 = 8 << 20;
/// A pack without objects: its header and its checksum.
const EMPTY_PACK_BYTES: u64 = 32;

/// Why a bundle could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    #[error("could not write a bundle")]
    Write(#[source] io::Error),
    #[error("could not read a bundle")]
    Read(#[source] io::Error),
    #[error("the stored bundle is damaged: it has no end of its header")]
    Damaged,
    #[error(transparent)]
    Git(#[from] ProgramError),
}

/// The lines before the pack: what must be there already, and what the references become.
pub fn header(changes: &[Change], before: &BTreeMap<String, CommitHash>) -> String {
    let mut header = String::from(SIGNATURE);
    let known: BTreeSet<&CommitHash> = before.values().collect();
    known.iter().for_each(|hash| header.push_str(&format!("-{hash}\n")));
    for change in changes {
        if let Some(new) = change.new {
            header.push_str(&format!("{new} {}\n", change.name));
        }
    }
    header.push('\n');
    header
}

/// Writes a bundle of the objects that Git packs for a list of commands on its input; none if there are none.
pub async fn write(
    git: &Git,
    repository: &Path,
    quarantine: Option<&Path>,
    spool: &Spool,
    header: &str,
    wanted: Wanted<'_>,
) -> Result<Option<Spooled>, BundleError> {
    let (spooled, mut file) = spool.file().map_err(BundleError::Write)?;
    file.write_all(header.as_bytes()).map_err(BundleError::Write)?;
    let output = file.try_clone().map_err(BundleError::Write)?;
    let arguments: &[&str] = match wanted {
        Wanted::Everything => &["pack-objects", "-q", "--stdout"],
        Wanted::Beyond { .. } => &["pack-objects", "-q", "--stdout", "--revs"],
    };
    let mut command = git.command(repository, arguments);
    quarantined(&mut command, repository, quarantine);
    let input = match wanted {
        Wanted::Everything => every_object(git, repository, quarantine).await?,
        Wanted::Beyond { changes, received, state } => beyond(changes, received, state),
    };
    pack(command, input, output).await?;
    let bytes = file.seek(SeekFrom::End(0)).map_err(BundleError::Write)?;
    Ok((bytes > header.len() as u64 + EMPTY_PACK_BYTES).then_some(spooled))
}

/// Which objects a bundle shall have.
#[derive(Clone, Copy)]
pub enum Wanted<'a> {
    /// All that there are.
    Everything,
    /// Those that were received and those of the new references, as far as the old references do not reach them.
    Beyond { changes: &'a [Change], received: &'a [CommitHash], state: &'a RepositoryState },
}

fn beyond(changes: &[Change], received: &[CommitHash], state: &RepositoryState) -> Vec<u8> {
    let new = changes.iter().filter_map(|change| change.new.as_ref());
    let (new, old) = (lines(new.chain(received)), lines(state.refs.values()));
    format!("{new}--not\n{old}").into_bytes()
}

fn lines<'a>(hashes: impl Iterator<Item = &'a CommitHash>) -> String {
    hashes.map(|hash| format!("{hash}\n")).collect()
}

/// Whether every object is there that the references reach, before a push and after it.
pub async fn is_complete(
    git: &Git,
    repository: &Path,
    quarantine: Option<&Path>,
    changes: &[Change],
    state: &RepositoryState,
) -> Result<bool, ProgramError> {
    let new = changes.iter().filter_map(|change| change.new.as_ref());
    let input = lines(state.refs.values().chain(new)).into_bytes();
    let mut command = git.command(repository, &["rev-list", "--objects", "--quiet", "--stdin"]);
    quarantined(&mut command, repository, quarantine);
    match super::program::run(command, "rev-list", input).await {
        Ok(_) => Ok(true),
        Err(ProgramError::Failed { message, .. }) => {
            tracing::warn!(repository = %repository.display(), message, "objects are missing in a git cache");
            Ok(false)
        }
        Err(error @ (ProgramError::Run { .. } | ProgramError::Answer { .. })) => Err(error),
    }
}

async fn every_object(
    git: &Git,
    repository: &Path,
    quarantine: Option<&Path>,
) -> Result<Vec<u8>, BundleError> {
    let mut command =
        git.command(repository, &["cat-file", "--batch-all-objects", "--batch-check=%(objectname)"]);
    quarantined(&mut command, repository, quarantine);
    Ok(super::program::run(command, "cat-file", Vec::new()).await?)
}

async fn pack(command: tokio::process::Command, input: Vec<u8>, output: File) -> Result<(), BundleError> {
    super::program::run_into(command, "pack-objects", input, output.into()).await?;
    Ok(())
}

/// Lets a command see the objects in quarantine beside those of the repository.
pub fn quarantined(command: &mut tokio::process::Command, repository: &Path, quarantine: Option<&Path>) {
    if let Some(quarantine) = quarantine {
        command
            .env("GIT_OBJECT_DIRECTORY", quarantine)
            .env("GIT_ALTERNATE_OBJECT_DIRECTORIES", repository.join("objects"));
    }
}

/// Puts the objects of a stored bundle into a repository.
pub async fn unpack(git: &Git, repository: &Path, mut bundle: File) -> Result<(), BundleError> {
    let start = pack_start(&bundle)?;
    bundle.seek(SeekFrom::Start(start)).map_err(BundleError::Read)?;
    let mut command = git.command(repository, &["index-pack", "--stdin", "--fix-thin"]);
    command.stdin(bundle).stdout(Stdio::null()).stderr(Stdio::piped());
    let failed = |source| ProgramError::Run { command: "index-pack".into(), source };
    let output = command.spawn().map_err(failed)?.wait_with_output().await.map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    let message = super::program::last_lines(&output.stderr);
    Err(ProgramError::Failed { command: "index-pack".into(), status: output.status, message }.into())
}

fn pack_start(bundle: &File) -> Result<u64, BundleError> {
    let mut reader = BufReader::new(bundle);
    reader.seek(SeekFrom::Start(0)).map_err(BundleError::Read)?;
    let mut reader = io::Read::take(reader, HEADER_BYTES);
    let mut start = 0;
    loop {
        let mut line = Vec::new();
        let length = reader.read_until(b'\n', &mut line).map_err(BundleError::Read)?;
        start += length as u64;
        match line.as_slice() {
            b"\n" => return Ok(start),
            [.., b'\n'] => {}
            _ => return Err(BundleError::Damaged),
        }
    }
}
