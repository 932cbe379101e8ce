//! Archives: the files of a version as `git archive` gives them, checked entry by entry on their way and packed with
//! zstd. What a servant would have to refuse never becomes a version.

use super::GitOptions;
use super::bundle::quarantined;
use super::program::{Git, ProgramError, last_lines};
use super::spool::{Spool, Spooled};
use events::{CommitHash, Digest};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Component, Path};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader};

/// Speed before size: most of an app's bytes do not shrink much more on higher levels.
const LEVEL: i32 = 1;
const CHUNK: usize = 64 * 1024;

/// Why a commit has no archive.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Shown to the pusher.
    #[error("{0}")]
    Refused(String),
    #[error("could not pack the archive")]
    Pack(#[source] io::Error),
    #[error(transparent)]
    Git(#[from] ProgramError),
}

/// What one version may hold.
#[derive(Clone, Copy)]
pub struct Limits {
    bytes: u64,
    files: u64,
}

impl From<&GitOptions> for Limits {
    fn from(options: &GitOptions) -> Self {
        Self { bytes: options.version_bytes, files: options.version_files }
    }
}

impl Limits {
    fn check(self, files: u64, bytes: u64) -> Result<(), ArchiveError> {
        if files > self.files {
            return Err(ArchiveError::Refused(format!(
                "has more than {} files, folders and links",
                self.files
            )));
        }
        if bytes > self.bytes {
            return Err(ArchiveError::Refused(format!("has more than {} bytes unpacked", self.bytes)));
        }
        Ok(())
    }
}

/// Writes the archive of a commit to a file, and names it by its digest.
pub async fn write(
    git: &Git,
    repository: &Path,
    quarantine: Option<&Path>,
    spool: &Spool,
    commit: CommitHash,
    limits: Limits,
) -> Result<(Digest, Spooled), ArchiveError> {
    measure(git, repository, quarantine, commit, limits).await?;
    let (spooled, file) = spool.file().map_err(ArchiveError::Pack)?;
    let (reader, writer) = io::pipe().map_err(ArchiveError::Pack)?;
    let failed = |source| ProgramError::Run { command: "archive".into(), source };
    let child = {
        let commit = commit.to_string();
        let mut command = git.command(repository, &["archive", "--format=tar", &commit]);
        quarantined(&mut command, repository, quarantine);
        command.stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped());
        command.spawn().map_err(failed)?
    };
    let packed = tokio::task::spawn_blocking(move || pack(reader, file, limits)).await;
    let digest = packed.expect("packing does not panic")?;
    let output = child.wait_with_output().await.map_err(failed)?;
    if output.status.success() {
        return Ok((digest, spooled));
    }
    let message = last_lines(&output.stderr);
    Err(ProgramError::Failed { command: "archive".into(), status: output.status, message }.into())
}

/// Counts the files of a commit and their bytes, and stops at the limits. `git archive` would first hold the whole tree
/// in memory, and a few objects can name thousands of millions of files.
async fn measure(
    git: &Git,
    repository: &Path,
    quarantine: Option<&Path>,
    commit: CommitHash,
    limits: Limits,
) -> Result<(), ArchiveError> {
    let failed = |source| ProgramError::Run { command: "ls-tree".into(), source };
    let commit = commit.to_string();
    let mut command = git.command(repository, &["ls-tree", "-r", "-t", "-l", "-z", &commit]);
    quarantined(&mut command, repository, quarantine);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(failed)?;
    let mut output = BufReader::new(child.stdout.take().expect("it is piped"));
    let (mut files, mut bytes) = (0, 0);
    let mut line = Vec::new();
    while output.read_until(0, &mut line).await.map_err(failed)? > 0 {
        files += 1;
        bytes += size_of(&line);
        limits.check(files, bytes)?;
        line.clear();
    }
    let status = child.wait().await.map_err(failed)?;
    if status.success() {
        return Ok(());
    }
    Err(ProgramError::Failed { command: "ls-tree".into(), status, message: format!("for {commit}") }.into())
}

/// The size in a line of `git ls-tree -l`: `<mode> <type> <id> <size>\t<path>`; a folder has none.
fn size_of(line: &[u8]) -> u64 {
    let head = line.split(|byte| *byte == b'\t').next().unwrap_or_default();
    let size = head.rsplit(|byte| *byte == b' ').next().and_then(|size| std::str::from_utf8(size).ok());
    size.and_then(|size| size.parse().ok()).unwrap_or(0)
}

/// Checks a tar stream while it is packed.
fn pack(tar: impl Read, file: File, limits: Limits) -> Result<Digest, ArchiveError> {
    let hashed = Hashed { file, hasher: blake3::Hasher::new() };
    let encoder = zstd::Encoder::new(hashed, LEVEL).map_err(ArchiveError::Pack)?;
    let mut archive = tar::Archive::new(Tee { tar, encoder });
    check(&mut archive, limits)?;
    let mut tee = archive.into_inner();
    let mut rest = vec![0; CHUNK];
    while tee.read(&mut rest).map_err(ArchiveError::Pack)? > 0 {}
    let hashed = tee.encoder.finish().map_err(ArchiveError::Pack)?;
    Ok(Digest::from_bytes(*hashed.hasher.finalize().as_bytes()))
}

fn check(archive: &mut tar::Archive<impl Read>, limits: Limits) -> Result<(), ArchiveError> {
    let (mut files, mut bytes) = (0, 0);
    for entry in archive.entries().map_err(ArchiveError::Pack)? {
        let entry = entry.map_err(ArchiveError::Pack)?;
        files += 1;
        bytes += entry.size();
        limits.check(files, bytes)?;
        check_entry(&entry).map_err(ArchiveError::Refused)?;
    }
    Ok(())
}

fn check_entry(entry: &tar::Entry<impl Read>) -> Result<(), String> {
    let path = entry.path().map_err(|error| format!("has a path that cannot be read: {error}"))?;
    let kind = entry.header().entry_type();
    if kind.is_pax_global_extensions() {
        return Ok(());
    }
    if !stays_inside(Path::new(""), &path) {
        return Err(format!("has the path {}, which leaves the root", path.display()));
    }
    if kind.is_file() || kind.is_dir() {
        return Ok(());
    }
    if !kind.is_symlink() {
        return Err(format!("has {}, which is no file, folder or link", path.display()));
    }
    let target = entry.link_name().ok().flatten().unwrap_or_default();
    if stays_inside(path.parent().unwrap_or(Path::new("")), &target) {
        Ok(())
    } else {
        Err(format!(
            "has the link {} to {}, which leaves the root; make it relative and keep it inside",
            path.display(),
            target.display()
        ))
    }
}

/// Whether a path, read from a folder of the archive, never goes above the archive's root. `..` counts only at its
/// beginning: after a name, which may be a link itself, nobody can tell where it leads.
fn stays_inside(folder: &Path, path: &Path) -> bool {
    let mut above = folder.components().count();
    let mut named = false;
    for component in path.components() {
        match component {
            Component::Normal(_) => named = true,
            Component::CurDir => {}
            Component::ParentDir if above > 0 && !named => above -= 1,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    true
}

/// Hands on what is read to the encoder.
struct Tee<R, W: Write> {
    tar: R,
    encoder: zstd::Encoder<'static, W>,
}

impl<R: Read, W: Write> Read for Tee<R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.tar.read(buffer)?;
        self.encoder.write_all(&buffer[..length])?;
        Ok(length)
    }
}

/// Hashes what is written to the file.
struct Hashed {
    file: File,
    hasher: blake3::Hasher,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.file.write(bytes)?;
        self.hasher.update(&bytes[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_stay_inside() {
        let inside = |folder: &str, target: &str| stays_inside(Path::new(folder), Path::new(target));
        assert!(inside("a/b", "../../c"));
        assert!(inside("", "./x/y"));
        assert!(!inside("", "x/../y"));
        assert!(!inside("a", "../../etc/passwd"));
        assert!(!inside("a/b", "/etc/passwd"));
        assert!(!inside("", ".."));
    }
}
