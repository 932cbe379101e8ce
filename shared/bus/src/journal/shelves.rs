//! The run of shelves: a full one is left as it is and a new one begun, for sled grows slow and large in one place.

use super::block::{Block, Packer};
use super::shelf::Shelf;
use super::{JournalError, failed, set_unsynced_aside};
use crate::store::{self, StoreError};
use bytes::Bytes;
use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A shelf of so many bytes on disk is full.
const SHELF_BYTES: u64 = 256 * 1024 * 1024;
/// Most full shelves that are open at once, for readers.
const OPEN: usize = 3;
const PREFIX: &str = "commits-";

/// All shelves.
pub(super) struct Shelves {
    folder: PathBuf,
    run: Mutex<Run>,
}

struct Run {
    /// The first sequence of each shelf, oldest first; the last is the one that is written.
    firsts: Vec<u64>,
    newest: Arc<Shelf>,
    /// Full shelves that are open, least recently used first.
    open: VecDeque<(u64, Arc<Shelf>)>,
}

impl Shelves {
    /// Opens the newest shelf that is whole, and tells the last sequence on it. Those after a damaged one are set aside
    /// with it.
    pub(super) fn open(folder: &Path, aside: &mut Vec<PathBuf>) -> Result<(Self, u64), JournalError> {
        set_unsynced_aside(folder, PREFIX, aside)?;
        let mut firsts = found(folder)?;
        if firsts.first().is_some_and(|first| *first != 1) {
            clear(folder, &mut firsts, 0, "the journal does not begin with commit 1", aside)?;
        }
        if let Some(marked) = firsts.iter().position(|first| path(folder, *first).join("damaged").exists()) {
            clear(folder, &mut firsts, marked, "it was found damaged before", aside)?;
        }
        loop {
            let first = firsts.last().copied().unwrap_or(1);
            let opened = Shelf::open(&path(folder, first)).and_then(|shelf| Ok((shelf.check(first)?, shelf)));
            match opened {
                Ok((end, shelf)) => {
                    if firsts.is_empty() {
                        firsts.push(first);
                    }
                    let run = Run { firsts, newest: Arc::new(shelf), open: VecDeque::new() };
                    return Ok((Self { folder: folder.to_owned(), run: Mutex::new(run) }, end));
                }
                Err(
                    JournalError::Store(StoreError::Damaged { reason, .. })
                    | JournalError::Damaged { reason, .. },
                ) => {
                    // A shelf that was only just made cannot be helped by being made again.
                    let Some(from) = firsts.len().checked_sub(1) else {
                        return Err(store::damaged(&path(folder, first), reason).into());
                    };
                    clear(folder, &mut firsts, from, &reason, aside)?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The bytes of the commit with this sequence; none for 0.
    pub(super) fn last_commit(&self, end: u64) -> Result<Option<Bytes>, JournalError> {
        if end == 0 {
            return Ok(None);
        }
        Ok(self.block_with(end)?.commit(end))
    }

    /// The block that holds a commit.
    pub(super) fn block_with(&self, sequence: u64) -> Result<Block, JournalError> {
        self.shelf_with(sequence)?.block_with(sequence)
    }

    fn shelf_with(&self, sequence: u64) -> Result<Arc<Shelf>, JournalError> {
        let mut run = self.run();
        let index = run.firsts.partition_point(|first| *first <= sequence).saturating_sub(1);
        let first = run.firsts[index];
        if index + 1 == run.firsts.len() {
            return Ok(run.newest.clone());
        }
        let shelf = match run.open.iter().position(|(open, _)| *open == first) {
            Some(place) => run.open.remove(place).map(|(_, shelf)| shelf),
            None => None,
        };
        let shelf = match shelf {
            Some(shelf) => shelf,
            None => Arc::new(Shelf::open(&path(&self.folder, first))?),
        };
        run.open.push_back((first, shelf.clone()));
        if run.open.len() > OPEN {
            run.open.pop_front();
        }
        Ok(shelf)
    }

    /// Stores a full block whose last commit has this sequence, in the place of what was stored of it before; begins a
    /// new shelf when this one is full.
    pub(super) fn put_block(&self, last: u64, packer: &mut Packer) -> Result<(), JournalError> {
        let mut run = self.run();
        run.newest.put(last + 1 - packer.count() as u64, &packer.pack(), last)?;
        packer.clear();
        if run.newest.bytes_on_disk()? < SHELF_BYTES {
            return Ok(());
        }
        run.newest.flush()?;
        let first = last + 1;
        run.newest = Arc::new(Shelf::open(&path(&self.folder, first))?);
        run.firsts.push(first);
        Ok(())
    }

    /// Stores what is not on disk yet of a block that is not full.
    pub(super) fn put_loose(&self, last: u64, packer: &mut Packer) -> Result<(), JournalError> {
        let loose = packer.loose() as u64;
        if loose > 0 {
            let first = last + 1 - loose;
            self.run().newest.put(first, &packer.pack_loose(), first)?;
            packer.mark_stored();
        }
        Ok(())
    }

    pub(super) fn flush(&self) -> Result<(), JournalError> {
        let newest = self.run().newest.clone();
        newest.flush()
    }

    fn run(&self) -> MutexGuard<'_, Run> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn path(folder: &Path, first: u64) -> PathBuf {
    folder.join(format!("{PREFIX}{first:020}"))
}

/// The first sequences of the shelves in a folder, in order.
fn found(folder: &Path) -> Result<Vec<u64>, JournalError> {
    let mut firsts = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed("read", folder))? {
        let name = entry.map_err(failed("read", folder))?.file_name();
        let first = name.to_str().and_then(|name| name.strip_prefix(PREFIX)).map(str::parse);
        if let Some(Ok(first)) = first {
            firsts.push(first);
        }
    }
    firsts.sort_unstable();
    Ok(firsts)
}

/// Sets the shelves from an index on aside.
fn clear(
    folder: &Path,
    firsts: &mut Vec<u64>,
    from: usize,
    reason: &str,
    aside: &mut Vec<PathBuf>,
) -> Result<(), JournalError> {
    for first in firsts.drain(from..) {
        aside.push(store::set_aside(&path(folder, first), reason)?);
    }
    Ok(())
}
