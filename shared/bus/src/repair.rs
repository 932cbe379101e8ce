//! Rebuilding the log from journals: a plan first, then commit by commit, each fenced. A repair that was broken off is
//! taken up by planning anew.
//!
//! A journal may be behind the log, and one King's behind another's. So the plan rests on the longest chain that can be
//! proved among all journals that are there and the readable end of the stream ([`mod@chain`]), and says what somebody has
//! seen beyond it. What the stream alone holds is taken into a journal before anything is deleted.

mod chain;
mod loss;

pub use chain::Journals;
pub use loss::{Claim, Lost};

use crate::api;
use crate::compare::{self, CompareError, Finding, Report, Survey, Walk};
use crate::connect::Bus;
use crate::journal::{Journal, JournalError};
use crate::log::{AppendError, Log, LogError, patiently};
use crate::provision::{self, Limits, ProvisionError};
use async_nats::jetstream::ErrorCode;
use bytes::Bytes;
use chain::Chain;
use events::subject::{EVENTS_STREAM, LOG_STREAM};
use events::{Commit, wire};
use serde_json::Value;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// What a repair would do, and what it rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub deed: Deed,
    /// The last commit of the log after it.
    pub end: Walk,
    /// The folder of the journal that it is rebuilt from.
    pub base: PathBuf,
    /// The first and the last commit that only the stream holds: the journal takes them before anything else is done.
    pub rescued: Option<(u64, u64)>,
    /// What somebody has seen and the log would not hold afterwards.
    pub lost: Option<Lost>,
}

/// What is done to the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// It is what the journals have seen.
    Nothing,
    /// It is a clean beginning of the chain: the commits after it are appended.
    Append { from: u64, to: u64 },
    /// It is missing.
    Make { to: u64 },
    /// It has something else than the journals: it is saved to a file, deleted and made anew.
    Replace { stream: u64, to: u64 },
}

impl Plan {
    /// Whether there is nothing to do, and nothing to be decided.
    pub fn is_empty(&self) -> bool {
        self.deed == Deed::Nothing && self.lost.is_none()
    }
}

/// Why a plan could not be made or carried out.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    #[error("log and journal cannot be compared")]
    Compare(#[from] CompareError),
    #[error("the journal in {path} is no whole chain itself: {finding}; use the journal of another King", path = path.display())]
    BadJournal { path: PathBuf, finding: Finding },
    #[error(
        "the journals in {one} and {other} have seen different commits at {sequence}, so one of them is of another log; \
         name only those that belong to this kingdom",
        one = one.display(), other = other.display()
    )]
    Apart { one: PathBuf, other: PathBuf, sequence: u64 },
    #[error("no journal holds anything to repair the log from")]
    EmptyJournal,
    #[error("the journal cannot be read or written")]
    Journal(#[from] JournalError),
    #[error("the stream cannot be looked at")]
    Log(#[from] LogError),
    #[error("the stream cannot be made")]
    Provision(#[from] ProvisionError),
    #[error("the stream could not be deleted")]
    Delete(#[source] api::ApiError),
    #[error("what the stream holds could not be saved to {path}", path = path.display())]
    Save {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("commit {sequence} could not be appended; is a King running? stop all Kings, then repair again")]
    Append {
        sequence: u64,
        #[source]
        source: AppendError,
    },
    #[error(
        "the stream holds commit {sequence} no more, which it held when the repair was planned; plan again"
    )]
    Gone { sequence: u64 },
    #[error("after the repair the log still differs: {0}")]
    StillDifferent(Finding),
}

/// Looks at all of the journals and all of the log, and says what there is to do. `claims` is what Kings say that they have
/// seen; they are to be asked before.
///
/// # Errors
/// When no journal is fit to repair from, journals contradict each other, or anything cannot be read.
pub async fn plan(bus: &Bus, journals: &Journals, claims: &[Claim]) -> Result<Plan, RepairError> {
    let base = journals.base()?;
    let report = compare::whole_log(bus, Some(journals), |_| {}).await?;
    let survey = compare::survey(bus).await?;
    let stream = survey.as_ref().map_or(0, |survey| survey.last);
    let (deed, chain) = match &report.finding {
        None => (Deed::Nothing, Chain { end: report.good, rescued: None, rival: None }),
        Some(finding) => {
            let chain = match survey {
                Some(_) => chain::reach(bus, journals, base.good, stream, &report).await?,
                None => Chain { end: base.good, rescued: None, rival: None },
            };
            (deed(finding, stream, chain.end.sequence), chain)
        }
    };
    let lost = loss::beyond(journals, claims, stream, &chain)?;
    let base = base.journal.folder().to_owned();
    Ok(Plan { deed, end: chain.end, base, rescued: chain.rescued, lost })
}

fn deed(finding: &Finding, stream: u64, to: u64) -> Deed {
    match finding {
        Finding::Missing { .. } => Deed::Make { to },
        // What is missing may be known to witnesses alone.
        Finding::Shorter { stream, .. } if *stream >= to => Deed::Nothing,
        Finding::Shorter { stream, .. } => Deed::Append { from: stream + 1, to },
        Finding::Hole { .. }
        | Finding::Changed { .. }
        | Finding::NoCommit { .. }
        | Finding::Unchained { .. }
        | Finding::Misnumbered { .. } => Deed::Replace { stream, to },
    }
}

/// Does what was planned, then compares everything again. `save` is where what the stream holds goes before it is deleted.
/// Where something is lost, `seal` makes the commit that follows the last one, with an epoch above all that were, and journals
/// that have seen more are set aside and made anew.
///
/// # Errors
/// When the server refuses, when anybody else writes to the log meanwhile, or when the log still differs.
pub async fn carry_out(
    bus: &Bus,
    journals: &mut Journals,
    plan: &Plan,
    limits: &Limits,
    save: &Path,
    seal: impl FnOnce(&Commit, Walk) -> Commit,
    mut progress: impl FnMut(u64),
) -> Result<Report, RepairError> {
    let (base, good) = journals.base().map(|base| (base.journal.clone(), base.good))?;
    if let Some((_, to)) = plan.rescued {
        chain::rescue(bus, &base, good, to).await?;
    }
    let from = match plan.deed {
        Deed::Nothing => plan.end.sequence + 1,
        Deed::Append { from, .. } => from,
        Deed::Make { .. } => 1,
        Deed::Replace { .. } => {
            save_stream(bus, save).await?;
            delete(bus, LOG_STREAM).await?;
            1
        }
    };
    if plan.lost.is_some() {
        // It tells of events that were not; their numbers are given again.
        delete(bus, EVENTS_STREAM).await?;
    }
    provision::provision(bus, limits).await?;
    append(bus, &base, from, plan.end.sequence, &mut progress).await?;
    if plan.lost.is_some() {
        append_seal(bus, plan.end, seal).await?;
        drop(base);
        journals.forget_after(plan.end.sequence)?;
    }
    let report = compare::whole_log(bus, Some(&*journals), |_| {}).await?;
    match report.finding {
        Some(finding) => Err(RepairError::StillDifferent(finding)),
        None => Ok(report),
    }
}

async fn append(
    bus: &Bus,
    journal: &Journal,
    from: u64,
    to: u64,
    mut progress: impl FnMut(u64),
) -> Result<(), RepairError> {
    if from > to {
        return Ok(());
    }
    let log = Log::open(bus).await?;
    for commit in journal.commits(from - 1) {
        let (sequence, bytes) = commit?;
        if sequence > to {
            break;
        }
        append_one(&log, sequence, &bytes)
            .await
            .map_err(|source| RepairError::Append { sequence, source })?;
        progress(sequence);
    }
    Ok(())
}

async fn append_seal(
    bus: &Bus,
    end: Walk,
    seal: impl FnOnce(&Commit, Walk) -> Commit,
) -> Result<(), RepairError> {
    let log = Log::open(bus).await?;
    let sequence = end.sequence;
    let last = log.read(sequence).await?.ok_or(RepairError::Gone { sequence })?;
    let last: Commit = wire::decode(&last).map_err(|_| RepairError::Gone { sequence })?;
    let seal = wire::encode(&seal(&last, end)).into();
    append_one(&log, sequence + 1, &seal)
        .await
        .map_err(|source| RepairError::Append { sequence: sequence + 1, source })
}

async fn append_one(log: &Log, sequence: u64, bytes: &Bytes) -> Result<(), AppendError> {
    loop {
        match log.append(bytes.clone(), sequence - 1).await {
            Ok(_) => return Ok(()),
            Err(error @ AppendError::Unknown { .. }) => {
                tracing::warn!(%error, "appended again");
            }
            Err(error) => return Err(error),
        }
    }
}

/// Saves every message of the stream that can be read: its sequence (8 bytes, little endian), its length (4), its bytes.
async fn save_stream(bus: &Bus, path: &Path) -> Result<(), RepairError> {
    let failed = |source| RepairError::Save { path: path.to_owned(), source };
    let Some(Survey { first, last, .. }) = compare::survey(bus).await? else { return Ok(()) };
    let log = Log::open(bus).await?;
    let mut file = BufWriter::new(File::create(path).map_err(failed)?);
    for sequence in first.max(1)..=last {
        let Some(bytes) = log.read_what_is_there(sequence).await? else { continue };
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let head = [&sequence.to_le_bytes()[..], &length.to_le_bytes()[..]].concat();
        file.write_all(&head).and_then(|()| file.write_all(&bytes)).map_err(failed)?;
    }
    let file = file.into_inner().map_err(|error| failed(error.into_error()))?;
    file.sync_all().map_err(failed)
}

async fn delete(bus: &Bus, stream: &str) -> Result<(), RepairError> {
    let subject = format!("STREAM.DELETE.{stream}");
    match patiently(|| api::call::<Value>(bus, &subject, &Value::Null)).await {
        Err(error) if !error.has_code(ErrorCode::STREAM_NOT_FOUND) => Err(RepairError::Delete(error)),
        Ok(_) | Err(_) => Ok(()),
    }
}
