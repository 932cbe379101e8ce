//! Rebuilding the log from a journal: a plan first, then commit by commit, each fenced. A repair that was broken off is
//! taken up by planning anew.

use crate::api;
use crate::compare::{self, CompareError, Finding, Report, Survey, Walk};
use crate::connect::Bus;
use crate::journal::{Journal, JournalError};
use crate::log::{AppendError, Log, LogError, patiently};
use crate::provision::{self, Limits, ProvisionError};
use bytes::Bytes;
use events::subject::LOG_STREAM;
use serde_json::Value;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// What a repair would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Log and journal agree.
    Nothing,
    /// The stream is a clean beginning of the journal: the commits after it are appended.
    Append { from: u64, to: u64 },
    /// The stream is missing.
    Make { to: u64 },
    /// The stream has something else than the journal: it is saved to a file, deleted and made anew.
    Replace { stream: u64, to: u64 },
}

/// Why a plan could not be made or carried out.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    #[error("log and journal cannot be compared")]
    Compare(#[from] CompareError),
    #[error("the journal is no whole chain itself: {0}; use the journal of another King")]
    BadJournal(Finding),
    #[error(
        "the journal has lost commits that it has seen: it ends at {store}, but saw {witness}; use the journal of another King"
    )]
    ShortJournal { store: u64, witness: u64 },
    #[error("the journal holds nothing to repair the log from")]
    EmptyJournal,
    #[error("the journal cannot be read")]
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
    #[error("after the repair the log still differs: {0}")]
    StillDifferent(Finding),
}

/// Looks at all of the journal and all of the log, and says what there is to do.
///
/// # Errors
/// When the journal is not fit to repair from, or either cannot be read.
pub async fn plan(bus: &Bus, journal: &Journal) -> Result<Plan, RepairError> {
    let good = check_journal(journal)?;
    let report = compare::whole_log(bus, Some(journal), |_| {}).await?;
    Ok(match report.finding {
        None => Plan::Nothing,
        Some(Finding::Missing { .. }) => Plan::Make { to: good.sequence },
        Some(Finding::Shorter { stream, .. }) => Plan::Append { from: stream + 1, to: good.sequence },
        Some(
            Finding::Hole { .. }
            | Finding::Changed { .. }
            | Finding::NoCommit { .. }
            | Finding::Unchained { .. }
            | Finding::Misnumbered { .. },
        ) => {
            let stream = compare::survey(bus).await?.map_or(0, |survey| survey.last);
            Plan::Replace { stream, to: good.sequence }
        }
    })
}

fn check_journal(journal: &Journal) -> Result<Walk, RepairError> {
    let Report { good, finding } = compare::whole_journal(journal, |_| {})?;
    if let Some(finding) = finding {
        return Err(RepairError::BadJournal(finding));
    }
    if good.sequence < journal.witnessed() {
        return Err(RepairError::ShortJournal { store: good.sequence, witness: journal.witnessed() });
    }
    if good.sequence == 0 { Err(RepairError::EmptyJournal) } else { Ok(good) }
}

/// Does what was planned, then compares everything again. `save` is where what the stream holds goes before it is deleted.
///
/// # Errors
/// When the server refuses, when anybody else writes to the log meanwhile, or when the log still differs.
pub async fn carry_out(
    bus: &Bus,
    journal: &Journal,
    plan: &Plan,
    limits: &Limits,
    save: &Path,
    mut progress: impl FnMut(u64),
) -> Result<Report, RepairError> {
    let from = match plan {
        Plan::Nothing => journal.last().sequence + 1,
        Plan::Append { from, .. } => *from,
        Plan::Make { .. } => 1,
        Plan::Replace { .. } => {
            save_stream(bus, save).await?;
            delete(bus).await?;
            1
        }
    };
    provision::provision(bus, limits).await?;
    append(bus, journal, from, &mut progress).await?;
    let report = compare::whole_log(bus, Some(journal), |_| {}).await?;
    match report.finding {
        Some(finding) => Err(RepairError::StillDifferent(finding)),
        None => Ok(report),
    }
}

async fn append(
    bus: &Bus,
    journal: &Journal,
    from: u64,
    mut progress: impl FnMut(u64),
) -> Result<(), RepairError> {
    let log = Log::open(bus).await?;
    for commit in journal.commits(from - 1) {
        let (sequence, bytes) = commit?;
        append_one(&log, sequence, &bytes)
            .await
            .map_err(|source| RepairError::Append { sequence, source })?;
        progress(sequence);
    }
    Ok(())
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

/// Saves every message of the stream: its sequence (8 bytes, little endian), its length (4), its bytes.
async fn save_stream(bus: &Bus, path: &Path) -> Result<(), RepairError> {
    let failed = |source| RepairError::Save { path: path.to_owned(), source };
    let Some(Survey { first, last, .. }) = compare::survey(bus).await? else { return Ok(()) };
    let log = Log::open(bus).await?;
    let mut file = BufWriter::new(File::create(path).map_err(failed)?);
    for sequence in first.max(1)..=last {
        let Some(bytes) = log.read(sequence).await? else { continue };
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let head = [&sequence.to_le_bytes()[..], &length.to_le_bytes()[..]].concat();
        file.write_all(&head).and_then(|()| file.write_all(&bytes)).map_err(failed)?;
    }
    let file = file.into_inner().map_err(|error| failed(error.into_error()))?;
    file.sync_all().map_err(failed)
}

async fn delete(bus: &Bus) -> Result<(), RepairError> {
    let subject = format!("STREAM.DELETE.{LOG_STREAM}");
    let deleted = patiently(|| api::call::<Value>(bus, &subject, &Value::Null)).await;
    deleted.map(|_| ()).map_err(RepairError::Delete)
}
