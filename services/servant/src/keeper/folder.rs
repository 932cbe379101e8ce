//! The folder of an instance: its spec, its holder's socket and records, its spool, and how far that is shipped.

use crate::spec::Spec;
use crate::spool::Bookmark;
use crate::spread::spread;
use events::InstanceId;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

const SPEC: &str = "spec";
const SHIPPED: &str = "shipped";
const STOPPED: &str = "stopped";

/// The folders of instances lie in so many drawers, which are named by the last two digits of their ids.
const DRAWERS: u16 = 256;

/// Makes the drawers. What lies beside them is put into its own.
///
/// A file system may take long to make a file where many were made and removed, and longer to find a place of its own for
/// each new folder. So that is done once, for the drawers.
///
/// # Errors
/// When they cannot be made.
pub fn prepare(instances: &Path) -> io::Result<()> {
    std::fs::create_dir_all(instances)?;
    spread(instances);
    for drawer in drawers(instances) {
        match DirBuilder::new().mode(0o700).create(drawer) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    for beside in within(instances)? {
        std::fs::rename(&beside.path, InstanceFolder::new(instances, beside.instance).path)?;
    }
    Ok(())
}

fn drawers(instances: &Path) -> impl Iterator<Item = PathBuf> {
    (0..DRAWERS).map(|drawer| instances.join(format!("{drawer:02x}")))
}

/// Folders that are named by an instance.
fn within(folder: &Path) -> io::Result<Vec<InstanceFolder>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if let Some(instance) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
            found.push(InstanceFolder { instance, path: entry.path() });
        }
    }
    Ok(found)
}

/// Where an instance lives on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceFolder {
    pub instance: InstanceId,
    pub path: PathBuf,
}

impl InstanceFolder {
    /// The folder of an instance, which may not be there yet.
    pub fn new(instances: &Path, instance: InstanceId) -> Self {
        let name = instance.to_string();
        let drawer = &name[name.len() - 2..];
        Self { instance, path: instances.join(drawer).join(&name) }
    }

    /// All that are there.
    ///
    /// # Errors
    /// When the drawers cannot be read.
    pub fn all(instances: &Path) -> io::Result<Vec<Self>> {
        let all = drawers(instances).map(|drawer| within(&drawer)).collect::<io::Result<Vec<_>>>()?;
        Ok(all.into_iter().flatten().collect())
    }

    /// Makes the folder and writes down what the instance is. What is written there already is left as it is: to replace a
    /// file makes some file systems bring it to the disk at once, and a successor is not to wait for that.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn create(&self, spec: &Spec) -> io::Result<()> {
        let spec = serde_json::to_vec(spec)?;
        if std::fs::read(self.path.join(SPEC)).is_ok_and(|written| written == spec) {
            return Ok(());
        }
        DirBuilder::new().recursive(true).mode(0o700).create(&self.path)?;
        self.replace(SPEC, &spec)
    }

    /// What the instance is; none when it is not written or cannot be read.
    pub fn spec(&self) -> Option<Spec> {
        let spec = self.read(SPEC)?;
        serde_json::from_slice(&spec)
            .inspect_err(|error| tracing::warn!(instance = %self.instance, %error, "its spec is damaged"))
            .ok()
    }

    /// The next lines to ship, of stdout and stderr. From the first on when that is not known: a repeated line is told
    /// by its number.
    pub fn next_to_ship(&self) -> [Bookmark; 2] {
        let bytes = self.read(SHIPPED).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        [0, 1].map(|stream| {
            // Older versions wrote the numbers alone.
            let next = words.get(stream).and_then(|word| word.parse().ok());
            let position = words.get(stream + 2).and_then(|word| word.parse().ok());
            next.map_or(Bookmark::START, |next| Bookmark { next, position })
        })
    }

    /// Keeps the next lines to ship.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep_next_to_ship(&self, marks: [Bookmark; 2]) -> io::Result<()> {
        let position = |mark: Bookmark| mark.position.map_or("-".to_owned(), |bytes| bytes.to_string());
        let [out, err] = marks;
        let text = format!("{} {} {} {}\n", out.next, err.next, position(out), position(err));
        self.replace(SHIPPED, text.as_bytes())
    }

    /// Marks an instance that is gone: only its output is still to be shipped.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn mark_stopped(&self) -> io::Result<()> {
        match std::fs::write(self.path.join(STOPPED), b"") {
            // It never ran here.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// Whether the instance is gone.
    pub fn is_stopped(&self) -> bool {
        self.path.join(STOPPED).exists()
    }

    /// Since when the instance is gone, if it is.
    pub fn stopped_since(&self) -> Option<SystemTime> {
        self.path.join(STOPPED).metadata().and_then(|mark| mark.modified()).ok()
    }

    /// Removes the folder with everything in it.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(&self) -> io::Result<()> {
        match std::fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// None when it is not there, or cannot be read, which is logged.
    fn read(&self, name: &str) -> Option<Vec<u8>> {
        match std::fs::read(self.path.join(name)) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(instance = %self.instance, name, %error, "a file of an instance cannot be read");
                }
                None
            }
        }
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let beside = self.path.join(format!("{name}.new"));
        std::fs::write(&beside, bytes)?;
        std::fs::rename(beside, self.path.join(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::laws::spec;
    use events::manifest::Restart;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn every_folder_lies_in_its_drawer_also_one_that_was_made_beside_them() {
        let root = tempfile::tempdir().unwrap();
        let ids = [1, 0x1ff].map(|number| InstanceId(uuid::Uuid::from_u128(number)));
        let [one, other] = ids.map(|id| InstanceFolder::new(root.path(), id));
        std::fs::create_dir(root.path().join(other.instance.to_string())).unwrap();
        prepare(root.path()).unwrap();
        std::fs::create_dir(&one.path).unwrap();
        prepare(root.path()).unwrap();
        assert!(other.path.starts_with(root.path().join("ff")), "{other:?}");
        assert_eq!(InstanceFolder::all(root.path()).unwrap(), [one, other]);
    }

    #[test]
    fn a_spec_is_written_anew_only_when_it_is_another() {
        let root = tempfile::tempdir().unwrap();
        let (one, other) = (spec(1, 80, Restart::Always), spec(1, 81, Restart::Never));
        let folder = InstanceFolder::new(root.path(), one.instance);
        let file = || folder.path.join(SPEC).metadata().unwrap().ino();
        folder.create(&one).unwrap();
        let first = file();
        folder.create(&one).unwrap();
        assert_eq!((file(), folder.spec()), (first, Some(one)));
        folder.create(&other).unwrap();
        assert_eq!(folder.spec(), Some(other));
    }
}
