//! The start from a journal: the last snapshot and the commits after it.

use super::snapshot;
use crate::election::{ElectionError, Fold};
use bus::journal::{Journal, JournalError};

/// Why a journal could not be started from.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error("the journal cannot be used")]
    Journal(#[from] JournalError),
    #[error("what the journal holds is no log")]
    Fold(#[from] ElectionError),
}

/// A journal, and the state at its last commit.
pub struct Restored {
    pub journal: Journal,
    pub fold: Fold,
    /// How many parts of it, or journals as a whole, were damaged and set aside.
    pub set_aside: u64,
}

/// Folds what a journal holds. What cannot be used is set aside; what is missing then comes from the log. Blocks.
///
/// # Errors
/// When its folder cannot be used.
pub fn restore(journal: Journal) -> Result<Restored, RestoreError> {
    let set_aside = tell(&journal);
    match fold(&journal) {
        Ok(fold) => Ok(Restored { journal, fold, set_aside }),
        Err(RestoreError::Fold(error)) => begin_anew(journal, &service::chain(&error), set_aside),
        Err(RestoreError::Journal(JournalError::Damaged { reason, .. })) => {
            begin_anew(journal, &reason, set_aside)
        }
        Err(error) => Err(error),
    }
}

fn begin_anew(journal: Journal, reason: &str, before: u64) -> Result<Restored, RestoreError> {
    let (folder, origin) = (journal.folder().to_owned(), journal.origin()?);
    drop(journal);
    bus::journal::set_aside(&folder, reason)?;
    let journal = Journal::open(&folder)?;
    if let Some(origin) = origin {
        journal.set_origin(&origin)?;
    }
    Ok(Restored { fold: fold(&journal)?, journal, set_aside: before + 1 })
}

fn tell(journal: &Journal) -> u64 {
    for path in journal.set_aside() {
        tracing::warn!(
            path = %path.display(),
            left = journal.last().sequence,
            "a part of the journal was damaged and is set aside; what is missing is taken from the log"
        );
    }
    journal.set_aside().len() as u64
}

/// Folds what a journal holds, from its last snapshot that can be read.
pub(super) fn fold(journal: &Journal) -> Result<Fold, RestoreError> {
    let mut fold = newest_snapshot(journal)?;
    for commit in journal.commits(fold.sequence) {
        let (sequence, bytes) = commit?;
        fold.take(sequence, &bytes)?;
    }
    Ok(fold)
}

fn newest_snapshot(journal: &Journal) -> Result<Fold, JournalError> {
    let mut end = journal.last().sequence;
    while let Some((place, bytes)) = journal.snapshot_before(end)? {
        let is_known = journal.witness(place.sequence)?.is_some_and(|known| known == place);
        match snapshot::decode(&bytes) {
            Ok(state) if is_known && state.last == place.event => {
                return Ok(Fold { state, sequence: place.sequence, hash: place.hash });
            }
            Ok(_) => {
                tracing::warn!(sequence = place.sequence, "a snapshot is of another log and is forgotten")
            }
            Err(error) => {
                let reason = service::chain(&error);
                tracing::warn!(
                    sequence = place.sequence,
                    reason,
                    "a snapshot cannot be used and is forgotten"
                );
            }
        }
        journal.drop_snapshot(place.sequence)?;
        end = place.sequence - 1;
    }
    Ok(Fold::empty())
}
