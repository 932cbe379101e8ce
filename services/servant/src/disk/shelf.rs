//! What lies on the disk and is not in use: releases and images that nothing runs of, and output of instances that are gone.
//! `….unused` beside the tree of a release, or the record of an image, says since when.

use super::policy::Candidate;
use crate::container::supply;
use crate::container::supply::ledger::{Brought, Ledger};
use crate::keeper::InstanceFolder;
use crate::release::{self, ReleaseFolder};
use crate::spec::ReleaseKey;
use crate::spool;
use events::Timestamp;
use events::disk::Removable;
use std::collections::BTreeSet;
use std::fs::{DirEntry, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Where things lie.
#[derive(Clone, Debug)]
pub struct Shelf {
    pub releases: PathBuf,
    pub instances: PathBuf,
    pub images: Ledger,
}

/// A thing that nothing seems to use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thing {
    pub candidate: Candidate,
    pub place: Place,
}

/// Where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The tree of a release.
    Release(PathBuf),
    /// In the folder of an instance.
    Output(InstanceFolder),
    /// In the engine, and recorded here.
    Image(PathBuf, Brought),
}

impl Shelf {
    /// Everything that is not in use, for all that was told. Marks since when.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub fn unused(&self, used: &BTreeSet<ReleaseKey>) -> io::Result<Vec<Thing>> {
        let mut things = self.releases(used)?;
        things.extend(self.images(used)?);
        things.extend(self.output()?);
        Ok(things)
    }

    fn releases(&self, used: &BTreeSet<ReleaseKey>) -> io::Result<Vec<Thing>> {
        let used: BTreeSet<PathBuf> =
            used.iter().map(|key| ReleaseFolder::new(&self.releases, key).tree).collect();
        let mut things = Vec::new();
        for (app, tree) in release::trees(&self.releases)? {
            let mark = tree.with_extension(release::UNUSED);
            if used.contains(&tree) {
                release::absent_is_fine(std::fs::remove_file(&mark))?;
                continue;
            }
            things.push(release(app, tree, since(&mark)?));
        }
        Ok(things)
    }

    fn images(&self, used: &BTreeSet<ReleaseKey>) -> io::Result<Vec<Thing>> {
        let used = supply::names(used);
        let mut things = Vec::new();
        for (place, brought) in self.images.all()? {
            let mark = place.with_extension(release::UNUSED);
            if used.contains(&brought.name) {
                release::absent_is_fine(std::fs::remove_file(&mark))?;
                continue;
            }
            let candidate = Candidate {
                what: Removable::Image,
                group: String::new(),
                name: brought.name.clone(),
                unused_since: since(&mark)?,
                bytes: brought.bytes,
            };
            things.push(Thing { candidate, place: Place::Image(place, brought) });
        }
        Ok(things)
    }

    /// What instances left that are gone: it is here because it is not stored yet.
    fn output(&self) -> io::Result<Vec<Thing>> {
        let mut things = Vec::new();
        for folder in InstanceFolder::all(&self.instances)? {
            let Some(since) = folder.stopped_since() else { continue };
            // All of it may be stored by now, and the folder be gone.
            let bytes = spool::waiting_bytes(&folder.path).unwrap_or_default();
            if bytes == 0 {
                continue;
            }
            let candidate = Candidate {
                what: Removable::Output,
                group: String::new(),
                name: folder.instance.to_string(),
                unused_since: timestamp(since),
                bytes,
            };
            things.push(Thing { candidate, place: Place::Output(folder) });
        }
        Ok(things)
    }

    /// An image that is removed, or is somebody else's by now.
    ///
    /// # Errors
    /// When its record cannot be removed.
    pub fn forget_image(&self, place: &Path) -> io::Result<()> {
        self.images.forget(place)?;
        release::absent_is_fine(std::fs::remove_file(place.with_extension(release::UNUSED)))
    }

    /// An image that somebody uses after all: from now on it is as if it were used until now.
    ///
    /// # Errors
    /// When that cannot be marked.
    pub fn spare_image(&self, place: &Path) -> io::Result<()> {
        std::fs::write(place.with_extension(release::UNUSED), b"again")
    }

    /// Deletes what was moved out of the way. Takes its time.
    pub fn empty_trash(&self) {
        release::empty(&release::trash(&self.releases));
    }
}

fn release(app: String, tree: PathBuf, unused_since: Timestamp) -> Thing {
    let number = release::number(&tree).unwrap_or_default();
    let candidate = Candidate {
        what: Removable::Release,
        name: format!("{app} release {number}"),
        group: app,
        unused_since,
        bytes: size(&tree),
    };
    Thing { candidate, place: Place::Release(tree) }
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
    Ok(timestamp(made.modified()?))
}

fn timestamp(time: SystemTime) -> Timestamp {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
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
        let (_folder, shelf) = shelf();
        let key = |release| ReleaseKey {
            app: "shop".parse().expect("a name"),
            release,
            archive: Digest::of(&[u8::try_from(release).expect("small")]),
            image: None,
        };
        for release in [1, 2] {
            let tree = ReleaseFolder::new(&shelf.releases, &key(release));
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
        let Place::Release(tree) = &unused[0].place else { panic!("{unused:?}") };
        assert!(!tree.with_extension(release::UNUSED).exists(), "it is in use again");
    }

    fn shelf() -> (tempfile::TempDir, Shelf) {
        let folder = tempfile::tempdir().expect("a folder");
        let instances = folder.path().join("instances");
        crate::keeper::prepare(&instances).expect("made");
        let images = Ledger::open(folder.path().join("images")).expect("made");
        let releases = folder.path().join("releases");
        std::fs::create_dir(&releases).expect("made");
        (folder, Shelf { releases, instances, images })
    }

    #[test]
    fn images_that_were_brought_are_unused_when_no_release_names_them() {
        let (_folder, shelf) = shelf();
        let names = ["shop/web:1", "shop/web:2"];
        for name in names {
            shelf.images.note(&Brought { name: name.into(), id: "x".into(), bytes: 9 }).expect("noted");
        }
        let key = ReleaseKey {
            app: "shop".parse().expect("a name"),
            release: 1,
            archive: Digest::ZERO,
            image: Some(events::view::AssignedImage::Named(names[0].parse().expect("a name"))),
        };
        let unused = shelf.unused(&BTreeSet::from([key.clone()])).expect("read");
        assert_eq!(unused.iter().map(|thing| thing.candidate.name.as_str()).collect::<Vec<_>>(), [names[1]]);
        let Place::Image(place, _) = &unused[0].place else { panic!("{unused:?}") };
        shelf.spare_image(place).expect("marked");
        assert!(shelf.unused(&BTreeSet::new()).expect("read").len() == 2);
        shelf.forget_image(place).expect("removed");
        assert_eq!(shelf.unused(&BTreeSet::from([key])).expect("read"), []);
    }

    #[test]
    fn output_of_the_living_is_left_alone_and_that_of_the_gone_counts_until_it_is_given_up() {
        let (_folder, shelf) = shelf();
        let folders = [1, 2].map(|number| {
            let instance = events::InstanceId(uuid::Uuid::from_u128(number));
            let folder = InstanceFolder::new(&shelf.instances, instance);
            std::fs::create_dir(&folder.path).expect("made");
            let limits = spool::SpoolLimits::STANDARD;
            let output = events::subject::Output::Stdout;
            let mut writer = spool::SpoolWriter::open(&folder.path, output, limits).expect("opened");
            writer.take(Timestamp(1), b"one\ntwo\n");
            folder
        });
        assert_eq!(shelf.unused(&BTreeSet::new()).expect("read"), []);
        folders[1].mark_stopped().expect("marked");
        let unused = shelf.unused(&BTreeSet::new()).expect("read");
        assert_eq!(unused[0].place, Place::Output(folders[1].clone()));
        assert!(unused.len() == 1 && unused[0].candidate.bytes > 8);
        spool::give_up(&folders[1].path).expect("given up");
        assert_eq!(shelf.unused(&BTreeSet::new()).expect("read"), []);
    }
}
