//! Taking over: the log is folded to its end, then `KingElected` is appended, fenced by that end. That it could be
//! appended proves that everything before it was read.

use crate::follower::Follower;
use crate::writer::Machine;
use bus::log::{Append, AppendError, Log, LogError};
use bus::tail::TailError;
use events::{Commit, Digest, wire};
use realm::{ApplyError, Candidate, Context, Input, State, apply_commit};
use service::clock;

/// Why a King could not take over.
#[derive(Debug, thiserror::Error)]
pub enum ElectionError {
    #[error("the log cannot be read")]
    Read(#[from] LogError),
    #[error("the log cannot be followed")]
    Tail(#[from] TailError),
    #[error("commit {sequence} of the log is no commit; it was changed, or another program wrote it")]
    NoCommit {
        sequence: u64,
        #[source]
        source: wire::WireError,
    },
    #[error("commit {sequence} of the log does not follow the one before; the log was changed")]
    Broken {
        sequence: u64,
        #[source]
        source: ApplyError,
    },
    #[error(
        "commit {sequence} names {found} as the commit before it, but that is {wanted}; the log was changed"
    )]
    Unchained { sequence: u64, wanted: Digest, found: Digest },
    #[error("commit {sequence} was confirmed, and the log has it no more: it lost commits or was replaced")]
    Gone { sequence: u64 },
    #[error("the election could not be appended")]
    Append(#[from] AppendError),
}

/// A place in the log, with everything before it folded.
#[derive(Clone, Debug)]
pub struct Fold {
    pub state: State,
    /// The sequence of the last commit.
    pub sequence: u64,
    /// The hash of the last commit.
    pub hash: Digest,
}

impl Fold {
    /// The place before the first commit.
    pub fn empty() -> Self {
        Self { state: State::default(), sequence: 0, hash: Digest::ZERO }
    }

    /// Folds one commit.
    ///
    /// # Errors
    /// When it is none, or does not follow.
    pub fn take(&mut self, sequence: u64, payload: &[u8]) -> Result<Commit, ElectionError> {
        let commit: Commit =
            wire::decode(payload).map_err(|source| ElectionError::NoCommit { sequence, source })?;
        self.follow(sequence, payload, &commit)?;
        Ok(commit)
    }

    /// Folds one commit that is read already.
    ///
    /// # Errors
    /// When it does not follow.
    pub fn follow(&mut self, sequence: u64, payload: &[u8], commit: &Commit) -> Result<(), ElectionError> {
        if commit.previous != self.hash {
            return Err(ElectionError::Unchained { sequence, wanted: self.hash, found: commit.previous });
        }
        apply_commit(&mut self.state, commit).map_err(|source| ElectionError::Broken { sequence, source })?;
        self.sequence = sequence;
        self.hash = Digest::of(payload);
        Ok(())
    }

    /// The hash of a commit of the log.
    ///
    /// # Errors
    /// When it cannot be read, or is not there.
    pub async fn hash_at(log: &Log, sequence: u64) -> Result<Digest, ElectionError> {
        if sequence == 0 {
            return Ok(Digest::ZERO);
        }
        let payload = log.read(sequence).await?.ok_or(ElectionError::Gone { sequence })?;
        Ok(Digest::of(&payload))
    }

    /// Folds the log to its end.
    ///
    /// # Errors
    /// When it cannot be read, or is damaged.
    pub async fn catch_up(&mut self, log: &Log) -> Result<(), ElectionError> {
        let end = log.last_sequence().await?;
        let mut tail = log.tail(self.sequence);
        while self.sequence < end {
            let entry = tail.next().await?;
            self.take(entry.sequence, &entry.payload)?;
        }
        Ok(())
    }
}

/// How an election came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ballot {
    /// This King writes, in this epoch.
    Won(u64),
    /// Another was elected meanwhile, in this epoch.
    Lost(u64),
}

/// Folds the log to its end and appends the election there, however often others write meanwhile; gives up when another
/// King is elected.
///
/// # Errors
/// When the log cannot be read, is damaged, or refuses the election.
pub async fn elect(follower: &mut Follower, candidate: Candidate) -> Result<Ballot, ElectionError> {
    let epoch = follower.fold().state.epoch;
    let mut at_least = 0;
    loop {
        match follower.catch_up(at_least).await {
            Err(ElectionError::Read(error)) => {
                tracing::warn!(
                    reason = service::chain(&error),
                    "the end of the log is not known; read again"
                );
                continue;
            }
            caught_up => caught_up?,
        }
        let fold = follower.fold();
        if fold.state.epoch != epoch {
            return Ok(Ballot::Lost(fold.state.epoch));
        }
        let append = ballot(fold, candidate);
        match append_until_clear(follower.log(), &append).await {
            Ok(sequence) => {
                follower.appended(sequence, &append.payload)?;
                return Ok(Ballot::Won(epoch + 1));
            }
            Err(AppendError::Deposed { sequence }) => {
                tracing::info!(sequence, "another King wrote meanwhile; reading what it wrote");
                at_least = sequence;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// The commit that makes a King the one that writes. It rests on the head of the state alone, so no more is copied.
fn ballot(fold: &Fold, candidate: Candidate) -> Append {
    let context = Context { at: clock::now(), entropy: clock::fresh_id().as_u128() };
    let State { last, at, epoch, king: before, inbox, .. } = fold.state;
    let head = State { last, at, epoch, king: before, inbox, ..State::default() };
    let mut machine: Machine<()> = Machine::new(head, fold.sequence, fold.hash);
    machine.take(&Input::Election(candidate), &context);
    machine.flush().expect("an election is an event, and nothing is in flight")
}

async fn append_until_clear(log: &Log, append: &Append) -> Result<u64, AppendError> {
    loop {
        match log.append(append.payload.clone(), append.expected_last).await {
            Err(error @ (AppendError::Unknown { .. } | AppendError::Unavailable(_))) => {
                let reason = service::chain(&error);
                tracing::warn!(reason, "the election is not acknowledged; the same is appended again");
            }
            clear => return clear,
        }
    }
}
