//! A service's data folder: made for its owner alone, and held by one process at a time.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

const LOCK_FILE: &str = "lock";

/// Why a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Another process uses it.
    #[error(
        "the data folder {} is in use by process {holder}; stop that one, or give this one a folder of its own with --data",
        path.display()
    )]
    Held { path: PathBuf, holder: String },
    /// The file system says no.
    #[error("could not {what} {}", path.display())]
    Io {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// A data folder that this process holds until this value is dropped, or the process ends in any way.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Closed on exec, so no child holds the lock any longer.
    _lock: File,
}

/// Who may pass through a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// Its owner alone.
    Private,
    /// Also those who were let through before (`chmod o+x`), to what in there is open to them. They still cannot look around.
    Kept,
}

impl Folder {
    /// Makes the folder where it is missing (mode 0700, parents too) and takes its lock.
    ///
    /// # Errors
    /// When another process holds it, named by its pid; or when the file system refuses.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, FolderError> {
        Self::open_for(path, Passage::Private)
    }

    /// The same, but for who may pass through it.
    ///
    /// # Errors
    /// As [`Folder::open`].
    pub fn open_for(path: impl Into<PathBuf>, passage: Passage) -> Result<Self, FolderError> {
        let path = path.into();
        DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(failed("create", &path))?;
        let path = path.canonicalize().map_err(failed("resolve", &path))?;
        keep_private(&path, passage)?;
        let lock = take_lock(&path)?;
        Ok(Self { path, _lock: lock })
    }

    /// The folder, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path in the folder.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }
}

fn keep_private(path: &Path, passage: Passage) -> Result<(), FolderError> {
    let mode = path.metadata().map_err(failed("look at", path))?.permissions().mode() & 0o777;
    let kept = match passage {
        Passage::Private => 0,
        Passage::Kept => mode & 0o011,
    };
    if mode & 0o077 == kept {
        return Ok(());
    }
    std::fs::set_permissions(path, Permissions::from_mode(0o700 | kept)).map_err(failed("make private", path))
}

fn take_lock(folder: &Path) -> Result<File, FolderError> {
    let path = folder.join(LOCK_FILE);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(failed("open", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(held(folder, &mut file)),
        Err(TryLockError::Error(source)) => return Err(failed("lock", &path)(source)),
    }
    file.set_len(0).map_err(failed("write", &path))?;
    file.seek(SeekFrom::Start(0)).map_err(failed("write", &path))?;
    writeln!(file, "{}", std::process::id()).map_err(failed("write", &path))?;
    Ok(file)
}

fn held(folder: &Path, lock: &mut File) -> FolderError {
    let mut holder = String::new();
    let known = lock.read_to_string(&mut holder).is_ok() && !holder.trim().is_empty();
    let holder = if known { holder.trim().to_owned() } else { "of unknown number".to_owned() };
    FolderError::Held { path: folder.to_owned(), holder }
}

/// Writes a file as a whole or not at all: beside its place, synced, renamed, and the folder synced.
///
/// # Errors
/// When the file system refuses.
pub fn write_synced(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FolderError> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let beside = folder.join(name);
    write_file(&beside, bytes, mode).map_err(failed("write", &beside))?;
    std::fs::rename(&beside, path).map_err(failed("rename into", path))?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("sync", folder))
}

fn write_file(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FolderError {
    let path = path.to_owned();
    move |source| FolderError::Io { what, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_private_and_held_once() {
        let parent = tempfile::tempdir().expect("a temporary folder");
        let path = parent.path().join("a/king");
        let first = Folder::open(&path).expect("nobody holds it");
        assert_eq!(first.path().metadata().expect("it exists").permissions().mode() & 0o777, 0o700);
        let second = Folder::open(&path).expect_err("it is held");
        assert!(second.to_string().contains(&std::process::id().to_string()), "{second}");
        drop(first);
        Folder::open(&path).expect("it was let go");
    }

    #[test]
    fn who_was_let_through_stays_so_only_where_that_is_wanted_and_sees_nothing() {
        let parent = tempfile::tempdir().expect("a temporary folder");
        for (passage, wanted) in [(Passage::Kept, 0o711), (Passage::Private, 0o700)] {
            std::fs::set_permissions(parent.path(), Permissions::from_mode(0o755)).expect("set");
            let folder = Folder::open_for(parent.path(), passage).expect("nobody holds it");
            assert_eq!(folder.path().metadata().expect("it exists").permissions().mode() & 0o777, wanted);
        }
    }

    #[test]
    fn a_synced_file_replaces_the_one_before() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("secret");
        write_synced(&path, b"one", 0o600).expect("written");
        write_synced(&path, b"two", 0o600).expect("written");
        assert_eq!(std::fs::read(&path).expect("it exists"), b"two");
        assert_eq!(path.metadata().expect("it exists").permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).expect("it exists").count(), 1);
    }
}
