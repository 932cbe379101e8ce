//! Where instances were placed: what a filter by app or servant needs to know of an event that names only an instance.
//!
//! An instance is placed once and never moves, so what was learned once stays true. The newest placings are kept here;
//! an older one is found in the log, because every instance that an event speaks of was placed in that commit or before.
//! So the answer never depends on whether the instance still exists.

use super::FeedError;
use super::history::{History, READ_AHEAD};
use events::event::InstanceEvent;
use events::{AppName, Event, Fact, InstanceId, ServantId};
use futures_util::StreamExt;
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard};

/// Most placings that are remembered.
const REMEMBERED: usize = 65_536;

/// The app of an instance and the servant that it was placed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    pub app: AppName,
    pub servant: ServantId,
}

#[derive(Default)]
pub(super) struct Placements {
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    places: HashMap<InstanceId, Placement>,
    order: VecDeque<InstanceId>,
}

impl Placements {
    /// Remembers the placing that an event tells of, if it does.
    pub fn note(&self, event: &Event) {
        let Fact::Instance(InstanceEvent::Placed(placed)) = &event.fact else { return };
        let place = Placement { app: placed.app.clone(), servant: placed.servant };
        self.memory().put(placed.instance, place);
    }

    /// Remembers placings from elsewhere than an event.
    pub fn seed(&self, places: impl Iterator<Item = (InstanceId, Placement)>) {
        let mut memory = self.memory();
        places.for_each(|(instance, place)| memory.put(instance, place));
    }

    pub fn get(&self, instance: InstanceId) -> Option<Placement> {
        self.memory().places.get(&instance).cloned()
    }

    /// Finds a placing in memory, else in the log backwards from a commit; remembers all that it meets on the way.
    pub async fn find(
        &self,
        instance: InstanceId,
        before: u64,
        history: &History,
    ) -> Result<Option<Placement>, FeedError> {
        if let Some(place) = self.get(instance) {
            return Ok(Some(place));
        }
        let mut commits = futures_util::stream::iter((1..=before).rev())
            .map(|sequence| history.commit(sequence))
            .buffered(READ_AHEAD);
        while let Some(read) = commits.next().await {
            let (commit, _) = read?;
            if let Some(place) = self.note_all(&commit.events, instance) {
                return Ok(Some(place));
            }
        }
        Ok(None)
    }

    fn note_all(&self, events: &[Event], wanted: InstanceId) -> Option<Placement> {
        events.iter().for_each(|event| self.note(event));
        self.get(wanted)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().expect("nothing panics while it holds the placings")
    }
}

impl Memory {
    fn put(&mut self, instance: InstanceId, place: Placement) {
        if self.places.insert(instance, place).is_none() {
            self.order.push_back(instance);
        }
        while self.order.len() > REMEMBERED {
            self.order.pop_front().and_then(|oldest| self.places.remove(&oldest));
        }
    }
}
