//! Files that live only while they are used: archives and bundles on their way to and from the object store.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// The folder of such files; emptied at each start.
pub struct Spool {
    folder: PathBuf,
}

impl Spool {
    /// Opens it, and removes what an earlier King left.
    pub fn open(folder: PathBuf) -> io::Result<Self> {
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => fs::create_dir_all(&folder)?,
        }
        Ok(Self { folder })
    }

    /// Makes a file.
    pub fn file(&self) -> io::Result<(Spooled, File)> {
        let path = self.folder.join(service::clock::fresh_id().to_string());
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        Ok((Spooled { path }, file))
    }
}

/// A file that is removed with the value.
#[derive(Debug)]
pub struct Spooled {
    path: PathBuf,
}

impl Spooled {
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Spooled {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "could not remove a spooled file");
        }
    }
}
