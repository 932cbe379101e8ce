//! Taking over: the log is folded to its end, then `KingElected` is appended, fenced by that end. That it could be
//! appended proves that everything before it was read.

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

/// The King that writes from here on.
pub type Elected = Fold;

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
        if commit.previous != self.hash {
            return Err(ElectionError::Unchained { sequence, wanted: self.hash, found: commit.previous });
        }
        apply_commit(&mut self.state, &commit)
            .map_err(|source| ElectionError::Broken { sequence, source })?;
        self.sequence = sequence;
        self.hash = Digest::of(payload);
        Ok(commit)
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

/// Folds the log from its beginning and takes over.
///
/// # Errors
/// When the log cannot be read, is damaged, or refuses the election.
pub async fn take_over(log: &Log, candidate: Candidate) -> Result<Elected, ElectionError> {
    let mut fold = Fold::empty();
    loop {
        fold.catch_up(log).await?;
        let mut machine: Machine<()> = Machine::new(fold.state.clone(), fold.sequence, fold.hash);
        let context = Context { at: clock::now(), entropy: clock::fresh_id().as_u128() };
        machine.take(&Input::Election(candidate), &context);
        let append = machine.flush().expect("an election is an event, and nothing is in flight");
        match append_until_clear(log, &append).await {
            Ok(sequence) => {
                fold.take(sequence, &append.payload)?;
                return Ok(fold);
            }
            Err(AppendError::Deposed { sequence }) => {
                tracing::info!(sequence, "another King wrote meanwhile; reading what it wrote");
            }
            Err(error) => return Err(error.into()),
        }
    }
}

async fn append_until_clear(log: &Log, append: &Append) -> Result<u64, AppendError> {
    loop {
        match log.append(append.payload.clone(), append.expected_last).await {
            Err(error @ AppendError::Unknown { .. }) => {
                tracing::warn!(%error, "the election is not acknowledged; the same is appended again");
            }
            clear => return clear,
        }
    }
}
