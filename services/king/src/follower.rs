//! Following the log: what every King does that does not write, and what one does before it writes.
//!
//! The log is folded into a state of the follower's own, which the King decides on when it takes over, and into the
//! kingdom that readers see.

use crate::election::{ElectionError, Fold};
use crate::kingdom::{Confirmed, Kingdom};
use bus::log::Log;
use bus::tail::{Entry, Tail};
use bytes::Bytes;
use std::sync::Arc;

/// A King's place in the log.
pub struct Follower {
    log: Log,
    tail: Tail,
    fold: Fold,
    kingdom: Kingdom,
}

impl Follower {
    /// Folds the log to its end from a place in it, and lets the kingdom begin there.
    ///
    /// # Errors
    /// When the log cannot be read, or is damaged.
    pub async fn start(log: Log, kingdom: Kingdom, mut from: Fold) -> Result<Self, ElectionError> {
        from.catch_up(&log).await?;
        kingdom.begin(from.state.clone(), from.sequence);
        Ok(Self { tail: log.tail(from.sequence), log, fold: from, kingdom })
    }

    /// Goes on after a reign, from what is confirmed. What was only decided is gone.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn resume(log: Log, kingdom: Kingdom) -> Result<Self, ElectionError> {
        let (state, sequence) = kingdom.place();
        let hash = Fold::hash_at(&log, sequence).await?;
        let fold = Fold { state, sequence, hash };
        Ok(Self { tail: log.tail(sequence), log, fold, kingdom })
    }

    /// The place.
    pub fn fold(&self) -> &Fold {
        &self.fold
    }

    /// The log that is followed.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Ends to follow, to write.
    pub fn into_fold(self) -> Fold {
        self.fold
    }

    /// Waits for the next commit and takes it. Can be cancelled: nothing is taken then, or all of it.
    ///
    /// # Errors
    /// When the log is damaged.
    pub async fn next(&mut self) -> Result<(), ElectionError> {
        let entry = self.tail.next().await?;
        self.take(&entry)
    }

    /// Follows to the end that the log has now, and at least to this sequence.
    ///
    /// # Errors
    /// When the log cannot be read, or is damaged.
    pub async fn catch_up(&mut self, at_least: u64) -> Result<(), ElectionError> {
        let end = self.log.last_sequence().await?.max(at_least);
        while self.fold.sequence < end {
            self.next().await?;
        }
        Ok(())
    }

    /// A commit that this King appended itself.
    ///
    /// # Errors
    /// When it does not follow.
    pub fn appended(&mut self, sequence: u64, payload: &Bytes) -> Result<(), ElectionError> {
        let commit = Arc::new(self.fold.take(sequence, payload)?);
        self.kingdom.confirm(Confirmed { sequence, commit, payload: payload.clone() });
        Ok(())
    }

    fn take(&mut self, entry: &Entry) -> Result<(), ElectionError> {
        if entry.sequence <= self.fold.sequence {
            return Ok(());
        }
        self.appended(entry.sequence, &entry.payload)
    }
}
