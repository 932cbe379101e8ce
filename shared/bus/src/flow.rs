//! Flow: numbered items over core subjects, in order and once, within a window. Core NATS may lose a message and keeps
//! nothing for a slow reader; here what was not heard is sent again, and a sender stops when its reader falls behind, so
//! neither side ever holds more than a window.
//!
//! Two machines without a socket or a clock: [`Sending`] for one direction, [`Receiving`] for the other. A packet carries
//! at most one item, and what its sender has heard and used up of the other direction.

use events::exec::{Item, Packet};
use std::collections::VecDeque;

/// Most items that are on the way or not used up yet.
pub const WINDOW_ITEMS: u64 = 32;
/// Largest item, in bytes: a window is at most a megabyte.
pub const ITEM_BYTES: usize = 32 * 1024;
/// When the first item is sent again that was not heard, in milliseconds; each further time twice as late.
const FIRST_AGAIN_MS: u64 = 250;
const LATEST_AGAIN_MS: u64 = 4_000;

/// Milliseconds of a monotonic clock.
pub type Moment = u64;

/// What goes out.
#[derive(Debug)]
pub struct Sending<T> {
    /// The number of the last item.
    sent: u64,
    /// So many have arrived.
    heard: u64,
    /// So many are used up.
    taken: u64,
    /// Those that have not arrived, for all that is known.
    unheard: VecDeque<T>,
    again_at: Moment,
    again_ms: u64,
}

impl<T> Default for Sending<T> {
    fn default() -> Self {
        let (sent, heard, taken, unheard) = (0, 0, 0, VecDeque::new());
        Self { sent, heard, taken, unheard, again_at: 0, again_ms: FIRST_AGAIN_MS }
    }
}

impl<T: Clone> Sending<T> {
    /// Whether the reader has room for one more.
    pub fn has_room(&self) -> bool {
        self.sent - self.taken < WINDOW_ITEMS
    }

    /// Gives an item its number; to be sent now.
    pub fn push(&mut self, now: Moment, content: T) -> Item<T> {
        if self.unheard.is_empty() {
            self.put_off(now, FIRST_AGAIN_MS);
        }
        self.sent += 1;
        self.unheard.push_back(content.clone());
        Item { number: self.sent, content }
    }

    /// The reader says how far it is. What it cannot know is not believed, and what came late changes nothing.
    pub fn acknowledged(&mut self, now: Moment, heard: u64, taken: u64) {
        if heard > self.sent || taken > heard {
            return;
        }
        self.taken = self.taken.max(taken);
        while self.heard < heard {
            self.heard += 1;
            self.unheard.pop_front();
            self.put_off(now, FIRST_AGAIN_MS);
        }
    }

    /// When something must be sent again, if nothing is heard until then.
    pub fn again_at(&self) -> Option<Moment> {
        (!self.unheard.is_empty()).then_some(self.again_at)
    }

    /// What is to be sent again now.
    pub fn again(&mut self, now: Moment) -> Vec<Item<T>> {
        if self.again_at().is_none_or(|at| at > now) {
            return Vec::new();
        }
        self.put_off(now, (self.again_ms * 2).min(LATEST_AGAIN_MS));
        (self.heard + 1..)
            .zip(&self.unheard)
            .map(|(number, content)| Item { number, content: content.clone() })
            .collect()
    }

    /// Whether everything has arrived.
    pub fn is_heard(&self) -> bool {
        self.unheard.is_empty()
    }

    fn put_off(&mut self, now: Moment, wait_ms: u64) {
        self.again_ms = wait_ms;
        self.again_at = now + wait_ms;
    }
}

/// What comes in.
#[derive(Debug, Default)]
pub struct Receiving {
    heard: u64,
    taken: u64,
    /// What the sender was told last.
    told: Option<(u64, u64)>,
}

impl Receiving {
    /// The content of an item, when it is the next one and there is room for it; else it will come again.
    pub fn hear<T>(&mut self, item: Item<T>) -> Option<T> {
        if item.number <= self.heard {
            // It was said before: the sender does not know that it was heard.
            self.told = None;
            return None;
        }
        if item.number != self.heard + 1 || self.heard - self.taken >= WINDOW_ITEMS {
            return None;
        }
        self.heard += 1;
        Some(item.content)
    }

    /// The oldest item that was heard is used up.
    pub fn take(&mut self) {
        self.taken = (self.taken + 1).min(self.heard);
    }

    /// Whether the sender should be told now: it may be waiting for room, or does not know what was heard.
    pub fn is_news(&self) -> bool {
        self.told != Some((self.heard, self.taken))
    }

    /// Whether the sender should not have to wait for that: much of its window is free again.
    pub fn is_urgent(&self) -> bool {
        self.taken >= self.told.map_or(0, |(_, taken)| taken) + WINDOW_ITEMS / 4
    }

    /// A packet that tells the sender how far this side is, and carries an item of the other direction.
    pub fn packet<T>(&mut self, item: Option<Item<T>>) -> Packet<T> {
        self.told = Some((self.heard, self.taken));
        Packet { heard: self.heard, taken: self.taken, item }
    }
}

#[cfg(test)]
mod laws {
    use super::*;
    use proptest::prelude::*;

    /// What the network does with a packet, step by step.
    #[derive(Clone, Copy, Debug)]
    enum Fate {
        Arrives,
        IsLost,
        ComesTwice,
        /// The reader is slow: it uses up nothing in this step.
        Waits,
    }

    fn fates() -> impl Strategy<Value = Vec<Fate>> {
        let fate = prop_oneof![
            4 => Just(Fate::Arrives), 2 => Just(Fate::IsLost), 1 => Just(Fate::ComesTwice), 2 => Just(Fate::Waits)
        ];
        proptest::collection::vec(fate, 0..400)
    }

    fn deliver<T: Clone>(packet: T, fate: Fate) -> Vec<T> {
        match fate {
            Fate::Arrives | Fate::Waits => vec![packet],
            Fate::IsLost => Vec::new(),
            Fate::ComesTwice => vec![packet.clone(), packet],
        }
    }

    proptest! {
        #[test]
        fn everything_arrives_once_and_in_order_and_nobody_holds_more_than_a_window(
            fates in fates(), count in 0_u64..200,
        ) {
            let (mut sending, mut receiving) = (Sending::default(), Receiving::default());
            let (mut next, mut held, mut used) = (0_u64, VecDeque::new(), Vec::new());
            // After the fates the network is sound, so that all must arrive in the end.
            let sound = std::iter::repeat_n(Fate::Arrives, 4_000);
            for (step, fate) in fates.into_iter().chain(sound).enumerate() {
                let now = step as u64 * 100;
                let mut out = sending.again(now);
                if next < count && sending.has_room() {
                    next += 1;
                    out.push(sending.push(now, next));
                }
                for item in out.into_iter().flat_map(|item| deliver(item, fate)) {
                    held.extend(receiving.hear(item));
                }
                prop_assert!(held.len() as u64 <= WINDOW_ITEMS);
                if !matches!(fate, Fate::Waits) && let Some(item) = held.pop_front() {
                    receiving.take();
                    used.push(item);
                }
                for packet in deliver(receiving.packet::<()>(None), fate) {
                    sending.acknowledged(now, packet.heard, packet.taken);
                }
            }
            prop_assert_eq!(used, (1..=count).collect::<Vec<_>>());
            prop_assert!(sending.is_heard() && sending.has_room());
        }

        #[test]
        fn what_a_reader_cannot_know_is_not_believed(heard: u64, taken: u64) {
            let mut sending = Sending::default();
            (0..5).for_each(|number| {
            sending.push(0, number);
        });
            sending.acknowledged(0, heard, taken);
            let left = sending.again(LATEST_AGAIN_MS).len() as u64;
            prop_assert_eq!(left, if heard <= 5 && taken <= heard { 5 - heard } else { 5 });
        }
    }

    #[test]
    fn what_was_heard_is_not_sent_again() {
        let mut sending = Sending::default();
        (0..3).for_each(|number| {
            sending.push(0, number);
        });
        sending.acknowledged(10, 3, 0);
        assert_eq!(sending.again_at(), None);
        assert!(sending.again(60_000).is_empty(), "a slow reader is not shouted at");
    }
}
