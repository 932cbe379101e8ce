//! What lies on the disk and is not in use: releases that nothing runs of. `….unused` beside a tree says since when.

use super::policy::Candidate;
use crate::release::{self, ReleaseFolder};
use crate::spec::ReleaseKey;
use events::Timestamp;
use events::disk::Removable;
use std::collections::BTreeSet;
use std::fs::{DirEntry, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// Where things lie.
#[derive(Clone, Debug)]
pub struct Shelf {
    pub releases: PathBuf,
}

/// A thing that nothing seems to use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thing {
    pub candidate: Candidate,
    pub place: PathBuf,
}

impl Shelf {
    /// Everything that is not in use, for all that was told. Marks since when.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub fn unused(&self, used: &BTreeSet<ReleaseKey>) -> io::Result<Vec<Thing>> {
        let used: BTreeSet<PathBuf> =
            used.iter().map(|key| ReleaseFolder::new(&self.releases, key).tree).collect();
        let mut things = Vec::new();
        for (app, tree) in release::trees(&self.releases)? {
            let mark = tree.with_extension(release::UNUSED);
            if used.contains(&tree) {
                release::absent_is_fine(std::fs::remove_file(&mark))?;
                continue;
            }
            things.push(thing(app, tree, since(&mark)?));
        }
        Ok(things)
    }

    /// Deletes what was moved out of the way. Takes its time.
    pub fn empty_trash(&self) {
        release::empty(&release::trash(&self.releases));
    }
}

fn thing(app: String, tree: PathBuf, unused_since: Timestamp) -> Thing {
    let number = release::number(&tree).unwrap_or_default();
    let candidate = Candidate {
        what: Removable::Release,
        name: format!("{app} release {number}"),
        group: app,
        unused_since,
        bytes: size(&tree),
    };
    Thing { candidate, place: tree }
}

/// When the mark was made; it is, if there is none.
fn since(mark: &Path) -> io::Result<Timestamp> {
    let made = match std::fs::metadata(mark) {
        Ok(made) => made,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            std::fs::write(mark, b"")?;
            std::fs::metadata(mark)?
        }
        Err(error) => return Err(error),
    };
    let since = made.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX)))
}

/// What a tree takes on the disk. What cannot be read counts nothing.
fn size(tree: &Path) -> u64 {
    let mut folders = vec![tree.to_owned()];
    let mut bytes = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(metadata) = DirEntry::metadata(&entry) else { continue };
            bytes += on_disk(&metadata);
            if metadata.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    bytes
}

/// `st_blocks` counts 512 bytes each, whatever the file system (stat(2)).
fn on_disk(metadata: &Metadata) -> u64 {
    metadata.blocks() * 512
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::Digest;

    #[test]
    fn what_is_used_is_not_there_and_what_is_not_is_marked() {
        let folder = tempfile::tempdir().expect("a folder");
        let shelf = Shelf { releases: folder.path().to_owned() };
        let key = |release| ReleaseKey {
            app: "shop".parse().expect("a name"),
            release,
            archive: Digest::of(&[u8::try_from(release).expect("small")]),
            image: None,
        };
        for release in [1, 2] {
            let tree = ReleaseFolder::new(folder.path(), &key(release));
            std::fs::create_dir_all(tree.tree.join("sub")).expect("made");
            std::fs::write(tree.tree.join("sub/file"), vec![1; 100_000]).expect("written");
            tree.mark_ready("boot").expect("marked");
        }
        let used = BTreeSet::from([key(2)]);
        let unused = shelf.unused(&used).expect("read");
        let names: Vec<&str> = unused.iter().map(|thing| thing.candidate.name.as_str()).collect();
        assert_eq!(names, ["shop release 1"]);
        assert!(unused[0].candidate.bytes >= 100_000);
        let again = shelf.unused(&used).expect("read");
        assert_eq!(again, unused, "it is unused since it was seen so first");
        assert!(shelf.unused(&BTreeSet::from([key(1), key(2)])).expect("read").is_empty());
        assert!(!unused[0].place.with_extension(release::UNUSED).exists(), "it is in use again");
    }
}
