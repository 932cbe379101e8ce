//! Releases on this host: fetched by digest, unpacked below their own root, built once, kept until nobody needs them.
//!
//! `releases/<app>/<release>-<digest>/` is the tree that processes run in; beside it lie `….ready`, the mark that it is
//! whole, `….log`, the output of its build, and `….unused`, since when nothing runs of it.

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

/// So often is a folder made anew that was cleared away before anything lay in it.
const BEGINNINGS: usize = 16;

impl ReleaseFolder {
    /// Where a release lies below the folder of releases.
    pub fn new(releases: &Path, key: &ReleaseKey) -> Self {
        let digest = key.archive.to_string();
        let base = releases.join(key.app.as_str()).join(format!("{}-{}", key.release, &digest[..8]));
        Self { log: base.with_extension("log"), ready: base.with_extension("ready"), tree: base }
    }

    /// Makes a new place for it, in which nothing is yet but a log without a word: so the folder of its app stays, which may be
    /// cleared away at any moment while nothing lies in it.
    ///
    /// # Errors
    /// When what was there cannot be removed, or nothing be made.
    pub fn begin(&self) -> io::Result<()> {
        self.remove()?;
        for _ in 0..BEGINNINGS {
            std::fs::create_dir_all(self.log.parent().unwrap_or(Path::new(".")))?;
            match File::create(&self.log) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => return other.map(drop),
            }
        }
        Err(io::Error::new(io::ErrorKind::NotFound, "its folder is cleared away again and again"))
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
        for file in [&self.ready, &self.log, &self.tree.with_extension(UNUSED)] {
            absent_is_fine(std::fs::remove_file(file))?;
        }
        absent_is_fine(std::fs::remove_dir_all(&self.tree))
    }
}

pub(crate) fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// The mark of a tree that nobody uses; as old as it is unused.
pub const UNUSED: &str = "unused";

/// Where releases go that nobody uses, until they are deleted.
const TRASH: &str = ".trash";

/// The folder that releases are moved to before they are deleted.
pub fn trash(releases: &Path) -> PathBuf {
    releases.join(TRASH)
}

/// Every whole tree with the name of its app, whether it is used or not; an app's in the order of their releases.
///
/// # Errors
/// When a folder cannot be read.
pub fn trees(releases: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let mut trees = Vec::new();
    for (app, path) in entries(releases)? {
        let is_tree = path.is_dir() && path.with_extension("ready").exists();
        trees.extend(is_tree.then(|| (name(&app).to_owned(), path)));
    }
    trees.sort_by_key(|(_, tree)| number(tree));
    Ok(trees)
}

/// The number of a tree's release.
pub fn number(tree: &Path) -> Option<u64> {
    name(tree).split('-').next()?.parse().ok()
}

/// Moves what is left of releases that nobody uses and that never were whole out of the way, which is quick. Whole ones
/// may be of use again: the policy of the disk says how long they are kept.
///
/// # Errors
/// When a folder cannot be read or moved.
pub fn set_aside_broken(releases: &Path, used: &BTreeSet<ReleaseKey>) -> io::Result<()> {
    let kept: BTreeSet<PathBuf> = used.iter().map(|key| ReleaseFolder::new(releases, key).tree).collect();
    for (app, path) in entries(releases)? {
        let tree = app.join(name(&path).split('.').next().unwrap_or_default());
        let is_whole = tree.is_dir() && tree.with_extension("ready").exists();
        if !kept.contains(&tree) && !is_whole {
            move_aside(releases, &path)?;
        }
        remove_if_empty(&app)?;
    }
    Ok(())
}

/// Moves a tree out of the way, with all that lies beside it.
///
/// # Errors
/// When it cannot be moved.
pub fn set_aside(releases: &Path, tree: &Path) -> io::Result<()> {
    // The mark first: a tree without it is not whole.
    for extension in ["ready", UNUSED, "log"] {
        absent_is_fine(move_aside(releases, &tree.with_extension(extension)))?;
    }
    absent_is_fine(move_aside(releases, tree))?;
    tree.parent().map_or(Ok(()), remove_if_empty)
}

/// Everything in the folders of apps, with the folder that it is in.
fn entries(releases: &Path) -> io::Result<Vec<(PathBuf, PathBuf)>> {
    let mut found = Vec::new();
    for app in std::fs::read_dir(releases)? {
        let app = app?.path();
        if app == trash(releases) || !app.is_dir() {
            continue;
        }
        for entry in std::fs::read_dir(&app)? {
            found.push((app.clone(), entry?.path()));
        }
    }
    Ok(found)
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

fn move_aside(releases: &Path, path: &Path) -> io::Result<()> {
    let trash = trash(releases);
    std::fs::create_dir_all(&trash)?;
    std::fs::rename(path, trash.join(service::clock::fresh_id().to_string()))
}

fn remove_if_empty(folder: &Path) -> io::Result<()> {
    match std::fs::remove_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        other => absent_is_fine(other),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use events::Digest;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn a_release_finds_its_place_while_empty_folders_are_cleared_away() {
        let releases = tempfile::tempdir().unwrap();
        let key =
            ReleaseKey { app: "shop".parse().unwrap(), release: 2, archive: Digest::of(b"any"), image: None };
        let (folder, used) = (ReleaseFolder::new(releases.path(), &key), BTreeSet::from([key]));
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    set_aside_broken(releases.path(), &used).unwrap();
                }
            });
            for _ in 0..2000 {
                folder.begin().unwrap();
                std::fs::write(folder.tree.with_extension("packed"), b"archive").unwrap();
                std::fs::remove_file(folder.tree.with_extension("packed")).unwrap();
                folder.remove().unwrap();
            }
            done.store(true, Ordering::Relaxed);
        });
    }
}
