//! Whether an end of the King is owed to a log that is not what it was.

use super::{JOURNAL, KingError};
use crate::args::Args;
use crate::journal::KeeperError;
use crate::watch::{self, Disaster, WatchError};
use bus::compare::CompareError;
use bus::connect;
use bus::journal::{Journal, JournalError, Place};
use bus::store::StoreError;
use events::{Commit, wire};
use service::data::Folder;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long the search for a disaster behind an error may take.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long a journal may still be in use.
const LET_GO: Duration = Duration::from_secs(30);
/// How often it is tried again meanwhile.
const AGAIN: Duration = Duration::from_millis(50);

/// Opens the journal of a King, once its last reader has let go: an answer of the past may still be on its way, or a repair
/// that has just made the log whole compares both.
pub(super) async fn open(folder: &Folder) -> Result<Journal, JournalError> {
    let deadline = Instant::now() + LET_GO;
    loop {
        let path = folder.join(JOURNAL);
        let opened = tokio::task::spawn_blocking(move || Journal::open(path)).await;
        match opened.expect("opening a journal does not panic") {
            Err(JournalError::Store(StoreError::InUse { .. })) if Instant::now() < deadline => {
                sleep(AGAIN).await;
            }
            opened => return opened,
        }
    }
}

/// The disaster behind an error.
///
/// # Errors
/// The error itself, when there is none.
pub(super) async fn behind(args: &Args, folder: &Folder, error: KingError) -> Result<Disaster, KingError> {
    if let KingError::Watch(WatchError::Disaster(disaster)) = error {
        return Ok(disaster);
    }
    if !may_be_one(&error) {
        return Err(error);
    }
    match tokio::time::timeout(PATIENCE, look(args, folder)).await {
        Ok(Ok(Some(disaster))) => Ok(disaster),
        Ok(Ok(None)) | Err(_) => Err(error),
        Ok(Err(looking)) => {
            tracing::warn!(reason = service::chain(&looking), "log and journal could not be compared");
            Err(error)
        }
    }
}

/// The disaster with what the journal has seen now that all that was confirmed is in it, and the epoch of its last commit; 0
/// where that cannot be read.
pub(super) async fn as_seen_at_the_end(folder: &Folder, disaster: Disaster) -> (Disaster, u64) {
    match last_of_the_journal(folder).await {
        Ok((seen, epoch)) => (Disaster { seen, ..disaster }, epoch),
        Err(error) => {
            tracing::warn!(reason = service::chain(&error), "what the journal has seen last cannot be read");
            (disaster, 0)
        }
    }
}

async fn last_of_the_journal(folder: &Folder) -> Result<(Place, u64), JournalError> {
    let journal = open(folder).await?;
    let last = journal.commit(journal.last().sequence)?;
    let epoch = last.and_then(|bytes| wire::decode::<Commit>(&bytes).ok()).map_or(0, |commit| commit.epoch);
    Ok((watch::last_seen(&journal)?, epoch))
}

/// Whether an error may come from a log that is not what it was.
fn may_be_one(error: &KingError) -> bool {
    match error {
        // A disk that fails says nothing of the log.
        KingError::Journal(error) | KingError::Keeper(KeeperError::Journal(error)) => !error.is_of_the_disk(),
        KingError::OpenLog(_)
        | KingError::Follow(_)
        | KingError::Helm(_)
        | KingError::Compare(_)
        | KingError::Watch(_)
        | KingError::Restore(_)
        | KingError::Keeper(KeeperError::Tail(_) | KeeperError::Fold(_)) => true,
        KingError::Folder(_)
        | KingError::Signer(_)
        | KingError::Note(_)
        | KingError::Password { .. }
        | KingError::Lane(_)
        | KingError::Connect(_)
        | KingError::Durability(_)
        | KingError::Provision(_)
        | KingError::Listen { .. }
        | KingError::Alarm(_)
        | KingError::Queries(_)
        | KingError::Git(_)
        | KingError::Objects(_)
        | KingError::OwnPath(_)
        | KingError::Http(_) => false,
    }
}

async fn look(args: &Args, folder: &Folder) -> Result<Option<Disaster>, LookError> {
    let bus = connect::connect(&args.bus()).await?;
    let journal = open(folder).await?;
    Ok(watch::look_first(&bus, &journal).await?)
}

#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error(transparent)]
    Connect(#[from] connect::ConnectError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Compare(#[from] CompareError),
}
