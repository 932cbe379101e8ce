//! Finds an event by the id of its command, at the price of one look into memory: each command looks for its id among all
//! that are remembered, and the ids themselves are kept elsewhere.

use events::{CommandId, EventNumber};
use std::collections::BTreeMap;
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};

/// A map whose hasher draws nothing at random, and that nobody walks through: so it is the same on every King.
#[allow(
    clippy::disallowed_types,
    reason = "the rule is against an order that differs between runs, and none is seen"
)]
type ByMark = std::collections::HashMap<u64, EventNumber, BuildHasherDefault<AsItIs>>;

/// The events by the marks of their ids.
#[derive(Clone, Debug, Default)]
pub(super) struct Marks {
    by_mark: ByMark,
    /// Those whose mark is another's too. Chance alone makes none.
    alike: BTreeMap<CommandId, EventNumber>,
}

impl Marks {
    /// The event of an id, if `is_of` confirms it.
    pub fn get(&self, id: &CommandId, is_of: impl Fn(EventNumber) -> bool) -> Option<EventNumber> {
        let marked = self.by_mark.get(&mark(id)).copied().filter(|event| is_of(*event));
        marked.or_else(|| self.alike.get(id).copied())
    }

    pub fn insert(&mut self, id: &CommandId, event: EventNumber) {
        self.insert_marked(mark(id), id, event);
    }

    fn insert_marked(&mut self, mark: u64, id: &CommandId, event: EventNumber) {
        let kept = *self.by_mark.entry(mark).or_insert(event);
        if kept != event {
            self.alike.insert(id.clone(), event);
        }
    }

    pub fn remove(&mut self, id: &CommandId, event: EventNumber) {
        self.remove_marked(mark(id), id, event);
    }

    fn remove_marked(&mut self, mark: u64, id: &CommandId, event: EventNumber) {
        if self.by_mark.get(&mark) == Some(&event) {
            self.by_mark.remove(&mark);
        } else if self.alike.get(id) == Some(&event) {
            self.alike.remove(id);
        }
    }
}

/// It is never stored, so it may differ from build to build.
fn mark(id: &CommandId) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

/// A mark is well mixed already.
#[derive(Clone, Debug, Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, mark: u64) {
        self.0 = mark;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_one_mark_are_told_apart() {
        let [first, second]: [CommandId; 2] = ["first", "second"].map(|id| id.parse().expect("an id"));
        let mut marks = Marks::default();
        marks.insert_marked(mark(&second), &first, 1);
        marks.insert(&second, 2);
        assert_eq!(marks.get(&second, |event| event == 2), Some(2));
        marks.remove_marked(mark(&second), &first, 1);
        assert_eq!(marks.get(&second, |event| event == 2), Some(2), "the other one is gone");
        marks.remove(&second, 2);
        assert_eq!(marks.get(&second, |_| true), None);
    }

    #[test]
    fn what_is_removed_is_what_was_inserted() {
        let id: CommandId = "one".parse().expect("an id");
        let mut marks = Marks::default();
        marks.insert(&id, 7);
        marks.remove(&id, 6);
        assert_eq!(marks.get(&id, |event| event == 7), Some(7));
    }
}
