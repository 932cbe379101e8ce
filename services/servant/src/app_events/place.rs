//! Where the sockets of an instance lie: always at the same place, so that an app finds them again after its servant was
//! away. Only the user of the servant reaches them.
//!
//! The path of a socket has at most 107 bytes (unix(7)). Where the data folder lies too deep, the sockets lie in a folder
//! of the user's own under `/tmp`.

use crate::spread::spread;
use events::{InstanceId, ServantId};
use std::collections::BTreeSet;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Longest path of a socket, in bytes.
const PATH_BYTES: usize = 107;
/// What an instance's part of the path takes: `/<its last hex digit>/<32 hex digits>.new`.
const TAIL_BYTES: usize = 2 + 1 + 32 + 4;

/// The folder of all sockets of a servant. Within it are few more, for some file systems take long to make a file where many
/// are made and removed, and as long to make a folder for each instance.
#[derive(Clone, Debug)]
pub struct Place {
    folder: PathBuf,
}

/// The sockets of one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    folder: PathBuf,
    pub datagram: PathBuf,
    pub stream: PathBuf,
}

impl Place {
    /// The place of a servant with this data folder.
    ///
    /// # Errors
    /// When there is no folder that only this user reaches.
    pub fn open(data: &Path, servant: ServantId) -> io::Result<Self> {
        let within = data.join("ev");
        let folder = if within.as_os_str().len() + TAIL_BYTES <= PATH_BYTES {
            within
        } else {
            let user = rustix::process::geteuid().as_raw();
            PathBuf::from(format!("/tmp/king-{user}-{}", servant.0.simple()))
        };
        private(&folder)?;
        spread(&folder);
        Ok(Self { folder })
    }

    /// The sockets of an instance.
    pub fn of(&self, instance: InstanceId) -> Paths {
        let name = instance.0.simple().to_string();
        let folder = self.folder.join(&name[name.len() - 1..]);
        let base = folder.join(name);
        Paths { datagram: base.with_extension("d"), stream: base.with_extension("s"), folder }
    }

    /// The instances that have sockets here.
    ///
    /// # Errors
    /// When the folders cannot be read.
    pub fn all(&self) -> io::Result<BTreeSet<InstanceId>> {
        let mut all = BTreeSet::new();
        for folder in std::fs::read_dir(&self.folder)? {
            let sockets = std::fs::read_dir(folder?.path())?;
            all.extend(
                sockets
                    .filter_map(|entry| entry.ok()?.path().file_stem()?.to_str()?.parse::<InstanceId>().ok()),
            );
        }
        Ok(all)
    }
}

impl Paths {
    /// Makes the folder.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(&self) -> io::Result<()> {
        private(&self.folder)
    }

    /// Removes the sockets.
    ///
    /// # Errors
    /// When they cannot be removed.
    pub fn remove(&self) -> io::Result<()> {
        [&self.datagram, &self.stream].into_iter().try_for_each(|path| match std::fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        })
    }
}

/// Makes a folder that only this user reaches; one that is there must be such.
fn private(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        other => return other,
    }
    // In a folder that others write to, it may be anything that anybody made.
    let found = std::fs::symlink_metadata(folder)?;
    let is_own =
        found.is_dir() && found.uid() == rustix::process::geteuid().as_raw() && found.mode() & 0o077 == 0;
    if is_own {
        return Ok(());
    }
    let text = format!("{} is no folder that only this user reaches; remove it", folder.display());
    Err(io::Error::new(io::ErrorKind::PermissionDenied, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn ids() -> (ServantId, InstanceId) {
        (ServantId(service::clock::fresh_id()), InstanceId(service::clock::fresh_id()))
    }

    #[test]
    fn sockets_lie_in_the_data_folder_where_they_fit_and_elsewhere_when_not() {
        let (data, (servant, instance)) = (tempfile::tempdir().unwrap(), ids());
        let near = Place::open(data.path(), servant).unwrap().of(instance);
        assert!(near.datagram.starts_with(data.path()), "{near:?}");
        let deep = data.path().join("x".repeat(80));
        std::fs::create_dir(&deep).unwrap();
        let place = Place::open(&deep, servant).unwrap();
        let far = place.of(instance);
        assert!(far.datagram.starts_with("/tmp") && far.stream.as_os_str().len() < PATH_BYTES, "{far:?}");
        far.create().unwrap();
        std::fs::write(&far.datagram, b"").unwrap();
        std::fs::write(&far.stream, b"").unwrap();
        assert_eq!(place.all().unwrap(), BTreeSet::from([instance]));
        far.remove().unwrap();
        far.remove().unwrap();
        assert_eq!(place.all().unwrap(), BTreeSet::new());
        std::fs::remove_dir_all(place.folder).unwrap();
    }

    #[test]
    fn a_folder_that_others_reach_or_that_leads_elsewhere_is_refused() {
        let data = tempfile::tempdir().unwrap();
        let open = data.path().join("open");
        std::fs::create_dir(&open).unwrap();
        std::fs::set_permissions(&open, PermissionsExt::from_mode(0o755)).unwrap();
        assert!(private(&open).unwrap_err().to_string().contains("only this user"));
        symlink(data.path(), data.path().join("link")).unwrap();
        assert!(private(&data.path().join("link")).is_err());
    }
}
