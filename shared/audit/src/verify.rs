//! Verify: whether the stored commits are one unbroken, unchanged log, as far as can be known.
//!
//! Each commit holds the hash of the one before, so a change, a deletion, an insertion or another order breaks the chain
//! at that place, unless everything after it was made anew; then what Kings have signed in the log ([`Checkpoint`]) no
//! longer fits. What follows the last signature, and the tail as such, is guarded by checkpoints that are held elsewhere.

use crate::history::{HistoryError, Place, StoredCommit};
use events::event::KingEvent;
use events::{Checkpoint, Commit, Digest, EventNumber, Fact, KingKey, Timestamp};
use serde::Serialize;
use std::collections::BTreeSet;

/// What is wrong at a place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum Problem {
    #[error("it is missing: commit {found} stands in its place")]
    Missing { found: u64 },
    #[error("it is no commit: {reason}")]
    NoCommit { reason: String },
    #[error(
        "the commit after it was made for {wanted}, but its hash is {found}: one of the two was changed, put in or moved"
    )]
    Unchained { wanted: Digest, found: Digest },
    #[error("it begins with event {found}, but event {wanted} is next")]
    Misnumbered { wanted: EventNumber, found: EventNumber },
    #[error("it holds no event")]
    Empty,
    #[error("it is of epoch {found}, but epoch {known} has written before")]
    OldEpoch { known: u64, found: u64 },
    #[error("its events are older than those before them: {found} after {before}")]
    Older { before: Timestamp, found: Timestamp },
    #[error("it says that a King signed commit {sequence}, but the signature is not that of the key {key}")]
    Forged { sequence: u64, key: KingKey },
    #[error("it is signed by {key}, which no election before it names and nobody vouches for")]
    Stranger { key: KingKey },
    #[error("a King signed that it has the hash {signed}, but that is {found}")]
    NotAsSigned { signed: Digest, found: Digest },
    #[error("a King signed that its last event is {signed}, but that is {found}")]
    OtherEvent { signed: EventNumber, found: EventNumber },
    #[error("the log ends before it, but a checkpoint was signed for it: the tail is cut off")]
    CutOff,
}

/// The first place that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The sequence of the commit.
    pub sequence: u64,
    pub problem: Problem,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Up to where everything is as it must be.
    pub good: Place,
    pub epoch: u64,
    /// Signatures in the log that were checked.
    pub signed: u64,
    /// Up to which event a signature vouches for the log.
    pub vouched: EventNumber,
    /// Checkpoints held elsewhere that fit.
    pub held: u64,
    /// The keys of the Kings that were elected.
    pub keys: BTreeSet<KingKey>,
    pub fault: Option<Fault>,
}

/// Checks a log, commit after commit.
#[derive(Clone, Debug)]
pub struct Verifier {
    report: Report,
    /// The hashes and last events of all commits so far, by sequence from 1.
    marks: Vec<(Digest, EventNumber)>,
    held: Vec<Checkpoint>,
    /// Only these keys are trusted; all that were elected, when none is given.
    trusted: Option<BTreeSet<KingKey>>,
}

impl Verifier {
    /// A verifier at the beginning of a log, with checkpoints held elsewhere and the keys that alone are trusted.
    pub fn new(held: Vec<Checkpoint>, trusted: Option<BTreeSet<KingKey>>) -> Self {
        let report = Report {
            good: Place::START,
            epoch: 0,
            signed: 0,
            vouched: 0,
            held: 0,
            keys: BTreeSet::new(),
            fault: None,
        };
        Self { report, marks: Vec::new(), held, trusted }
    }

    /// Looks at the next commit. After the first fault nothing more is looked at.
    pub fn take(&mut self, stored: &StoredCommit) {
        if self.report.fault.is_some() {
            return;
        }
        if let Err(fault) = self.check(stored) {
            self.report.fault = Some(fault);
        }
    }

    /// Whether a fault was found already.
    pub fn is_over(&self) -> bool {
        self.report.fault.is_some()
    }

    /// What was found, now that the log has ended.
    pub fn finish(mut self) -> Report {
        if self.report.fault.is_none() {
            let end = self.marks.len() as u64;
            let cut =
                self.held.iter().map(|held| held.mark.sequence).filter(|sequence| *sequence > end).min();
            self.report.fault = cut.map(|_| Fault { sequence: end + 1, problem: Problem::CutOff });
        }
        self.report
    }

    fn check(&mut self, stored: &StoredCommit) -> Result<(), Fault> {
        let good = self.report.good;
        let wanted = good.sequence + 1;
        let fault = |sequence, problem| Fault { sequence, problem };
        if stored.sequence != wanted {
            return Err(fault(wanted, Problem::Missing { found: stored.sequence }));
        }
        let commit = match stored.read() {
            Ok(commit) => commit,
            Err(HistoryError::NoCommit { reason, .. }) => {
                return Err(fault(wanted, Problem::NoCommit { reason }));
            }
            Err(other) => return Err(fault(wanted, Problem::NoCommit { reason: other.to_string() })),
        };
        if commit.previous != good.hash {
            // Which of the two was changed cannot be told from them: the earlier is the first in doubt.
            let vouched = good.event <= self.report.vouched;
            let problem = Problem::Unchained { wanted: commit.previous, found: good.hash };
            return Err(fault(if vouched { wanted } else { good.sequence.max(1) }, problem));
        }
        self.check_events(&commit).map_err(|problem| fault(wanted, problem))?;
        self.advance(stored, &commit);
        self.check_signatures(&commit).map_err(|(sequence, problem)| fault(sequence, problem))?;
        self.check_held().map_err(|problem| fault(wanted, problem))
    }

    /// Numbers, epochs and times go on.
    fn check_events(&self, commit: &Commit) -> Result<(), Problem> {
        let good = self.report.good;
        if commit.events.is_empty() {
            return Err(Problem::Empty);
        }
        if commit.first != good.event + 1 {
            return Err(Problem::Misnumbered { wanted: good.event + 1, found: commit.first });
        }
        if commit.epoch < self.report.epoch {
            return Err(Problem::OldEpoch { known: self.report.epoch, found: commit.epoch });
        }
        let (mut number, mut at) = (good.event, good.at);
        for event in &commit.events {
            number += 1;
            if event.id != number {
                return Err(Problem::Misnumbered { wanted: number, found: event.id });
            }
            if event.at < at {
                return Err(Problem::Older { before: at, found: event.at });
            }
            at = event.at;
        }
        Ok(())
    }

    fn advance(&mut self, stored: &StoredCommit, commit: &Commit) {
        let (hash, event) = (Digest::of(&stored.bytes), commit.last());
        let at = commit.events.last().map_or(self.report.good.at, |event| event.at);
        self.report.good = Place { sequence: stored.sequence, event, hash, at };
        self.report.epoch = commit.epoch;
        self.marks.push((hash, event));
    }

    /// What Kings signed in this commit is about the log before it. A fault names the commit that is not as signed.
    fn check_signatures(&mut self, commit: &Commit) -> Result<(), (u64, Problem)> {
        let sequence = self.report.good.sequence;
        for event in &commit.events {
            match &event.fact {
                Fact::King(KingEvent::Elected(fact)) => {
                    let strange =
                        |key: &KingKey| self.trusted.as_ref().is_some_and(|keys| !keys.contains(key));
                    if let Some(key) = fact.key.filter(strange) {
                        return Err((sequence, Problem::Stranger { key }));
                    }
                    self.report.keys.extend(fact.key);
                }
                Fact::King(KingEvent::Checkpointed(fact)) => {
                    let checkpoint = *fact.checkpoint;
                    self.check_signature(&checkpoint).map_err(|problem| match problem {
                        Problem::NotAsSigned { .. } | Problem::OtherEvent { .. } | Problem::CutOff => {
                            (checkpoint.mark.sequence, problem)
                        }
                        other => (sequence, other),
                    })?;
                    self.report.signed += 1;
                    self.report.vouched = self.report.vouched.max(checkpoint.mark.event);
                }
                Fact::App(_)
                | Fact::Version(_)
                | Fact::Release(_)
                | Fact::Config(_)
                | Fact::Instance(_)
                | Fact::Servant(_)
                | Fact::Command(_)
                | Fact::Alert(_)
                | Fact::Exec(_) => {}
            }
        }
        Ok(())
    }

    fn check_signature(&self, checkpoint: &Checkpoint) -> Result<(), Problem> {
        let (mark, key) = (checkpoint.mark, checkpoint.key);
        if !self.report.keys.contains(&key) {
            return Err(Problem::Stranger { key });
        }
        if !checkpoint.is_genuine() {
            return Err(Problem::Forged { sequence: mark.sequence, key });
        }
        self.compare(checkpoint)
    }

    /// Whether the log is, at the place of a checkpoint, what was signed.
    fn compare(&self, checkpoint: &Checkpoint) -> Result<(), Problem> {
        let mark = checkpoint.mark;
        let index = usize::try_from(mark.sequence).ok().and_then(|sequence| sequence.checked_sub(1));
        let Some(&(hash, event)) = index.and_then(|index| self.marks.get(index)) else {
            return Err(Problem::CutOff);
        };
        if hash != mark.hash {
            return Err(Problem::NotAsSigned { signed: mark.hash, found: hash });
        }
        if event != mark.event {
            return Err(Problem::OtherEvent { signed: mark.event, found: event });
        }
        Ok(())
    }

    /// The checkpoints held elsewhere that are about the commit just taken.
    fn check_held(&mut self) -> Result<(), Problem> {
        let here = self.report.good.sequence;
        for index in 0..self.held.len() {
            let held = self.held[index];
            if held.mark.sequence == here {
                self.compare(&held)?;
                self.report.held += 1;
                self.report.vouched = self.report.vouched.max(held.mark.event);
            }
        }
        Ok(())
    }
}

/// Why a checkpoint held elsewhere proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    #[error("the signature is not that of its key {key}: the checkpoint was changed")]
    Forged { key: KingKey },
    #[error("it is signed by {key}, which is not among the keys that are trusted")]
    Stranger { key: KingKey },
}

/// Whether a checkpoint that is held elsewhere can be trusted.
///
/// # Errors
/// When its signature is wrong, or its key is not trusted.
pub fn check_checkpoint(
    checkpoint: &Checkpoint,
    trusted: Option<&BTreeSet<KingKey>>,
) -> Result<(), CheckpointError> {
    let key = checkpoint.key;
    if !checkpoint.is_genuine() {
        return Err(CheckpointError::Forged { key });
    }
    if trusted.is_some_and(|keys| !keys.contains(&key)) {
        return Err(CheckpointError::Stranger { key });
    }
    Ok(())
}
