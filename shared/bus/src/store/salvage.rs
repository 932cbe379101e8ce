//! A store that its disk has failed: what can be read in it is written into a new one, and it is set aside.
//!
//! What is read may lie in the memory of the system alone; every value proves itself by its checksum, and the new store
//! counts only once it is synced. It decides nothing: what was never durable was never counted on.

use super::{SledStore, Store, StoreError, beside, set_aside};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// What becomes of such a store, for those who read that there is one.
pub(super) const NEXT: &str = "what can be read is written anew then, or taken from the log";
/// How many pairs are copied at once.
const BATCH: usize = 256;

/// The name of a store that cannot be trusted.
pub(crate) fn unsynced(path: &Path) -> PathBuf {
    beside(path, ".unsynced")
}

/// Opens or makes the store in a directory, from one that cannot be trusted where there is one. Blocks.
pub(super) fn open(path: &Path) -> Result<SledStore, StoreError> {
    let old = unsynced(path);
    if old.exists() {
        if !path.exists() {
            rescue(&old, path)?;
        }
        set_aside(&old, "its disk has failed it; what could be read was written anew")?;
    }
    SledStore::open(path)
}

/// Complete beside its place before it is put there: a salvage that is killed begins anew.
fn rescue(old: &Path, path: &Path) -> Result<(), StoreError> {
    let beside = beside(path, ".new");
    if beside.exists() {
        fs::remove_dir_all(&beside).map_err(failed("removed", &beside))?;
    }
    match copy(old, &beside) {
        Ok(count) => {
            tracing::warn!(path = %path.display(), count, "a store that its disk had failed was written anew");
        }
        Err(error @ StoreError::Damaged { .. }) => {
            // Whoever opens it sets aside what is damaged, and knows that it is lost.
            fs::rename(old, path).map_err(failed("renamed", old))?;
            return Err(error);
        }
        Err(error) => return Err(error),
    }
    fs::rename(&beside, path).map_err(failed("renamed", &beside))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("renamed", path))
}

fn copy(old: &Path, new: &Path) -> Result<usize, StoreError> {
    let old = SledStore::load(old)?;
    old.write_no_more();
    let new = SledStore::open(new)?;
    let (mut from, mut count) = (Vec::new(), 0);
    loop {
        let pairs = old.scan(&from, BATCH)?;
        let Some((last, _)) = pairs.last() else { break };
        from.clone_from(last);
        from.push(0);
        count += pairs.len();
        let pairs: Vec<_> = pairs.iter().map(|(key, value)| (key.as_slice(), value.as_slice())).collect();
        new.write(&pairs, &[])?;
    }
    new.flush()?;
    new.sync_file().map_err(|source| new.stop("synced", source))?;
    Ok(count)
}

fn failed(tried: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io { path, tried, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::damaged;

    fn holds(store: &SledStore) -> Vec<Vec<u8>> {
        store.scan(&[], 1000).unwrap().into_iter().map(|(key, _)| key).collect()
    }

    fn failing(path: &Path) {
        let store = SledStore::open(path).unwrap();
        store.write(&[(b"a", b"1"), (b"b", b"2")], &[]).unwrap();
        store.flush().unwrap();
        store.write(&[(b"c", b"3")], &[]).unwrap();
        let error = store.stop("flushed", io::Error::from_raw_os_error(5));
        assert!(error.to_string().contains("cannot be flushed"), "{error}");
        assert!(matches!(store.write(&[(b"d", b"4")], &[]), Err(StoreError::Stopped { .. })));
        assert!(matches!(store.flush(), Err(StoreError::Stopped { .. })), "no later sync is believed");
        assert_eq!(holds(&store).len(), 3, "it can still be read");
    }

    #[test]
    fn a_store_that_its_disk_has_failed_is_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        failing(&path);
        assert!(!path.exists() && unsynced(&path).exists(), "nobody takes it for whole");
        let store = open(&path).unwrap();
        assert_eq!(holds(&store), [b"a", b"b", b"c"]);
        drop(store);
        assert!(!unsynced(&path).exists());
        assert_eq!(holds(&open(&path).unwrap()).len(), 3);
    }

    #[test]
    fn a_salvage_that_was_killed_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        failing(&path);
        let half = SledStore::open(&beside(&path, ".new")).unwrap();
        half.write(&[(b"x", b"half")], &[]).unwrap();
        drop(half);
        assert_eq!(holds(&open(&path).unwrap()), [b"a", b"b", b"c"]);
    }

    #[test]
    fn one_that_is_damaged_too_is_where_damage_is_looked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        failing(&path);
        let db = unsynced(&path).join("db");
        let mut bytes = fs::read(&db).unwrap();
        bytes.iter_mut().for_each(|byte| *byte ^= 0x55);
        fs::write(&db, bytes).unwrap();
        let opened = open(&path);
        let is_told = opened.as_ref().is_err_and(|error| matches!(error, StoreError::Damaged { .. }));
        // sled may take a file without any whole page for an empty one.
        assert!(
            is_told || opened.is_ok_and(|store| holds(&store).is_empty()),
            "{}",
            damaged(&path, String::new())
        );
    }
}
