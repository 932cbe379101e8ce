//! Comparing the log with what a journal has seen of it: cheaply and often, or whole.
//!
//! A log never loses a commit and never changes one. Where it says something else than it said before, its stream was
//! lost, shortened, altered or replaced, or its server runs on an old disk. It repairs nothing.

use crate::api::{self, ApiError};
use crate::connect::Bus;
use crate::journal::{Journal, JournalError, Place};
use crate::log::{Log, LogError, patiently};
use crate::stream::{self, StreamInfo};
use crate::tail::TailError;
use async_nats::jetstream::ErrorCode;
use events::subject::LOG_STREAM;
use events::{Commit, Digest, wire};
use serde::Deserialize;
use serde_json::json;
use std::fmt;
use std::time::Duration;
use tokio::time::timeout;

/// How long the walk waits for the next commit before it asks for that one alone.
const SILENCE: Duration = Duration::from_secs(5);

/// What the stream of the log says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// When it was made (RFC 3339).
    pub created_at: String,
    /// The sequence of its first commit.
    pub first: u64,
    /// The sequence of its last commit; 0 when it never had one.
    pub last: u64,
    /// How many commits it has.
    pub count: u64,
    /// How many servers keep it.
    pub copies: usize,
    /// The servers that shall have a copy and are not at its end, as the one that leads knows them.
    pub behind: Vec<String>,
}

/// Where the log is not what it was. The first bad place; what follows it is not to be trusted either.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// There is no stream.
    Missing { journal: u64 },
    /// The stream ends before the journal does.
    Shorter { stream: u64, journal: u64 },
    /// Commits are missing before its end.
    Hole { sequence: u64 },
    /// A commit has other bytes than it had.
    Changed { sequence: u64, journal: Digest, stream: Digest },
    /// What stands there is no commit.
    NoCommit { sequence: u64, reason: String },
    /// A commit does not continue the chain.
    Unchained { sequence: u64, wanted: Digest, found: Digest },
    /// A commit's events do not continue the numbering.
    Misnumbered { sequence: u64, wanted: u64, found: u64 },
}

impl Finding {
    /// The first sequence that cannot be trusted.
    pub fn sequence(&self) -> u64 {
        match self {
            Self::Missing { .. } => 1,
            Self::Shorter { stream, .. } => stream + 1,
            Self::Hole { sequence }
            | Self::Changed { sequence, .. }
            | Self::NoCommit { sequence, .. }
            | Self::Unchained { sequence, .. }
            | Self::Misnumbered { sequence, .. } => *sequence,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { journal } => {
                write!(
                    formatter,
                    "the log (stream {LOG_STREAM}) is gone; the journal has {journal} commits of it"
                )
            }
            Self::Shorter { stream, journal } => write!(
                formatter,
                "the log ends at commit {stream}, but the journal has seen {journal}: commits {} to {journal} are lost",
                stream + 1
            ),
            Self::Hole { sequence } => write!(formatter, "commit {sequence} is missing in the log"),
            Self::Changed { sequence, journal, stream } => write!(
                formatter,
                "commit {sequence} of the log was changed: its hash is {stream}, the journal has seen {journal}"
            ),
            Self::NoCommit { sequence, reason } => {
                write!(formatter, "commit {sequence} is no commit: {reason}")
            }
            Self::Unchained { sequence, wanted, found } => write!(
                formatter,
                "commit {sequence} names {found} as the commit before it, but that is {wanted}"
            ),
            Self::Misnumbered { sequence, wanted, found } => {
                write!(formatter, "commit {sequence} begins with event {found} instead of {wanted}")
            }
        }
    }
}

/// Why log and journal could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    #[error("the log cannot be read")]
    Log(#[from] LogError),
    #[error("the journal cannot be read")]
    Journal(#[from] JournalError),
}

/// What the stream of the log says of itself; none when there is no stream.
///
/// # Errors
/// When the server does not answer.
pub async fn survey(bus: &Bus) -> Result<Option<Survey>, LogError> {
    match patiently(|| stream::info(bus, LOG_STREAM)).await {
        Ok(info) => Ok(Some(info.into())),
        Err(ApiError::Refused { code, .. }) if code == ErrorCode::STREAM_NOT_FOUND.0 => Ok(None),
        Err(source) => Err(LogError::Api { tried: "looked at", source }),
    }
}

impl From<StreamInfo> for Survey {
    fn from(info: StreamInfo) -> Self {
        let (behind, copies) = (info.behind(), info.copies());
        let StreamInfo { created, state, .. } = info;
        Self {
            created_at: created,
            first: state.first_seq,
            last: state.last_seq,
            count: state.count,
            copies,
            behind,
        }
    }
}

/// A quick look: whether the stream is there, is whole, is as long as a place in it that was seen before, and holds the
/// same commit there. Costs two requests.
///
/// # Errors
/// When the server does not answer: then nothing is known.
pub async fn glance(bus: &Bus, seen: Place) -> Result<Option<Finding>, LogError> {
    let Some(survey) = survey(bus).await? else {
        let is_known = seen.sequence > 0;
        return Ok(is_known.then_some(Finding::Missing { journal: seen.sequence }));
    };
    if survey.last < seen.sequence {
        return Ok(Some(Finding::Shorter { stream: survey.last, journal: seen.sequence }));
    }
    if survey.count > 0 && survey.first > 1 || survey.count == 0 && survey.last > 0 {
        return Ok(Some(Finding::Hole { sequence: 1 }));
    }
    if survey.count < survey.last {
        return Ok(Some(Finding::Hole { sequence: first_deleted(bus).await? }));
    }
    same_commit(bus, seen).await
}

/// The first sequence that the server says was deleted; 1 when it names none.
async fn first_deleted(bus: &Bus) -> Result<u64, LogError> {
    #[derive(Deserialize)]
    struct Info {
        state: State,
    }
    #[derive(Deserialize)]
    struct State {
        #[serde(default)]
        deleted: Option<Vec<u64>>,
    }
    let (subject, body) = (format!("STREAM.INFO.{LOG_STREAM}"), json!({ "deleted_details": true }));
    let info = patiently(|| api::call::<Info>(bus, &subject, &body)).await;
    let info = info.map_err(|source| LogError::Api { tried: "looked at", source })?;
    Ok(info.state.deleted.and_then(|deleted| deleted.first().copied()).unwrap_or(1))
}

/// Whether the log holds at a place what was seen there before.
///
/// # Errors
/// When the server does not answer.
pub async fn same_commit(bus: &Bus, seen: Place) -> Result<Option<Finding>, LogError> {
    let Place { sequence, hash, .. } = seen;
    if sequence == 0 {
        return Ok(None);
    }
    let stored = patiently(|| stream::read(bus, LOG_STREAM, sequence)).await;
    let stored = stored.map_err(|source| LogError::Api { tried: "read", source })?;
    let found = stored.map(|stored| Digest::of(&stored.payload));
    Ok(match found {
        Some(found) if found == hash => None,
        Some(stream) => Some(Finding::Changed { sequence, journal: hash, stream }),
        None => Some(Finding::Hole { sequence }),
    })
}

/// The chain as far as it was walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walk {
    /// The sequence of the last commit.
    pub sequence: u64,
    /// Its hash.
    pub hash: Digest,
    /// The number of its last event.
    pub event: u64,
}

impl Walk {
    /// Before the first commit.
    pub const START: Self = Self { sequence: 0, hash: Digest::ZERO, event: 0 };

    /// Takes the next commit.
    ///
    /// # Errors
    /// When it is none or does not continue what was walked.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Commit, Finding> {
        let sequence = self.sequence + 1;
        let commit: Commit =
            wire::decode(bytes).map_err(|error| Finding::NoCommit { sequence, reason: error.reason() })?;
        if commit.previous != self.hash {
            let (wanted, found) = (self.hash, commit.previous);
            return Err(Finding::Unchained { sequence, wanted, found });
        }
        let wanted = self.event + 1;
        let numbers = commit.events.iter().map(|event| event.id);
        if commit.first != wanted || !numbers.eq(commit.first..commit.first + commit.events.len() as u64) {
            return Err(Finding::Misnumbered { sequence, wanted, found: commit.first });
        }
        *self = Self { sequence, hash: Digest::of(bytes), event: commit.last() };
        Ok(commit)
    }
}

/// Who has seen the log before: a journal, or its witness alone.
pub trait Seen {
    /// The last sequence that was seen; 0 for none.
    fn last(&self) -> u64;
    /// What was seen at a sequence.
    ///
    /// # Errors
    /// When it cannot be read.
    fn at(&self, sequence: u64) -> Result<Option<Place>, JournalError>;
}

impl Seen for Journal {
    fn last(&self) -> u64 {
        self.witnessed()
    }

    fn at(&self, sequence: u64) -> Result<Option<Place>, JournalError> {
        self.witness(sequence)
    }
}

/// How a comparison of everything came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The chain up to the first bad commit, or whole.
    pub good: Walk,
    /// The first bad place; none when all is well.
    pub finding: Option<Finding>,
}

/// Walks the log and compares each commit with what a journal has seen. `progress` is told each sequence.
///
/// # Errors
/// When either cannot be read.
pub async fn whole_log(
    bus: &Bus,
    journal: Option<&dyn Seen>,
    mut progress: impl FnMut(u64),
) -> Result<Report, CompareError> {
    let mut good = Walk::START;
    let seen = journal.map_or(0, Seen::last);
    let bad = |good, finding| Ok(Report { good, finding: Some(finding) });
    let Some(survey) = survey(bus).await? else {
        return bad(good, Finding::Missing { journal: seen });
    };
    let log = Log::open(bus).await?;
    let mut tail = log.tail(0);
    while good.sequence < survey.last {
        let entry = match timeout(SILENCE, tail.next()).await {
            Ok(Ok(entry)) => entry,
            Ok(Err(TailError::Gap { after, .. })) => return bad(good, Finding::Hole { sequence: after + 1 }),
            Ok(Err(TailError::Shorter { last, .. })) => {
                return bad(good, Finding::Shorter { stream: last, journal: seen });
            }
            // Nothing comes of what is missing at the end.
            Err(_) => match log.read_what_is_there(good.sequence + 1).await? {
                Some(_) => continue,
                None => return bad(good, Finding::Hole { sequence: good.sequence + 1 }),
            },
        };
        let known = journal.map(|journal| journal.at(entry.sequence)).transpose()?.flatten();
        let hash = Digest::of(&entry.payload);
        if let Some(known) = known.filter(|known| known.hash != hash) {
            let finding = Finding::Changed { sequence: entry.sequence, journal: known.hash, stream: hash };
            return bad(good, finding);
        }
        if let Err(finding) = good.take(&entry.payload) {
            return bad(good, finding);
        }
        progress(entry.sequence);
    }
    let finding = (survey.last < seen).then_some(Finding::Shorter { stream: survey.last, journal: seen });
    Ok(Report { good, finding })
}

/// Walks a journal: its own chain, and its store against its witness. Blocks.
///
/// # Errors
/// When it cannot be read at all.
pub fn whole_journal(journal: &Journal, mut progress: impl FnMut(u64)) -> Result<Report, JournalError> {
    let mut good = Walk::START;
    for commit in journal.commits(0) {
        let (sequence, bytes) = commit?;
        if let Err(finding) = good.take(&bytes) {
            return Ok(Report { good, finding: Some(finding) });
        }
        let known = journal.witness(sequence)?.filter(|known| known.hash != good.hash);
        if let Some(known) = known {
            let finding = Finding::Changed { sequence, journal: known.hash, stream: good.hash };
            return Ok(Report { good, finding: Some(finding) });
        }
        progress(sequence);
    }
    Ok(Report { good, finding: None })
}
