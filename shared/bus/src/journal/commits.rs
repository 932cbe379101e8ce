//! Reading commits in order.

use super::block::Block;
use super::{Journal, JournalError};
use bytes::Bytes;

/// The commits after a sequence; see [`Journal::commits`].
#[derive(Debug)]
pub struct Commits {
    journal: Journal,
    next: u64,
    block: Option<Block>,
}

impl Commits {
    pub(super) fn new(journal: Journal, after: u64) -> Self {
        Self { journal, next: after + 1, block: None }
    }

    fn take_from_block(&mut self) -> Option<(u64, Bytes)> {
        let sequence = self.next;
        let bytes = self.block.as_ref()?.commit(sequence)?;
        self.next += 1;
        Some((sequence, bytes))
    }
}

impl Iterator for Commits {
    type Item = Result<(u64, Bytes), JournalError>;

    /// After an error the same place is tried again: whoever reads stops there.
    fn next(&mut self) -> Option<Self::Item> {
        if let Some(found) = self.take_from_block() {
            return Some(Ok(found));
        }
        if self.next > self.journal.last().sequence {
            return None;
        }
        match self.journal.inner.shelves.block_with(self.next) {
            Ok(block) => self.block = Some(block),
            Err(error) => return Some(Err(error)),
        }
        self.take_from_block().map(Ok)
    }
}
