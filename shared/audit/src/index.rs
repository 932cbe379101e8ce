//! The index: the numbers of the events about each noun, actor, app and servant, as compressed bitmaps (roaring), so that
//! any combination is an intersection and only the events that are shown are read.

use crate::about::Owners;
use events::query::EventQuestion;
use events::{Actor, AppName, Event, EventNumber, InstanceId, ServantId};
use roaring::RoaringTreemap;
use std::collections::HashMap;
use std::hash::Hash;
use std::ops::RangeInclusive;

/// The numbers of events by what they are about.
#[derive(Clone, Debug, Default)]
pub struct Index {
    last: EventNumber,
    owners: Owners,
    nouns: HashMap<&'static str, RoaringTreemap>,
    actors: HashMap<Actor, RoaringTreemap>,
    apps: HashMap<AppName, RoaringTreemap>,
    servants: HashMap<ServantId, RoaringTreemap>,
}

impl Index {
    /// The number of the last event that was noted.
    pub fn last(&self) -> EventNumber {
        self.last
    }

    /// Notes the next event; one that was noted already changes nothing.
    pub fn note(&mut self, event: &Event) {
        if event.id <= self.last {
            return;
        }
        self.last = event.id;
        let about = self.owners.note(event);
        add(&mut self.nouns, &event.fact.noun(), event.id);
        add(&mut self.actors, &event.actor, event.id);
        if let Some(app) = &about.app {
            add(&mut self.apps, app, event.id);
        }
        if let Some(servant) = &about.servant {
            add(&mut self.servants, servant, event.id);
        }
    }

    /// The numbers of the events that a question is about, within a range; newest first, at most so many.
    pub fn newest(
        &self,
        question: &EventQuestion,
        range: RangeInclusive<EventNumber>,
        most: usize,
    ) -> Vec<EventNumber> {
        let range = *range.start()..=(*range.end()).min(self.last);
        match self.matching(question) {
            None => range.rev().take(most).collect(),
            Some(numbers) => within(numbers, &range).iter().rev().take(most).collect(),
        }
    }

    /// As [`Index::newest`], but oldest first.
    pub fn oldest(
        &self,
        question: &EventQuestion,
        range: RangeInclusive<EventNumber>,
        most: usize,
    ) -> Vec<EventNumber> {
        let range = *range.start()..=(*range.end()).min(self.last);
        match self.matching(question) {
            None => range.take(most).collect(),
            Some(numbers) => within(numbers, &range).iter().take(most).collect(),
        }
    }

    /// Whose an instance is that has not ended.
    pub fn owner(&self, instance: InstanceId) -> Option<&(AppName, ServantId)> {
        self.owners.owner(instance)
    }

    /// Every number that the fields of a question let through; none when it has no such field.
    fn matching(&self, question: &EventQuestion) -> Option<RoaringTreemap> {
        let noun = question.noun.as_deref().map(|noun| self.nouns.get(noun).cloned().unwrap_or_default());
        let app = question.app.as_ref().map(|app| self.apps.get(app).cloned().unwrap_or_default());
        let actor = question.actor.as_ref().map(|actor| self.of_actor(actor));
        let servant = question.servant.as_ref().map(|name| {
            let hosts = self.owners.named(name).filter_map(|id| self.servants.get(&id));
            hosts.fold(RoaringTreemap::new(), |all, numbers| all | numbers)
        });
        let mut given: Vec<_> = [noun, app, actor, servant].into_iter().flatten().collect();
        given.sort_by_key(RoaringTreemap::len);
        given.into_iter().reduce(|one, other| one & other)
    }

    /// What an actor did, named in full or without the tool.
    fn of_actor(&self, wanted: &Actor) -> RoaringTreemap {
        let is_meant = |actor: &Actor| crate::find::is_actor(actor, wanted);
        let meant = self.actors.iter().filter(|(actor, _)| is_meant(actor));
        meant.fold(RoaringTreemap::new(), |all, (_, numbers)| all | numbers)
    }
}

fn add<K: Clone + Eq + Hash>(maps: &mut HashMap<K, RoaringTreemap>, key: &K, number: EventNumber) {
    match maps.get_mut(key) {
        Some(numbers) => {
            numbers.insert(number);
        }
        None => {
            maps.insert(key.clone(), RoaringTreemap::from_iter([number]));
        }
    }
}

fn within(mut numbers: RoaringTreemap, range: &RangeInclusive<EventNumber>) -> RoaringTreemap {
    if range.is_empty() {
        return RoaringTreemap::new();
    }
    numbers.remove_range(..*range.start());
    numbers.remove_range(range.end().saturating_add(1)..);
    numbers
}
