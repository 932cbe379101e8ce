//! Find: one page of the events that a question asks for, newest first, and where older ones go on.

use crate::history::{History, HistoryError};
use crate::index::Index;
use crate::travel::TravelError;
use events::limits::{EVENTS_PER_PAGE, REPLY_BYTES};
use events::query::{EventQuestion, Moment};
use events::{Actor, Event, EventNumber, wire};
use std::ops::RangeInclusive;

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    #[error("{after:?} is not where a page ended; ask for the list from its beginning")]
    Place { after: String },
    #[error("the past cannot be read")]
    History(#[from] HistoryError),
}

impl From<TravelError> for FindError {
    fn from(error: TravelError) -> Self {
        match error {
            TravelError::History(error) => Self::History(error),
            TravelError::Future { wanted, .. } => Self::History(HistoryError::Missing { sequence: wanted }),
        }
    }
}

/// Some events, oldest first, and what to ask for to get those before them.
pub type EventPage = (Vec<Event>, Option<String>);

/// One page: the newest events that match.
///
/// # Errors
/// When `after` names no place, or the past cannot be read.
pub fn page(history: &impl History, index: &Index, question: &EventQuestion) -> Result<EventPage, FindError> {
    let range = range(history, index.last().min(history.newest()), question)?;
    let limit = question.limit.map_or(EVENTS_PER_PAGE, |limit| limit as usize).min(EVENTS_PER_PAGE);
    let mut numbers = index.newest(question, range, limit + 1);
    let mut more = numbers.len() > limit;
    numbers.truncate(limit);
    numbers.reverse();
    let mut found = events(history, &numbers)?;
    more |= cut(&mut found);
    let next = found.first().filter(|_| more).map(|event| event.id.to_string());
    Ok((found, next))
}

/// The first and last event that a question can mean.
fn range(
    history: &impl History,
    last: EventNumber,
    question: &EventQuestion,
) -> Result<RangeInclusive<EventNumber>, FindError> {
    let first = match question.since {
        None => 1,
        Some(Moment::Event(number)) => number.max(1),
        Some(Moment::Time(at)) => first_since(history, at)?,
    };
    let until = match question.until {
        None => last,
        Some(Moment::Event(number)) => number.min(last),
        Some(Moment::Time(at)) => last_until(history, at)?,
    };
    let until = match &question.after {
        None => until,
        Some(after) => {
            let number: EventNumber = after.parse().map_err(|_| FindError::Place { after: after.clone() })?;
            until.min(number.saturating_sub(1))
        }
    };
    Ok(first..=until)
}

/// The number of the first event that was decided at a time or later.
fn first_since(history: &impl History, at: events::Timestamp) -> Result<EventNumber, HistoryError> {
    let before = events::Timestamp(at.0.saturating_sub(1));
    if at.0 == 0 { Ok(1) } else { Ok(last_until(history, before)? + 1) }
}

/// The number of the last event that was decided at a time or before; 0 when there is none.
pub(crate) fn last_until(history: &impl History, at: events::Timestamp) -> Result<EventNumber, HistoryError> {
    let whole = history.sequence_of_time(at)?;
    let mut last = 0;
    for stored in history.commits(whole.saturating_sub(1))?.take(2) {
        let commit = stored?.read()?;
        let reached = commit.events.iter().take_while(|event| event.at <= at).last();
        last = reached.map_or(last, |event| event.id);
    }
    Ok(last)
}

/// Events by their numbers, which rise.
///
/// # Errors
/// When they cannot be read.
pub fn events(history: &impl History, numbers: &[EventNumber]) -> Result<Vec<Event>, HistoryError> {
    let mut found = Vec::with_capacity(numbers.len());
    let mut rest = numbers;
    while let Some(&number) = rest.first() {
        let sequence = history.sequence_of_event(number)?;
        let stored = history.commits(sequence - 1)?.next().ok_or(HistoryError::Missing { sequence })??;
        let commit = stored.read()?;
        let here = rest.partition_point(|number| *number <= commit.last());
        if here == 0 {
            return Err(HistoryError::Missing { sequence: sequence + 1 });
        }
        let wanted = &rest[..here];
        found.extend(commit.events.into_iter().filter(|event| wanted.binary_search(&event.id).is_ok()));
        rest = &rest[here..];
    }
    Ok(found)
}

/// Lets go of the oldest events until the rest fits into a reply; true when some were let go.
fn cut(found: &mut Vec<Event>) -> bool {
    let mut bytes = 0;
    let fits = found.iter().rev().take_while(|event| {
        bytes += wire::encode(event).len();
        bytes <= REPLY_BYTES
    });
    let kept = fits.count().max(1).min(found.len());
    let surplus = found.len() - kept;
    found.drain(..surplus);
    surplus > 0
}

/// Whether an actor is the one that is wanted: in full, or without the tool before the colon.
pub fn is_actor(actor: &Actor, wanted: &Actor) -> bool {
    let bare = actor.as_str().split_once(':').map(|(_, name)| name);
    actor == wanted || bare == Some(wanted.as_str())
}
