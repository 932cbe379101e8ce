//! What somebody has seen of the log that a rebuilt one would not hold.

use super::chain::{Chain, Journals};
use crate::journal::JournalError;
use events::EventNumber;
use events::subject::LOG_STREAM;

/// What a King says that it has seen of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Which King, and where.
    pub who: String,
    /// The last commit that it has seen.
    pub sequence: u64,
    /// The last event of that.
    pub event: EventNumber,
}

/// Commits that nobody holds who was asked, or that are given up for others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The first commit.
    pub from: u64,
    /// The last commit that is known to have been.
    pub to: u64,
    /// The first event of these; none where two chains part, each with events of its own.
    pub first_event: Option<EventNumber>,
    /// The last event of these, where that is known.
    pub last_event: Option<EventNumber>,
    /// Who has seen them.
    pub seen_by: Vec<String>,
}

/// What was seen beyond the end of a chain.
pub(super) fn beyond(
    journals: &Journals,
    claims: &[Claim],
    stream: u64,
    chain: &Chain,
) -> Result<Option<Lost>, JournalError> {
    let mut seen: Vec<(String, u64, Option<EventNumber>)> = Vec::new();
    for (folder, place) in journals.witnessed()? {
        seen.push((format!("the witness in {}", folder.display()), place.sequence, Some(place.event)));
    }
    let claimed = |claim: &Claim| (claim.who.clone(), claim.sequence, Some(claim.event));
    seen.extend(claims.iter().map(claimed));
    seen.push((format!("the stream {LOG_STREAM}"), stream, None));
    seen.retain(|(_, sequence, _)| *sequence > chain.end.sequence);
    let rival =
        chain.rival.map(|(from, to)| (format!("the stream {LOG_STREAM}, as other commits"), from, to));
    if seen.is_empty() && rival.is_none() {
        return Ok(None);
    }
    let known = seen.iter().map(|(_, sequence, _)| *sequence).chain(rival.iter().map(|rival| rival.2));
    let last_event = seen.iter().filter_map(|(_, _, event)| *event).max();
    Ok(Some(Lost {
        from: rival.as_ref().map_or(chain.end.sequence + 1, |rival| rival.1),
        to: known.max().unwrap_or(chain.end.sequence),
        first_event: rival.is_none().then_some(chain.end.event + 1),
        last_event: last_event.filter(|_| rival.is_none()),
        seen_by: seen.into_iter().map(|(who, ..)| who).chain(rival.map(|rival| rival.0)).collect(),
    }))
}
