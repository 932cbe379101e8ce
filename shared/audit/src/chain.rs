//! Chains: what an event follows from, up to a command and its actor, and what followed from it.
//!
//! The events of one input stand together and have one cause; what an input led to later (an instance reports, a tick
//! continues, a mail goes out) is joined by what the events are about: see [`parent`].

mod parent;
mod groups;

use crate::find;
use crate::history::{History, HistoryError};
use crate::index::Index;
use events::limits::EVENTS_PER_CHAIN;
use events::query::{ChainItem, ChainLink, EventQuestion};
use events::{AppName, Event, EventNumber, Fact, InstanceId, ServantId, Timestamp};
use groups::Groups;
use parent::{Key, Parent, keys, parent};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Most events that are looked through for one step of a chain, or for all consequences of an event.
const LOOKS: usize = 10_000;
/// How many are read at a time.
const PAGE: usize = 256;
/// Most steps from an event up to what began it.
const STEPS: usize = 64;

/// Why there is no chain.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    #[error("there is no event {number}; the newest is {last}")]
    Unknown { number: EventNumber, last: EventNumber },
    #[error("the past cannot be read")]
    History(#[from] HistoryError),
}

/// The chain of an event.
///
/// # Errors
/// When there is no such event, or the past cannot be read.
pub fn of(history: &impl History, index: &Index, number: EventNumber) -> Result<ChainItem, ChainError> {
    let last = history.newest().min(index.last());
    if number == 0 || number > last {
        return Err(ChainError::Unknown { number, last });
    }
    let mut past = Past { groups: Groups::new(history), index, history };
    let event = past.groups.event(number)?;
    let causes = past.causes(&event)?;
    let (consequences, cut) = past.consequences(&event)?;
    Ok(ChainItem { event, causes, consequences, cut })
}

/// What led to how an instance is, or was when it ended: the newest event of its life first, then its causes. `since`, where
/// it is known, is when its phase began. Empty when nothing is known of such an instance.
///
/// # Errors
/// When the past cannot be read.
pub fn behind(
    history: &impl History,
    index: &Index,
    instance: InstanceId,
    since: Option<Timestamp>,
) -> Result<Vec<ChainLink>, HistoryError> {
    let newest = history.newest().min(index.last());
    let end = since.map_or(Ok(newest), |since| find::last_until(history, since))?.min(newest);
    let mut past = Past { groups: Groups::new(history), index, history };
    let Some((app, _)) = groups::placing(history, index, instance, end + 1)? else { return Ok(Vec::new()) };
    let noun = Some("instance".to_owned());
    let question = EventQuestion { noun, app: Some(app), ..EventQuestion::default() };
    let is_of_it = |event: &Event| matches!(&event.fact, Fact::Instance(fact) if fact.instance() == instance);
    let Some(event) = past.latest_where(&question, end, is_of_it)? else { return Ok(Vec::new()) };
    let causes = past.causes(&event)?;
    Ok([vec![ChainLink { event, led_to: Vec::new() }], causes].concat())
}

struct Past<'a, H> {
    history: &'a H,
    index: &'a Index,
    groups: Groups<'a, H>,
}

impl<H: History> Past<'_, H> {
    /// From what led to the event directly up to the first that is known.
    fn causes(&mut self, event: &Event) -> Result<Vec<ChainLink>, HistoryError> {
        let mut causes: Vec<ChainLink> = Vec::new();
        let mut seen = BTreeSet::from([event.id]);
        let mut at = event.clone();
        while causes.len() < STEPS {
            let group = self.groups.group(at.id)?;
            let found = match parent(&at, &group) {
                Parent::None => None,
                Parent::Event(number) => Some(self.groups.event(number)?),
                Parent::Latest(wanted) => self.latest(&wanted, at.id)?,
            };
            let Some(found) = found.filter(|found| seen.insert(found.id)) else { break };
            causes.push(ChainLink { event: found.clone(), led_to: Vec::new() });
            at = found;
        }
        Ok(causes)
    }

    /// The latest event before this number that is one of the wanted; the first of `wanted` that is found counts.
    fn latest(&mut self, wanted: &[Key], before: EventNumber) -> Result<Option<Event>, HistoryError> {
        for key in wanted {
            let Some(question) = self.question(key, before)? else { continue };
            if let Some(found) =
                self.latest_where(&question, before - 1, |event| keys(event).contains(key))?
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The latest event up to this number that a question lets through and that is wanted.
    fn latest_where(
        &self,
        question: &EventQuestion,
        mut end: EventNumber,
        is_wanted: impl Fn(&Event) -> bool,
    ) -> Result<Option<Event>, HistoryError> {
        let mut looked = 0;
        while looked < LOOKS && end > 0 {
            let mut numbers = self.index.newest(question, 1..=end, PAGE);
            let Some(&oldest) = numbers.last() else { return Ok(None) };
            looked += numbers.len();
            numbers.reverse();
            let found = find::events(self.history, &numbers)?;
            if let Some(event) = found.into_iter().rev().find(&is_wanted) {
                return Ok(Some(event));
            }
            end = oldest - 1;
        }
        Ok(None)
    }

    /// Among which events a key is found; none when that cannot be told.
    fn question(&self, key: &Key, before: EventNumber) -> Result<Option<EventQuestion>, HistoryError> {
        let noun = Some(key.noun().to_owned());
        let about =
            |app: Option<AppName>| EventQuestion { noun: noun.clone(), app, ..EventQuestion::default() };
        Ok(match key {
            Key::Wish(app) | Key::Removed(app) => Some(about(Some(app.clone()))),
            Key::Lost(_)
            | Key::ServantGone(_)
            | Key::Back(_)
            | Key::Disk(_)
            | Key::Mail(_)
            | Key::Exec(_) => Some(about(None)),
            Key::Placed(instance) => {
                // An instance's id tells when it was made: nothing older needs to be looked at.
                let placed = groups::placing(self.history, self.index, *instance, before)?;
                placed.map(|(app, _)| about(Some(app)))
            }
            Key::Retired(instance) | Key::Trouble(instance) | Key::Relief(instance) => {
                let placed = groups::placing(self.history, self.index, *instance, before)?;
                placed.map(|(app, _)| about(Some(app)))
            }
        })
    }

    /// What followed, as trees, and whether there is more than is shown.
    fn consequences(&mut self, root: &Event) -> Result<(Vec<ChainLink>, bool), HistoryError> {
        let (numbers, mut cut) = self.candidates(root)?;
        let mut tree = Tree::new(root);
        for number in numbers {
            let event = self.groups.event(number)?;
            let group = self.groups.group(number)?;
            if tree.nodes.len() > EVENTS_PER_CHAIN {
                cut = true;
                break;
            }
            tree.take(event, &group);
        }
        Ok((tree.grow(root.id), cut))
    }

    /// The events among which the consequences are: those of the same input, and later those about the same apps, about
    /// the same servant, and about mails.
    fn candidates(&mut self, root: &Event) -> Result<(Vec<EventNumber>, bool), HistoryError> {
        let group = self.groups.group(root.id)?;
        let (apps, servant) = self.concerned(root, &group)?;
        let first = group.first().map_or(root.id, |event| event.id);
        let range = first..=self.index.last();
        let mut numbers: BTreeSet<EventNumber> = group.iter().map(|event| event.id).collect();
        let mut cut = false;
        let mut questions: Vec<EventQuestion> = apps
            .into_iter()
            .map(|app| EventQuestion { app: Some(app), ..EventQuestion::default() })
            .collect();
        if !questions.is_empty() || servant.is_some() || matches!(root.fact, Fact::Alert(_)) {
            questions.push(EventQuestion { noun: Some("alert".into()), ..EventQuestion::default() });
        }
        if servant.is_some() {
            questions.push(EventQuestion { noun: Some("servant".into()), ..EventQuestion::default() });
        }
        for question in questions {
            let found = self.index.oldest(&question, range.clone(), LOOKS);
            cut |= found.len() == LOOKS;
            numbers.extend(found);
        }
        Ok((numbers.into_iter().take(LOOKS).collect(), cut))
    }

    /// The apps and the servant that an event and those of the same input are about.
    fn concerned(
        &self,
        root: &Event,
        group: &[Event],
    ) -> Result<(BTreeSet<AppName>, Option<ServantId>), HistoryError> {
        let mut apps = BTreeSet::new();
        let mut servant = None;
        let mut owners = crate::about::Owners::default();
        let whole = matches!(root.fact, Fact::Command(_) | Fact::Servant(_));
        let of_root = std::slice::from_ref(root);
        for event in if whole { group } else { of_root } {
            let about = owners.note(event);
            apps.extend(about.app);
            if let Fact::Servant(fact) = &event.fact {
                servant = Some(fact.servant());
            }
            if let Fact::Instance(fact) = &event.fact {
                let placed = groups::placing(self.history, self.index, fact.instance(), event.id + 1)?;
                apps.extend(placed.map(|(app, _)| app));
            }
        }
        Ok((apps, servant))
    }
}

/// What is known to follow from the root, while later events are looked at in order.
struct Tree {
    /// Each event of the tree with the number of the one that it follows from.
    nodes: BTreeMap<EventNumber, (EventNumber, Event)>,
    /// The latest event of each key, in the tree or not: what is out of date claims nothing.
    latest: HashMap<Key, EventNumber>,
    root: EventNumber,
}

impl Tree {
    fn new(root: &Event) -> Self {
        let latest = keys(root).into_iter().map(|key| (key, root.id)).collect();
        Self { nodes: BTreeMap::new(), latest, root: root.id }
    }

    fn take(&mut self, event: Event, group: &[Event]) {
        if event.id == self.root {
            return;
        }
        let follows = match parent(&event, group) {
            Parent::None => None,
            Parent::Event(number) => Some(number),
            Parent::Latest(wanted) => wanted.iter().find_map(|key| self.latest.get(key).copied()),
        };
        if event.id > self.root {
            self.latest.extend(keys(&event).into_iter().map(|key| (key, event.id)));
        }
        let Some(follows) = follows else { return };
        if follows == self.root || self.nodes.contains_key(&follows) {
            self.latest.extend(keys(&event).into_iter().map(|key| (key, event.id)));
            self.nodes.insert(event.id, (follows, event));
        }
    }

    /// The trees of what follows from an event.
    fn grow(&self, from: EventNumber) -> Vec<ChainLink> {
        let mut by_cause: BTreeMap<EventNumber, Vec<EventNumber>> = BTreeMap::new();
        for (number, (follows, _)) in &self.nodes {
            by_cause.entry(*follows).or_default().push(*number);
        }
        self.branches(from, &by_cause)
    }

    fn branches(
        &self,
        from: EventNumber,
        by_cause: &BTreeMap<EventNumber, Vec<EventNumber>>,
    ) -> Vec<ChainLink> {
        let numbers = by_cause.get(&from).into_iter().flatten();
        let link = |number: &EventNumber| {
            let (_, event) = self.nodes.get(number)?;
            Some(ChainLink { event: event.clone(), led_to: self.branches(*number, by_cause) })
        };
        numbers.filter_map(link).collect()
    }
}
