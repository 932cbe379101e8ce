//! The images that this servant has brought into its engine, each in a small file: only these are ever removed from there.
//! One that was in the engine before it was needed is somebody else's.

use events::Digest;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// An image in the engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Brought {
    /// As the engine calls it.
    pub name: String,
    /// What the name meant. Somebody may give it to another image, which is not ours then.
    pub id: String,
    pub bytes: u64,
}

/// The files. Clones are the same.
#[derive(Clone, Debug)]
pub struct Ledger {
    folder: PathBuf,
}

const ENDING: &str = "image";

impl Ledger {
    /// Those in this folder, which is made.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(folder: PathBuf) -> io::Result<Self> {
        std::fs::create_dir_all(&folder)?;
        Ok(Self { folder })
    }

    /// Keeps that an image was brought.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn note(&self, brought: &Brought) -> io::Result<()> {
        let place = self.place(&brought.name);
        let beside = place.with_extension("new");
        std::fs::write(&beside, serde_json::to_vec(brought)?)?;
        File::open(&beside)?.sync_data()?;
        std::fs::rename(beside, place)
    }

    /// All of them, with their files.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn all(&self) -> io::Result<Vec<(PathBuf, Brought)>> {
        let mut all = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.extension().is_none_or(|ending| ending != ENDING) {
                continue;
            }
            match serde_json::from_slice(&std::fs::read(&path)?) {
                Ok(brought) => all.push((path, brought)),
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "an image that nobody knows any more stays")
                }
            }
        }
        Ok(all)
    }

    /// It is not there any more, or not ours.
    ///
    /// # Errors
    /// When its file cannot be removed.
    pub fn forget(&self, place: &Path) -> io::Result<()> {
        match std::fs::remove_file(place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// Names hold what no file name may.
    fn place(&self, name: &str) -> PathBuf {
        self.folder.join(Digest::of(name.as_bytes()).to_string()).with_extension(ENDING)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_brought_is_known_once_until_it_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(folder.path().join("images")).unwrap();
        let one = |id: &str| Brought { name: "r.example:5000/a/b@sha256:1".into(), id: id.into(), bytes: 5 };
        ledger.note(&one("x")).unwrap();
        ledger.note(&one("y")).unwrap();
        let all = ledger.all().unwrap();
        assert_eq!(all.iter().map(|(_, brought)| brought.clone()).collect::<Vec<_>>(), [one("y")]);
        ledger.forget(&all[0].0).unwrap();
        ledger.forget(&all[0].0).unwrap();
        assert!(ledger.all().unwrap().is_empty());
    }
}
