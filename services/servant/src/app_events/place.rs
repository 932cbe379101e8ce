//! Where the sockets of an instance lie: always at the same place, so that an app finds them again after its servant was
//! away; and who reaches them there, so that nobody speaks in another's name.
//!
//! | who tells | where | who reaches it |
//! |---|---|---|
//! | the user of the servant | in the data folder | this user, who alone enters the folder |
//! | another user of the host | under `/run`, for it cannot enter the data folder | this user: the socket is its own |
//! | a container, as whatever user | a folder of its own in the data folder, which is bound into it | who is in it |
//!
//! The path of a socket has at most 107 bytes (unix(7)). Where the data folder lies too deep, its part is a folder of the
//! user's own under `/tmp`.

use crate::spec::{Runtime, Spec};
use crate::spread::spread;
use crate::users;
use events::{InstanceId, ServantId};
use std::collections::BTreeSet;
use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Longest path of a socket, in bytes.
const PATH_BYTES: usize = 107;
/// What an instance's part of the path takes: `/<its last hex digit>/<32 hex digits>.new`, or `/<32 hex digits>/d.new`.
const TAIL_BYTES: usize = 2 + 1 + 32 + 4;
/// The folder of a container's sockets, as the container sees it.
pub const INSIDE: &str = "/run/king/events";

/// Who tells of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Teller {
    /// The user that the servant runs as.
    Own,
    /// Another user of the host, by its number.
    User(u32),
    /// What runs in a container, as whatever user.
    Container,
}

impl Teller {
    /// Who an instance is.
    ///
    /// # Errors
    /// When this host does not have its user.
    pub fn of(spec: &Spec) -> io::Result<Self> {
        match (spec.runtime(), &spec.how.supervision.user) {
            (Runtime::Container, _) => Ok(Self::Container),
            (Runtime::Process, None) => Ok(Self::Own),
            (Runtime::Process, Some(user)) => {
                let uid = users::find(user)?.uid;
                Ok(if uid == own_user() { Self::Own } else { Self::User(uid) })
            }
        }
    }
}

/// The folders of all sockets of a servant. Within the first are few more, for some file systems take long to make a file where
/// many are made and removed, and as long to make a folder for each instance.
#[derive(Clone, Debug)]
pub struct Place {
    folder: PathBuf,
    /// Made when it is needed: by instances that run as another user.
    of_users: PathBuf,
}

/// The sockets of one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    teller: Teller,
    pub folder: PathBuf,
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
        let servant = servant.0.simple();
        let folder = if within.as_os_str().len() + TAIL_BYTES <= PATH_BYTES {
            within
        } else {
            PathBuf::from(format!("/tmp/king-{}-{servant}", own_user()))
        };
        private(&folder)?;
        spread(&folder);
        Ok(Self { folder, of_users: PathBuf::from(format!("/run/king-{servant}")) })
    }

    /// The sockets of an instance.
    pub fn of(&self, instance: InstanceId, teller: Teller) -> Paths {
        let name = instance.0.simple().to_string();
        let (folder, base) = match teller {
            Teller::Own => {
                let folder = self.folder.join(&name[name.len() - 1..]);
                (folder.clone(), folder.join(name))
            }
            Teller::User(_) => (self.of_users.clone(), self.of_users.join(name)),
            Teller::Container => {
                let folder = self.folder.join(name);
                let [datagram, stream] = ["d", "s"].map(|name| folder.join(name));
                return Paths { teller, folder, datagram, stream };
            }
        };
        Paths { teller, folder, datagram: base.with_extension("d"), stream: base.with_extension("s") }
    }

    /// The instances that have sockets here.
    ///
    /// # Errors
    /// When the folders cannot be read.
    pub fn all(&self) -> io::Result<BTreeSet<InstanceId>> {
        let instance = |path: PathBuf| path.file_stem()?.to_str()?.parse::<InstanceId>().ok();
        let mut all = BTreeSet::new();
        let mut folders = vec![self.of_users.clone()];
        for entry in std::fs::read_dir(&self.folder)? {
            let path = entry?.path();
            match instance(path.clone()) {
                Some(of_container) => drop(all.insert(of_container)),
                None => folders.push(path),
            }
        }
        for folder in folders {
            match std::fs::read_dir(folder) {
                Ok(sockets) => all.extend(sockets.filter_map(|entry| instance(entry.ok()?.path()))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    /// Removes the sockets of an instance, whoever it was.
    ///
    /// # Errors
    /// When they cannot be removed.
    pub fn remove(&self, instance: InstanceId) -> io::Result<()> {
        for teller in [Teller::Own, Teller::User(0), Teller::Container] {
            self.of(instance, teller).remove()?;
        }
        // Others may have sockets there.
        let _ = std::fs::remove_dir(&self.of_users);
        Ok(())
    }
}

impl Paths {
    /// Makes the folder.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(&self) -> io::Result<()> {
        match self.teller {
            Teller::Own => private(&self.folder),
            // They find their sockets by name, and cannot see or make any.
            Teller::User(_) | Teller::Container => folder(&self.folder, 0o711),
        }
    }

    /// Lets who tells, and nobody else, write to a socket. Only the user of the servant changes what is in the folder, so the
    /// path leads to what was just made there.
    ///
    /// # Errors
    /// When the system refuses it: only root gives a socket away.
    pub fn grant(&self, socket: &Path) -> io::Result<()> {
        match self.teller {
            // Who cannot enter the folder cannot reach it.
            Teller::Own => Ok(()),
            Teller::User(uid) => {
                std::fs::set_permissions(socket, Permissions::from_mode(0o600))?;
                std::os::unix::fs::lchown(socket, Some(uid), None)
            }
            // Likewise: and in the container it is not known who will.
            Teller::Container => std::fs::set_permissions(socket, Permissions::from_mode(0o666)),
        }
    }

    /// The datagram socket and the stream socket as who tells finds them.
    pub fn seen(&self) -> [PathBuf; 2] {
        match self.teller {
            Teller::Own | Teller::User(_) => [self.datagram.clone(), self.stream.clone()],
            Teller::Container => ["d", "s"].map(|name| Path::new(INSIDE).join(name)),
        }
    }

    fn remove(&self) -> io::Result<()> {
        for socket in [&self.datagram, &self.stream] {
            for path in [socket.clone(), beside(socket)] {
                absent(std::fs::remove_file(path))?;
            }
        }
        match self.teller {
            Teller::Own | Teller::User(_) => Ok(()),
            Teller::Container => absent(std::fs::remove_dir(&self.folder)),
        }
    }
}

/// Where a socket is made that is to take the place of another.
pub fn beside(socket: &Path) -> PathBuf {
    socket.with_extension("new")
}

fn absent(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Makes a folder that only this user reaches.
fn private(path: &Path) -> io::Result<()> {
    folder(path, 0o700)
}

/// Makes a folder with this mode; one that is there must be such.
fn folder(path: &Path, mode: u32) -> io::Result<()> {
    match DirBuilder::new().mode(mode).create(path) {
        // Whatever the mask of this process leaves of it. Nobody else has put another folder there: it was not there.
        Ok(()) => std::fs::set_permissions(path, Permissions::from_mode(mode))?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    // In a folder that others write to, it may be anything that anybody made.
    let found = std::fs::symlink_metadata(path)?;
    if found.is_dir() && found.uid() == own_user() && found.mode() & 0o777 & !mode == 0 {
        return Ok(());
    }
    let text = format!("{} is no folder of this user with mode {mode:o} or less; remove it", path.display());
    Err(io::Error::new(io::ErrorKind::PermissionDenied, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn a_container_has_a_folder_of_its_own_that_fits_and_goes_with_it() {
        let (data, (servant, instance)) = (tempfile::tempdir().unwrap(), ids());
        let place = Place::open(data.path(), servant).unwrap();
        let paths = place.of(instance, Teller::Container);
        paths.create().unwrap();
        assert_eq!(paths.folder.metadata().unwrap().mode() & 0o777, 0o711);
        assert_eq!(paths.seen()[0], Path::new("/run/king/events/d"));
        let longest = beside(&paths.datagram).as_os_str().len() - place.folder.as_os_str().len();
        assert!(longest <= TAIL_BYTES, "{longest}");
        std::fs::write(&paths.stream, b"").unwrap();
        std::fs::write(beside(&paths.stream), b"").unwrap();
        assert_eq!(place.all().unwrap(), BTreeSet::from([instance]));
        place.remove(instance).unwrap();
        assert!(!paths.folder.exists() && place.all().unwrap().is_empty());
    }

    fn ids() -> (ServantId, InstanceId) {
        (ServantId(service::clock::fresh_id()), InstanceId(service::clock::fresh_id()))
    }

    #[test]
    fn sockets_lie_in_the_data_folder_where_they_fit_and_elsewhere_when_not() {
        let (data, (servant, instance)) = (tempfile::tempdir().unwrap(), ids());
        let near = Place::open(data.path(), servant).unwrap().of(instance, Teller::Own);
        assert!(near.datagram.starts_with(data.path()), "{near:?}");
        let deep = data.path().join("x".repeat(80));
        std::fs::create_dir(&deep).unwrap();
        let place = Place::open(&deep, servant).unwrap();
        let far = place.of(instance, Teller::Own);
        assert!(far.datagram.starts_with("/tmp") && far.stream.as_os_str().len() < PATH_BYTES, "{far:?}");
        far.create().unwrap();
        std::fs::write(&far.datagram, b"").unwrap();
        std::fs::write(&far.stream, b"").unwrap();
        assert_eq!(place.all().unwrap(), BTreeSet::from([instance]));
        place.remove(instance).unwrap();
        place.remove(instance).unwrap();
        assert_eq!(place.all().unwrap(), BTreeSet::new());
        std::fs::remove_dir_all(place.folder).unwrap();
    }

    #[test]
    fn a_folder_that_others_reach_or_that_leads_elsewhere_is_refused() {
        let data = tempfile::tempdir().unwrap();
        let open = data.path().join("open");
        std::fs::create_dir(&open).unwrap();
        std::fs::set_permissions(&open, PermissionsExt::from_mode(0o755)).unwrap();
        assert!(private(&open).unwrap_err().to_string().contains("mode 700 or less"));
        symlink(data.path(), data.path().join("link")).unwrap();
        assert!(private(&data.path().join("link")).is_err());
    }
}
