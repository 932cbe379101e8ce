//! One sled store with a run of commits, as blocks under the sequence of their first.

use super::JournalError;
use super::block::Block;
use crate::store::{SledStore, Store, damaged, open_patiently};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// Stands in a shelf in which damage was found; at the next start it is set aside.
const MARK: &str = "damaged";
/// How many blocks one read of the store brings while it is checked.
const SCAN: usize = 64;

/// A shelf that is open.
pub(super) struct Shelf {
    path: PathBuf,
    store: SledStore,
}

impl Shelf {
    /// Opens or makes a shelf; every value in it is read once.
    pub(super) fn open(path: &Path) -> Result<Self, JournalError> {
        if path.join(MARK).exists() {
            return Err(damaged(path, "it was found damaged before".to_owned()).into());
        }
        Ok(Self { path: path.to_owned(), store: open_patiently(path)? })
    }

    /// The last sequence on a shelf whose first is `first`; `first - 1` on an empty one.
    ///
    /// # Errors
    /// When there is a hole.
    pub(super) fn check(&self, first: u64) -> Result<u64, JournalError> {
        let mut next = first;
        loop {
            let pairs = self.guarded(|store| store.scan(&next.to_be_bytes(), SCAN))?;
            if pairs.is_empty() {
                return Ok(next - 1);
            }
            for (key, packed) in pairs {
                if key != next.to_be_bytes() {
                    return Err(self.broken(&format!("commit {next} is missing")));
                }
                next += Block::count_of(&packed).map_err(|error| self.broken(&error.to_string()))?;
            }
        }
    }

    /// The block that holds a commit.
    pub(super) fn block_with(&self, sequence: u64) -> Result<Block, JournalError> {
        let found = self.guarded(|store| store.at_or_before(&sequence.to_be_bytes()))?;
        let (key, packed) = found.ok_or_else(|| self.broken(&format!("commit {sequence} is missing")))?;
        let first: [u8; 8] =
            key.try_into().map_err(|_| self.broken("a key has not the length of a sequence"))?;
        let block = Block::unpack(u64::from_be_bytes(first), &packed)
            .map_err(|error| self.broken(&error.to_string()))?;
        match block.commit(sequence) {
            Some(_) => Ok(block),
            None => Err(self.broken(&format!("commit {sequence} is missing"))),
        }
    }

    /// Puts a block in the place of the smaller ones that hold the same commits.
    pub(super) fn put(&self, first: u64, packed: &[u8], last: u64) -> Result<(), JournalError> {
        let keys: Vec<[u8; 8]> = (first + 1..=last).map(u64::to_be_bytes).collect();
        let superseded: Vec<&[u8]> = keys.iter().map(<[u8; 8]>::as_slice).collect();
        self.guarded(|store| store.write(&[(&first.to_be_bytes(), packed)], &superseded))
    }

    pub(super) fn flush(&self) -> Result<(), JournalError> {
        self.guarded(Store::flush)
    }

    pub(super) fn bytes_on_disk(&self) -> Result<u64, JournalError> {
        self.guarded(Store::bytes_on_disk)
    }

    /// sled may panic on what it does not expect on disk; that is damage and no reason to end.
    fn guarded<T>(
        &self,
        work: impl FnOnce(&SledStore) -> Result<T, crate::store::StoreError>,
    ) -> Result<T, JournalError> {
        let done = catch_unwind(AssertUnwindSafe(|| work(&self.store)));
        match done {
            Ok(Err(crate::store::StoreError::Damaged { reason, .. })) => Err(self.broken(&reason)),
            Ok(done) => Ok(done?),
            Err(_) => Err(self.broken("reading it panicked")),
        }
    }

    /// Leaves a mark, so that the next start sets this shelf aside.
    fn broken(&self, reason: &str) -> JournalError {
        if let Err(error) = std::fs::write(self.path.join(MARK), reason) {
            tracing::warn!(path = %self.path.display(), %error, "damage in the journal cannot be marked");
        }
        JournalError::Damaged { path: self.path.clone(), reason: reason.to_owned() }
    }
}
