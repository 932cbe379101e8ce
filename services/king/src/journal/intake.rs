//! The intake: every commit of the log in its order, as it is confirmed here, or from the log when that is not enough.

use super::copies::After;
use crate::kingdom::{Confirmed, Kingdom};
use bus::log::Log;
use bus::tail::{Tail, TailError};
use bytes::Bytes;
use events::Commit;
use std::sync::Arc;

/// A commit on its way into the journal.
pub(super) struct Copy {
    pub sequence: u64,
    pub payload: Bytes,
    /// What it holds, where that was read already.
    pub commit: Option<Arc<Commit>>,
}

/// Where commits come from.
pub(super) struct Intake {
    log: Log,
    kingdom: Kingdom,
    /// The sequence of the last that was taken.
    last: u64,
    /// The log, while it has what was confirmed and is not at hand.
    behind: Option<Tail>,
}

impl Intake {
    pub fn after(sequence: u64, log: Log, kingdom: Kingdom) -> Self {
        Self { log, kingdom, last: sequence, behind: None }
    }

    /// The next commit, if it is at hand.
    pub fn at_hand(&mut self) -> Option<Copy> {
        match self.kingdom.copies().take(self.last) {
            After::Next(confirmed) => Some(self.took(confirmed)),
            After::Elsewhere | After::Nothing => None,
        }
    }

    fn took(&mut self, Confirmed { sequence, commit, payload }: Confirmed) -> Copy {
        self.behind = None;
        self.last = sequence;
        Copy { sequence, payload, commit: Some(commit) }
    }

    /// The next commit, whenever it comes. Can be cancelled: nothing is taken then.
    ///
    /// # Errors
    /// When commits are missing in the log.
    pub async fn next(&mut self) -> Result<Copy, TailError> {
        loop {
            let after = match self.kingdom.copies().take(self.last) {
                After::Next(confirmed) => return Ok(self.took(confirmed)),
                other => other,
            };
            match after {
                After::Elsewhere => {
                    let tail = self.behind.get_or_insert_with(|| self.log.tail(self.last));
                    let entry = tail.next().await?;
                    self.last = entry.sequence;
                    return Ok(Copy { sequence: entry.sequence, payload: entry.payload, commit: None });
                }
                After::Nothing | After::Next(_) => self.kingdom.copies().grown().await,
            }
        }
    }
}
