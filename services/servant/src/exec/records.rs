//! What is remembered of runs beyond the Servant's own death: a file for each, written before anything runs, so that
//! nothing runs twice, and what was under way is told to be lost.

use events::ExecId;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// It was begun, and its end is not told yet.
    Begun,
    /// Its end is told.
    Told,
}

impl Record {
    const ALL: [Self; 2] = [Self::Begun, Self::Told];

    fn word(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Told => "told",
        }
    }
}

/// The folder of the records.
#[derive(Clone, Debug)]
pub struct Records {
    folder: PathBuf,
}

impl Records {
    /// Opens the folder.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(folder: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// All that is remembered. A file that holds nothing readable was being written when the host went down: what it is
    /// about had not begun, and must not be begun now.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn all(&self) -> io::Result<BTreeMap<ExecId, Record>> {
        let mut found = BTreeMap::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let Ok(exec) = name.parse::<ExecId>() else { continue };
            let word = std::fs::read_to_string(&path)?;
            let record = Record::ALL.into_iter().find(|record| record.word() == word);
            found.insert(exec, record.unwrap_or(Record::Begun));
        }
        Ok(found)
    }

    /// Remembers, durably.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn put(&self, exec: ExecId, record: Record) -> io::Result<()> {
        let (path, beside) = (self.path(exec), self.folder.join("new"));
        let mut file = File::create(&beside)?;
        file.write_all(record.word().as_bytes())?;
        file.sync_all()?;
        std::fs::rename(beside, path)?;
        File::open(&self.folder)?.sync_all()
    }

    /// Forgets.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn remove(&self, exec: ExecId) -> io::Result<()> {
        match std::fs::remove_file(self.path(exec)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn path(&self, exec: ExecId) -> PathBuf {
        self.folder.join(exec.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_is_found_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let records = Records::open(folder.path()).expect("it opens");
        let [one, two]: [ExecId; 2] = [1, 2].map(|number| ExecId(uuid::Uuid::from_u128(number)));
        records.put(one, Record::Begun).expect("put");
        records.put(two, Record::Begun).expect("put");
        records.put(two, Record::Told).expect("put");
        std::fs::write(folder.path().join("new"), "half").expect("what a crash leaves");
        let found = Records::open(folder.path()).and_then(|again| again.all()).expect("read");
        assert_eq!(found, BTreeMap::from([(one, Record::Begun), (two, Record::Told)]));
        records.remove(one).and_then(|()| records.remove(one)).expect("removed, also twice");
        assert_eq!(records.all().expect("read").len(), 1);
    }
}
