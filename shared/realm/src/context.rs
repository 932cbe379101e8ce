//! What reaches the core from outside: the input, and the time and random bits that the edge drew for it.

use events::{Actor, Cause, Command, DomainName, KingId, KingKey, Report, Timestamp};
use uuid::{Builder, Uuid};

/// The closed set of everything that can change the state.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    Command(Command),
    Report(Report),
    /// Time passed: work that was left is continued.
    Tick,
    /// A King takes over.
    Election(Candidate),
}

/// A King that takes over, and the key of its signatures, if it signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub king: KingId,
    pub key: Option<KingKey>,
}

impl From<KingId> for Candidate {
    fn from(king: KingId) -> Self {
        Self { king, key: None }
    }
}

impl Input {
    pub(crate) fn cause(&self) -> Cause {
        match self {
            Self::Command(command) => Cause::Command(command.id.clone()),
            Self::Report(report) => Cause::Report(report.id),
            Self::Tick => Cause::Tick,
            Self::Election(_) => Cause::Election,
        }
    }

    pub(crate) fn actor(&self) -> Actor {
        match self {
            Self::Command(command) => command.actor.clone(),
            Self::Report(report) => report.actor.clone(),
            Self::Tick | Self::Election(_) => Actor::king(),
        }
    }

    pub(crate) fn domain(&self) -> DomainName {
        match self {
            Self::Report(report) => report.domain.clone(),
            Self::Command(_) | Self::Tick | Self::Election(_) => DomainName::default_domain(),
        }
    }
}

/// What the edge adds to an input.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// When the King took the input.
    pub at: Timestamp,
    /// Random bits, fresh for each input: ids are made of them.
    pub entropy: u128,
}

impl Context {
    /// The n-th id of this input: a UUID v7 (RFC 9562) of its time and its random bits.
    pub(crate) fn id(&self, n: u64) -> Uuid {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.entropy.to_be_bytes());
        hasher.update(&n.to_be_bytes());
        let mut bits = [0; 10];
        bits.copy_from_slice(&hasher.finalize().as_bytes()[..10]);
        Builder::from_unix_timestamp_millis(self.at.0, &bits).into_uuid()
    }
}
