//! The ring: the newest commits in memory, without a gap between them, bounded by events and by bytes.

use events::{Commit, EventNumber};
use std::collections::VecDeque;
use std::sync::Arc;

struct Slot {
    sequence: u64,
    bytes: usize,
    last: EventNumber,
    commit: Arc<Commit>,
}

pub(super) struct Ring {
    slots: VecDeque<Slot>,
    events: usize,
    bytes: usize,
    most_events: usize,
    most_bytes: usize,
}

impl Ring {
    pub fn new(most_events: usize, most_bytes: usize) -> Self {
        Self { slots: VecDeque::new(), events: 0, bytes: 0, most_events, most_bytes }
    }

    /// Takes a commit in and lets go of the oldest. What does not follow on what is there replaces it.
    pub fn push(&mut self, sequence: u64, bytes: usize, commit: Arc<Commit>) {
        let (Some(first), Some(last)) = (commit.events.first(), commit.events.last()) else { return };
        if self.slots.back().is_some_and(|slot| slot.last + 1 != first.id) {
            self.clear();
        }
        self.events += commit.events.len();
        self.bytes += bytes;
        self.slots.push_back(Slot { sequence, bytes, last: last.id, commit });
        while self.events > self.most_events || self.bytes > self.most_bytes {
            self.drop_oldest();
        }
    }

    /// The commit that holds the event after this one, and its sequence.
    pub fn after(&self, event: EventNumber) -> Option<(u64, Arc<Commit>)> {
        let index = self.slots.partition_point(|slot| slot.last <= event);
        let slot = self.slots.get(index)?;
        let first = slot.commit.events.first()?.id;
        (first <= event + 1).then(|| (slot.sequence, Arc::clone(&slot.commit)))
    }

    fn drop_oldest(&mut self) {
        let Some(slot) = self.slots.pop_front() else { return };
        self.events -= slot.commit.events.len();
        self.bytes -= slot.bytes;
    }

    fn clear(&mut self) {
        self.slots.clear();
        self.events = 0;
        self.bytes = 0;
    }
}
