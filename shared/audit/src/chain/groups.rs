//! Reading events together with those of the same input, and finding where an instance was placed.

use crate::find;
use crate::history::{History, HistoryError};
use crate::index::Index;
use events::event::InstanceEvent;
use events::query::EventQuestion;
use events::{AppName, Commit, Event, EventNumber, Fact, InstanceId, ServantId, Timestamp};

/// Most events that are looked through for the placing of an instance.
const LOOKS: usize = 10_000;
/// How many are read at a time.
const PAGE: usize = 256;

/// Events with their neighbours; remembers the commit that was read last.
pub(super) struct Groups<'a, H> {
    history: &'a H,
    read: Option<Commit>,
}

impl<'a, H: History> Groups<'a, H> {
    pub fn new(history: &'a H) -> Self {
        Self { history, read: None }
    }

    /// An event.
    pub fn event(&mut self, number: EventNumber) -> Result<Event, HistoryError> {
        let commit = self.commit(number)?;
        let place = (number - commit.first) as usize;
        let found = commit.events.get(place).cloned();
        found.ok_or(HistoryError::Missing { sequence: number })
    }

    /// The events of the same input as this one: they stand together and have the same cause.
    pub fn group(&mut self, number: EventNumber) -> Result<Vec<Event>, HistoryError> {
        let commit = self.commit(number)?;
        let place = (number - commit.first) as usize;
        let Some(cause) = commit.events.get(place).map(|event| event.cause.clone()) else {
            return Err(HistoryError::Missing { sequence: number });
        };
        let same = |event: &&Event| event.cause == cause;
        let before = commit.events[..place].iter().rev().take_while(same).count();
        let after = commit.events[place..].iter().take_while(same).count();
        Ok(commit.events[place - before..place + after].to_vec())
    }

    fn commit(&mut self, number: EventNumber) -> Result<&Commit, HistoryError> {
        let holds = |commit: &Commit| (commit.first..=commit.last()).contains(&number);
        let read = match self.read.take().filter(holds) {
            Some(commit) => commit,
            None => {
                let sequence = self.history.sequence_of_event(number)?;
                let missing = HistoryError::Missing { sequence };
                self.history.commits(sequence - 1)?.next().ok_or(missing)??.read()?
            }
        };
        if !holds(&read) {
            return Err(HistoryError::Missing { sequence: number });
        }
        Ok(self.read.insert(read))
    }
}

/// The app and the servant of an instance. Its id (a UUID v7) tells when it was placed, so only what happened from then on
/// is looked at; a clock that was set back only makes that longer.
pub(super) fn placing(
    history: &impl History,
    index: &Index,
    instance: InstanceId,
    before: EventNumber,
) -> Result<Option<(AppName, ServantId)>, HistoryError> {
    if let Some(owner) = index.owner(instance) {
        return Ok(Some(owner.clone()));
    }
    let made = instance.0.get_timestamp().map_or((0, 0), |stamp| stamp.to_unix());
    let at = Timestamp((made.0 * 1000 + u64::from(made.1) / 1_000_000).saturating_sub(1));
    let mut first = find::last_until(history, at)? + 1;
    let question = EventQuestion { noun: Some("instance".into()), ..EventQuestion::default() };
    let mut looked = 0;
    while looked < LOOKS && first < before {
        let numbers = index.oldest(&question, first..=before - 1, PAGE);
        let Some(&last) = numbers.last() else { return Ok(None) };
        looked += numbers.len();
        for event in find::events(history, &numbers)? {
            if let Fact::Instance(InstanceEvent::Placed(placed)) = event.fact
                && placed.instance == instance
            {
                return Ok(Some((placed.app, placed.servant)));
            }
        }
        first = last + 1;
    }
    Ok(None)
}
