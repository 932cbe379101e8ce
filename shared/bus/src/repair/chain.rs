//! The longest chain of commits that can be proved: what the journals hold, and behind that what the stream alone holds, as
//! long as each commit names the hash of the one before.

use super::RepairError;
use crate::compare::{self, Finding, Report, Seen, Walk};
use crate::connect::Bus;
use crate::journal::{self, Entry, Journal, JournalError, Place};
use crate::log::Log;
use crate::store::beside;
use bytes::Bytes;
use std::fs;
use std::path::{Path, PathBuf};

/// Commits that are taken from the stream before the disk is synced.
const BATCH: usize = 256;
/// What is added to the name of a journal while it is made anew.
const NEW: &str = ".new";
/// Why a journal is set aside that has seen what is lost.
const LOST: &str =
    "it has seen commits that no journal and no stream holds any more, and their loss was accepted";

/// The journals that a repair can rest on. They agree with each other.
#[derive(Debug)]
pub struct Journals {
    proved: Vec<Proved>,
}

/// A journal and its own chain.
#[derive(Debug)]
pub(super) struct Proved {
    pub journal: Journal,
    pub good: Walk,
    finding: Option<Finding>,
}

impl Journals {
    /// Walks each of them, and compares them. Blocks.
    ///
    /// # Errors
    /// When one cannot be read, or two have seen different commits at the same place.
    pub fn prove(journals: Vec<Journal>) -> Result<Self, RepairError> {
        let mut proved = Vec::with_capacity(journals.len());
        for journal in journals {
            let Report { good, finding } = compare::whole_journal(&journal, |_| {})?;
            proved.push(Proved { journal, good, finding });
        }
        let journals = Self { proved };
        if let Some(base) = journals.longest() {
            journals.proved.iter().try_for_each(|other| agree(&base.journal, &other.journal))?;
        }
        Ok(journals)
    }

    /// The one whose chain is the longest of those that are whole.
    pub(super) fn base(&self) -> Result<&Proved, RepairError> {
        let base = self.longest().filter(|base| base.good.sequence > 0);
        base.ok_or_else(|| {
            let bad = self.proved.iter().find_map(|proved| Some((proved, proved.finding.clone()?)));
            match bad {
                Some((bad, finding)) => {
                    RepairError::BadJournal { path: bad.journal.folder().to_owned(), finding }
                }
                None => RepairError::EmptyJournal,
            }
        })
    }

    fn longest(&self) -> Option<&Proved> {
        self.proved.iter().filter(|proved| proved.finding.is_none()).max_by_key(|proved| proved.good.sequence)
    }

    /// Each with the last that its witness has seen.
    pub(super) fn witnessed(&self) -> Result<Vec<(&Path, Place)>, JournalError> {
        let place = |proved: &Proved| proved.journal.witness(proved.journal.witnessed());
        let seen = |proved| Ok((proved, place(proved)?.unwrap_or(Place::START)));
        let seen: Result<Vec<(&Proved, Place)>, JournalError> = self.proved.iter().map(seen).collect();
        Ok(seen?.into_iter().map(|(proved, place)| (proved.journal.folder(), place)).collect())
    }

    /// Sets those aside that have seen more than this, and makes them anew up to there. Blocks.
    pub(super) fn forget_after(&mut self, end: u64) -> Result<(), RepairError> {
        let folder = |proved: &Proved| proved.journal.folder().to_owned();
        let knows_more = |proved: &&Proved| proved.journal.witnessed() > end;
        let all: Vec<PathBuf> = self.proved.iter().map(folder).collect();
        let folders: Vec<PathBuf> = self.proved.iter().filter(knows_more).map(folder).collect();
        let base = &self.base()?.journal;
        folders.iter().try_for_each(|folder| copy(base, end, &beside(folder, NEW)))?;
        // Each lets go of its folder.
        self.proved.clear();
        for folder in &folders {
            journal::set_aside(folder, LOST)?;
            fs::rename(beside(folder, NEW), folder).map_err(|source| JournalError::Io {
                path: folder.clone(),
                tried: "put in its place",
                source,
            })?;
        }
        let opened: Result<Vec<Journal>, JournalError> = all.iter().map(Journal::open).collect();
        *self = Self::prove(opened?)?;
        Ok(())
    }
}

impl Seen for Journals {
    fn last(&self) -> u64 {
        self.proved.iter().map(|proved| proved.journal.witnessed()).max().unwrap_or(0)
    }

    fn at(&self, sequence: u64) -> Result<Option<Place>, JournalError> {
        for proved in &self.proved {
            if let Some(place) = proved.journal.witness(sequence)? {
                return Ok(Some(place));
            }
        }
        Ok(None)
    }
}

/// Each commit names the one before: so two journals that agree on the last that both know agree on all.
fn agree(one: &Journal, other: &Journal) -> Result<(), RepairError> {
    let both = one.witnessed().min(other.witnessed());
    let hash = |journal: &Journal, sequence| {
        Ok::<_, JournalError>(journal.witness(sequence)?.map(|place| place.hash))
    };
    let is_same = |sequence| Ok::<_, JournalError>(hash(one, sequence)? == hash(other, sequence)?);
    if is_same(both)? {
        return Ok(());
    }
    let (mut same, mut different) = (0, both);
    while different - same > 1 {
        let middle = same + (different - same) / 2;
        if is_same(middle)? { same = middle } else { different = middle }
    }
    let (one, other) = (one.folder().to_owned(), other.folder().to_owned());
    Err(RepairError::Apart { one, other, sequence: different })
}

/// Makes a journal of the beginning of another.
fn copy(from: &Journal, end: u64, folder: &Path) -> Result<(), JournalError> {
    if folder.exists() {
        let failed = |source| JournalError::Io { path: folder.to_owned(), tried: "removed", source };
        fs::remove_dir_all(folder).map_err(failed)?;
    }
    let journal = Journal::open(folder)?;
    let (mut walk, mut batch) = (Walk::START, Vec::with_capacity(BATCH));
    for commit in from.commits(0) {
        let (sequence, bytes) = commit?;
        if sequence > end {
            break;
        }
        batch.push(entry(&mut walk, bytes).map_err(|finding| damaged(from, &finding))?);
        if batch.len() == BATCH {
            journal.append(&std::mem::take(&mut batch))?;
        }
    }
    journal.append(&batch)?;
    journal.sync()
}

fn damaged(journal: &Journal, finding: &Finding) -> JournalError {
    JournalError::Damaged { path: journal.folder().to_owned(), reason: finding.to_string() }
}

fn entry(walk: &mut Walk, bytes: Bytes) -> Result<Entry, Finding> {
    let commit = walk.take(&bytes)?;
    Ok(Entry::of(walk.sequence, &commit, walk.hash, bytes))
}

/// How far the chain goes.
#[derive(Debug)]
pub(super) struct Chain {
    /// Its last commit.
    pub end: Walk,
    /// The first and the last commit of it that only the stream holds.
    pub rescued: Option<(u64, u64)>,
    /// Commits of the stream that are none of it and yet continue what it is from the beginning to the first of them: another
    /// chain, written by whoever did not know this one.
    pub rival: Option<(u64, u64)>,
}

/// Follows the stream from the end of a journal on, as long as it continues that.
pub(super) async fn reach(
    bus: &Bus,
    journals: &Journals,
    from: Walk,
    last: u64,
    report: &Report,
) -> Result<Chain, RepairError> {
    let log = Log::open(bus).await?;
    let end = follow(&log, from, last, Some(journals)).await?;
    let rescued = (end.sequence > from.sequence).then_some((from.sequence + 1, end.sequence));
    let rival = match report.finding {
        Some(Finding::Changed { sequence, .. }) => {
            let other = follow(&log, report.good, last, None).await?;
            (other.sequence == last).then_some((sequence, last))
        }
        Some(_) | None => None,
    };
    Ok(Chain { end, rescued, rival })
}

/// Walks the stream after a place as long as it can be read, continues the chain, and is what was seen.
async fn follow(log: &Log, from: Walk, last: u64, seen: Option<&Journals>) -> Result<Walk, RepairError> {
    let (mut walk, mut before) = (from, from);
    while walk.sequence < last {
        let Some(bytes) = log.read_what_is_there(walk.sequence + 1).await? else { break };
        let next = match next(walk, &bytes) {
            Ok(next) => next,
            // One of the two is not what it was, and the first of them has no other witness: neither is proved.
            Err(Finding::Unchained { .. }) => return Ok(before),
            Err(_) => break,
        };
        let known = seen.map(|seen| seen.at(next.sequence)).transpose()?.flatten();
        if known.is_some_and(|known| known.hash != next.hash) {
            break;
        }
        before = if known.is_some() { next } else { walk };
        walk = next;
    }
    Ok(walk)
}

fn next(mut walk: Walk, bytes: &[u8]) -> Result<Walk, Finding> {
    walk.take(bytes).map(|_| walk)
}

/// Takes commits of the stream into the journal that they continue.
pub(super) async fn rescue(bus: &Bus, base: &Journal, mut walk: Walk, to: u64) -> Result<(), RepairError> {
    let log = Log::open(bus).await?;
    while walk.sequence < to {
        let mut batch = Vec::with_capacity(BATCH);
        while walk.sequence < to && batch.len() < BATCH {
            let sequence = walk.sequence + 1;
            let bytes = log.read_what_is_there(sequence).await?.ok_or(RepairError::Gone { sequence })?;
            batch.push(entry(&mut walk, bytes).map_err(|_| RepairError::Gone { sequence })?);
        }
        base.append(&batch)?;
        base.sync()?;
    }
    Ok(())
}
