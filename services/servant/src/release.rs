//! Releases on this host: fetched by digest, unpacked below their own root, built once, kept until nobody needs them.
//!
//! `releases/<app>/<release>-<digest>/` is the tree that processes run in; beside it lie `….ready`, the mark that it is
//! whole, and `….log`, the output of its build.

pub mod unpack;
pub mod build;
mod prepare;

pub use prepare::{PrepareError, Preparer};

use crate::spec::ReleaseKey;
use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// Where a release lies.
#[derive(Clone, Debug)]
pub struct ReleaseFolder {
    /// The unpacked tree.
    pub tree: PathBuf,
    /// What its build said.
    pub log: PathBuf,
    ready: PathBuf,
}

/// A ready mark that holds this is good for ever; else it holds the boot id under which the tree was written.
const SYNCED: &str = "synced";

impl ReleaseFolder {
    /// Where a release lies below the folder of releases.
    pub fn new(releases: &Path, key: &ReleaseKey) -> Self {
        let digest = key.archive.to_string();
        let base = releases.join(key.app.as_str()).join(format!("{}-{}", key.release, &digest[..8]));
        Self { log: base.with_extension("log"), ready: base.with_extension("ready"), tree: base }
    }

    /// Whether it is whole: unpacked and built, and no power was cut before it reached the disk.
    pub fn is_ready(&self, boot: &str) -> bool {
        let mark = std::fs::read_to_string(&self.ready).unwrap_or_default();
        (mark == SYNCED || mark == boot) && self.tree.is_dir()
    }

    /// Marks it whole for as long as the host runs.
    ///
    /// # Errors
    /// When the mark cannot be written.
    pub fn mark_ready(&self, boot: &str) -> io::Result<()> {
        std::fs::write(&self.ready, boot)
    }

    /// Brings the tree to the disk and marks it whole for ever. Takes its time: nobody should wait for it.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn sync(&self) -> io::Result<()> {
        rustix::fs::syncfs(File::open(&self.tree)?)?;
        let beside = self.ready.with_extension("new");
        std::fs::write(&beside, SYNCED)?;
        File::open(&beside)?.sync_all()?;
        std::fs::rename(beside, &self.ready)
    }

    /// Removes what is there of it, whole or not.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn remove(&self) -> io::Result<()> {
        for file in [&self.ready, &self.log] {
            absent_is_fine(std::fs::remove_file(file))?;
        }
        absent_is_fine(std::fs::remove_dir_all(&self.tree))
    }
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Where releases go that nobody uses, until they are deleted.
const TRASH: &str = ".trash";

/// Moves the releases that nobody uses out of the way, which is quick; gives the folder that is to be emptied.
///
/// # Errors
/// When a folder cannot be read or moved.
pub fn set_aside_unused(releases: &Path, used: &BTreeSet<ReleaseKey>) -> io::Result<PathBuf> {
    let trash = releases.join(TRASH);
    std::fs::create_dir_all(&trash)?;
    let kept: BTreeSet<PathBuf> = used.iter().map(|key| ReleaseFolder::new(releases, key).tree).collect();
    for app in std::fs::read_dir(releases)? {
        let app = app?.path();
        if app == trash || !app.is_dir() {
            continue;
        }
        for entry in std::fs::read_dir(&app)? {
            let path = entry?.path();
            // What lies beside a tree has its name with something after a dot.
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if !kept.contains(&app.join(name.split('.').next().unwrap_or_default())) {
                std::fs::rename(&path, trash.join(service::clock::fresh_id().to_string()))?;
            }
        }
        if !kept.iter().any(|tree| tree.starts_with(&app)) {
            std::fs::remove_dir(&app)?;
        }
    }
    Ok(trash)
}

/// Deletes what was moved out of the way. Takes its time: nobody should wait for it.
pub fn empty(trash: &Path) {
    let entries = std::fs::read_dir(trash).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()) {
        let result = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        if let Err(error) = absent_is_fine(result) {
            tracing::warn!(path = %path.display(), %error, "what nobody uses could not be deleted");
        }
    }
}
