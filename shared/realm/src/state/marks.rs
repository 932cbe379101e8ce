//! Finds an outcome by the id of its command, at the price of one look into memory: each command looks for its id among all
//! that are remembered, and the ids themselves are kept elsewhere.
//!
//! A table of short marks with linear probing. What is removed leaves no trace, so it never has to be built anew while it
//! keeps its size; nobody walks through it, so its order is nobody's concern.

use events::CommandId;
use std::hash::{DefaultHasher, Hash, Hasher};

/// What is left of an id: never 0. Two ids may have one mark, so whoever finds one looks at the id too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark(u32);

impl Mark {
    /// Of an id. It is never stored, so it may differ from build to build; its hasher draws nothing at random.
    pub fn of(id: &CommandId) -> Self {
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        // The upper half: all of its bits are as good as those of the lower one.
        Self(u32::try_from(hasher.finish() >> 32).expect("it is a half").max(1))
    }
}

/// The numbers of outcomes by the marks of their ids.
#[derive(Clone, Debug, Default)]
pub(super) struct Marks {
    /// A power of two of them, or none.
    slots: Vec<Slot>,
    taken: usize,
}

/// Free when its mark is 0.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    mark: u32,
    number: u32,
}

/// The least that are made.
const FEWEST: usize = 64;

impl Marks {
    /// The number under a mark that `is_it` confirms.
    pub fn find(&self, mark: Mark, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        if self.slots.is_empty() {
            return None;
        }
        let mut at = self.home(mark.0);
        loop {
            let slot = self.slots[at];
            if slot.mark == 0 {
                return None;
            }
            if slot.mark == mark.0 && is_it(slot.number) {
                return Some(slot.number);
            }
            at = self.after(at);
        }
    }

    pub fn insert(&mut self, mark: Mark, number: u32) {
        // At most four fifths are taken: then the way to a free one is short.
        if (self.taken + 1) * 5 > self.slots.len() * 4 {
            self.grow();
        }
        self.put(Slot { mark: mark.0, number });
        self.taken += 1;
    }

    pub fn remove(&mut self, mark: Mark, number: u32) {
        if self.slots.is_empty() {
            return;
        }
        let mut at = self.home(mark.0);
        while self.slots[at].mark != mark.0 || self.slots[at].number != number {
            if self.slots[at].mark == 0 {
                return;
            }
            at = self.after(at);
        }
        self.taken -= 1;
        self.close(at);
    }

    /// Frees a slot, and moves up those behind it that are nearer to their home there.
    fn close(&mut self, mut free: usize) {
        let mut at = free;
        loop {
            at = self.after(at);
            let slot = self.slots[at];
            if slot.mark == 0 {
                break;
            }
            let distance = |to: usize| to.wrapping_sub(self.home(slot.mark)) & (self.slots.len() - 1);
            if distance(free) < distance(at) {
                self.slots[free] = slot;
                free = at;
            }
        }
        self.slots[free] = Slot::default();
    }

    fn grow(&mut self) {
        let more = (self.slots.len() * 2).max(FEWEST);
        let before = std::mem::replace(&mut self.slots, vec![Slot::default(); more]);
        before.into_iter().filter(|slot| slot.mark != 0).for_each(|slot| self.put(slot));
    }

    /// There is a free slot.
    fn put(&mut self, slot: Slot) {
        let mut at = self.home(slot.mark);
        while self.slots[at].mark != 0 {
            at = self.after(at);
        }
        self.slots[at] = slot;
    }

    /// Where a mark belongs: the greater it is the further behind.
    fn home(&self, mark: u32) -> usize {
        let scaled = u64::from(mark) * self.slots.len() as u64;
        usize::try_from(scaled >> 32).expect("it is less than the number of slots")
    }

    fn after(&self, at: usize) -> usize {
        (at + 1) & (self.slots.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_mark_is_that_of_its_id() {
        let [one, other]: [CommandId; 2] = ["one", "other"].map(|id| id.parse().expect("an id"));
        assert_eq!(Mark::of(&one), Mark::of(&one.clone()));
        assert_ne!(Mark::of(&one), Mark::of(&other));
    }

    proptest! {
        /// Few marks, many of them alike or neighbours: what is found is what is there, also around the end.
        #[test]
        fn it_is_a_set(steps in proptest::collection::vec((any::<bool>(), 0usize..6, 0u32..40), 0..600)) {
            let near = [1, 2, 1 << 26, (1 << 26) + 1, u32::MAX - 1, u32::MAX];
            let (mut marks, mut set) = (Marks::default(), BTreeSet::new());
            for (is_new, near_to, number) in steps {
                let mark = near[near_to];
                if is_new && set.insert((mark, number)) {
                    marks.insert(Mark(mark), number);
                } else if !is_new && set.remove(&(mark, number)) {
                    marks.remove(Mark(mark), number);
                }
                prop_assert_eq!(marks.taken, set.len());
            }
            for mark in near {
                for number in 0..40 {
                    let found = marks.find(Mark(mark), |found| found == number);
                    prop_assert_eq!(found.is_some(), set.contains(&(mark, number)));
                }
            }
        }
    }
}
