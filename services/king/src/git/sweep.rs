//! What Git processes leave in a cache when they are killed: locks on references, and quarantines.

use std::ffi::OsStr;
use std::fs::{self, DirEntry};
use std::io;
use std::path::Path;

/// How a quarantine's name begins within the folder of objects (Git's `tmp-objdir`).
const QUARANTINE: &str = "tmp_objdir-";
/// How the name of a pack begins that is not whole yet.
const HALF_PACK: &str = "tmp_";

/// Removes every lock on references. Only for one who holds the lock on the cache: nobody else moves references then,
/// so each of Git's locks is of a process that is gone.
pub fn locks(cache: &Path) -> io::Result<()> {
    let is_lock = |entry: &DirEntry| entry.path().extension() == Some(OsStr::new("lock"));
    remove_files(cache, is_lock)?;
    let mut folders = vec![cache.join("refs")];
    while let Some(folder) = folders.pop() {
        remove_files(&folder, is_lock)?;
        for entry in entries(&folder)? {
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    Ok(())
}

/// Removes what was received in part. Only while nobody else uses the cache.
pub fn quarantines(cache: &Path) -> io::Result<()> {
    for entry in entries(&cache.join("objects"))? {
        if begins(&entry, QUARANTINE) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    remove_files(&cache.join("objects/pack"), |entry| begins(entry, HALF_PACK))
}

fn begins(entry: &DirEntry, prefix: &str) -> bool {
    entry.file_name().as_encoded_bytes().starts_with(prefix.as_bytes())
}

fn remove_files(folder: &Path, goes: impl Fn(&DirEntry) -> bool) -> io::Result<()> {
    for entry in entries(folder)?.iter().filter(|entry| goes(entry)) {
        if !entry.file_type()?.is_dir() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// What lies in a folder; nothing if there is none.
fn entries(folder: &Path) -> io::Result<Vec<DirEntry>> {
    match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries?.collect(),
    }
}
