//! A model of core NATS: who hears a subject. Nothing is kept for anybody.

use crate::jetstream::subject::matches;
use std::collections::BTreeMap;

/// Who listens to what. `S` names a subscriber.
#[derive(Clone, Debug)]
pub struct Subscriptions<S> {
    all: Vec<Subscription<S>>,
}

#[derive(Clone, Debug)]
struct Subscription<S> {
    subscriber: S,
    pattern: String,
    group: Option<String>,
}

impl<S> Default for Subscriptions<S> {
    fn default() -> Self {
        Self { all: Vec::new() }
    }
}

impl<S: Clone + PartialEq> Subscriptions<S> {
    /// Somebody listens; of the members of a group one hears each message.
    pub fn add(&mut self, subscriber: S, pattern: &str, group: Option<&str>) {
        let (pattern, group) = (pattern.to_owned(), group.map(str::to_owned));
        self.all.push(Subscription { subscriber, pattern, group });
    }

    /// Somebody no longer listens to anything.
    pub fn remove(&mut self, subscriber: &S) {
        self.all.retain(|subscription| subscription.subscriber != *subscriber);
    }

    /// Somebody no longer listens to a pattern.
    pub fn remove_one(&mut self, subscriber: &S, pattern: &str) {
        self.all.retain(|one| one.subscriber != *subscriber || one.pattern != pattern);
    }

    /// Who hears a subject; `draw` chooses among the members of a group.
    pub fn receivers(&self, subject: &str, draw: u64) -> Vec<S> {
        let hearing = self.all.iter().filter(|one| matches(&one.pattern, subject));
        let (mut receivers, mut groups) = (Vec::new(), BTreeMap::<&str, Vec<&S>>::new());
        for one in hearing {
            match &one.group {
                Some(group) => groups.entry(group).or_default().push(&one.subscriber),
                None => receivers.push(one.subscriber.clone()),
            }
        }
        for members in groups.values() {
            let chosen = usize::try_from(draw % members.len() as u64).expect("below the number of members");
            receivers.push(members[chosen].clone());
        }
        receivers
    }
}
