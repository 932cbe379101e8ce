//! The watch: whether the log still is what the journal has seen of it.
//!
//! Every few seconds it asks the stream for its length and its last common commit, and proves some older commits in turn.
//! A finding has to stand for some looks, for a server that starts, or has just been elected by the others of a cluster,
//! may know less than is stored for a moment.

mod copies;

pub use copies::Copies;

use bus::Bus;
use bus::compare::{self, CompareError, Finding};
use bus::journal::{Journal, JournalError, Place};
use bus::log::LogError;
use service::Shutdown;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, sleep};

/// How often it looks.
const EVERY: Duration = Duration::from_secs(2);
/// How long after a finding it looks again.
const AGAIN: Duration = Duration::from_secs(1);
/// How often it looks again before a finding is believed.
const LOOKS: u32 = 4;
/// How many older commits each look proves.
const PROBES: u64 = 8;

/// The log is not what it was. Nothing may be appended to it.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "{finding}; this King writes nothing more. Compare with kingctl king verify, then repair with kingctl king repair"
)]
pub struct Disaster {
    pub finding: Box<Finding>,
    /// What the journal had seen last: the log is well again when it holds this.
    pub seen: Place,
}

/// Why the watch ended.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    #[error(transparent)]
    Disaster(#[from] Disaster),
    #[error("the journal cannot be read")]
    Journal(#[from] JournalError),
}

/// Looks at the log at the start: at its length and its last common commit, and at all of it when the stream is another
/// than the journal's.
///
/// # Errors
/// [`Disaster`] in `Ok(Some(..))`; an error when log or journal cannot be read.
pub async fn look_first(bus: &Bus, journal: &Journal) -> Result<Option<Disaster>, CompareError> {
    let seen = last_seen(journal)?;
    if let Some(finding) = Look::End.insists(bus, seen).await? {
        return Ok(Some(Disaster { finding: finding.into(), seen }));
    }
    let Some(survey) = compare::survey(bus).await? else { return Ok(None) };
    if seen.sequence == 0 || journal.origin()?.as_ref() == Some(&survey.created_at) {
        return Ok(None);
    }
    tracing::warn!(
        created_at = survey.created_at,
        "the log is another stream than before; all of it is compared"
    );
    let report = compare::whole_log(bus, Some(journal), |_| {}).await?;
    Ok(report.finding.map(|finding| Disaster { finding: finding.into(), seen }))
}

/// Whether the log holds again what was seen of it.
pub async fn is_over(bus: &Bus, disaster: &Disaster) -> bool {
    if !matches!(compare::glance(bus, disaster.seen).await, Ok(None)) {
        return false;
    }
    match *disaster.finding {
        Finding::Missing { .. } | Finding::Shorter { .. } | Finding::Hole { .. } => true,
        Finding::Changed { sequence, journal, .. } => {
            let seen = Place { sequence, hash: journal, ..disaster.seen };
            matches!(compare::same_commit(bus, seen).await, Ok(None))
        }
        // What was never right is compared as a whole at the next start.
        Finding::NoCommit { .. } | Finding::Unchained { .. } | Finding::Misnumbered { .. } => false,
    }
}

/// The last commit that the witness knows, which may be further than the store of the journal.
pub(crate) fn last_seen(journal: &Journal) -> Result<Place, JournalError> {
    Ok(journal.witness(journal.witnessed())?.unwrap_or(Place::START))
}

/// What is looked at.
#[derive(Clone, Copy)]
enum Look {
    /// The length of the log, and the last commit that was seen.
    End,
    /// One commit.
    Commit,
}

impl Look {
    async fn once(self, bus: &Bus, seen: Place) -> Result<Option<Finding>, LogError> {
        match self {
            Self::End => compare::glance(bus, seen).await,
            Self::Commit => compare::same_commit(bus, seen).await,
        }
    }

    /// A finding that stands each time it is looked at again.
    async fn insists(self, bus: &Bus, seen: Place) -> Result<Option<Finding>, LogError> {
        let mut found = self.once(bus, seen).await?;
        for _ in 0..LOOKS {
            if found.is_none() {
                break;
            }
            sleep(AGAIN).await;
            found = self.once(bus, seen).await?;
        }
        Ok(found)
    }
}

/// Watches until the end is asked for.
///
/// # Errors
/// [`Disaster`] when the log is not what it was.
pub async fn run(
    bus: Bus,
    journal: Journal,
    mut copies: Copies,
    shutdown: Shutdown,
) -> Result<(), WatchError> {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut probe = 1;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shutdown.requested() => return Ok(()),
        }
        tokio::select! {
            looked = look(&bus, &journal, &mut probe) => looked?,
            () = shutdown.requested() => return Ok(()),
        }
        tokio::select! {
            () = copies.look(&bus) => {}
            () = shutdown.requested() => return Ok(()),
        }
    }
}

async fn look(bus: &Bus, journal: &Journal, probe: &mut u64) -> Result<(), WatchError> {
    let seen = last_seen(journal)?;
    let found = match Look::End.insists(bus, seen).await {
        Ok(None) => probe_some(bus, journal, seen.sequence, probe).await?,
        Ok(found) => found,
        Err(error) => {
            tracing::debug!(%error, "the log could not be looked at");
            None
        }
    };
    let Some(finding) = found else { return Ok(()) };
    distrust(journal)?;
    Err(Disaster { finding: finding.into(), seen }.into())
}

/// Makes the next start compare all of the log, whatever a first look says.
fn distrust(journal: &Journal) -> Result<(), JournalError> {
    journal.set_origin("")
}

/// Proves the next few commits, and begins anew after the last.
async fn probe_some(
    bus: &Bus,
    journal: &Journal,
    last: u64,
    probe: &mut u64,
) -> Result<Option<Finding>, JournalError> {
    for _ in 0..PROBES.min(last) {
        *probe = if *probe >= last { 1 } else { *probe + 1 };
        let Some(seen) = journal.witness(*probe)? else { return Ok(None) };
        match Look::Commit.insists(bus, seen).await {
            Ok(None) => {}
            Ok(found) => return Ok(found),
            Err(error) => {
                tracing::debug!(%error, "a commit could not be proved");
                return Ok(None);
            }
        }
    }
    Ok(None)
}
