//! Crashes: how long to wait before the next start, and when it is a loop.

use super::Moment;
use std::collections::VecDeque;

/// So many crashes within [`CRASH_WINDOW_MS`] are a crash loop.
pub const CRASHES: usize = 5;
/// The window of a crash loop.
pub const CRASH_WINDOW_MS: u64 = 60_000;
/// Healthy for so long, an instance starts with a clean sheet.
const FORGIVEN_MS: u64 = 60_000;
/// The wait after the second crash; each further one doubles it.
const FIRST_WAIT_MS: u64 = 100;
const LONGEST_WAIT_MS: u64 = 30_000;
/// A wait may be longer by up to this part of it.
const LONGEST_JITTER: u64 = 4;

/// What differs between servants and instances; 0 is none at all.
#[derive(Clone, Copy, Debug)]
pub struct Chance(pub u64);

impl Chance {
    /// Something from 0 to `most`, another for each turn.
    fn of(self, most: u64, turn: u32) -> u64 {
        if self.0 == 0 {
            return 0;
        }
        // splitmix64 (Steele, Lea, Flood 2014): well mixed, and the same for the same.
        let mut bits = self.0.wrapping_add(u64::from(turn).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) % (most + 1)
    }
}

/// The crashes of an instance.
#[derive(Clone, Debug, Default)]
pub struct Crashes {
    /// The latest, at most [`CRASHES`].
    recent: VecDeque<Moment>,
    /// In a row, without a long healthy time between them.
    streak: u32,
    pub is_looping: bool,
}

/// What a crash means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Consequence {
    pub wait_ms: u64,
    /// It has just become a crash loop.
    pub begins_loop: bool,
}

impl Crashes {
    /// One more, after a run that was healthy for so long. `chance` is what makes this wait differ from others: instances
    /// that crash together, for one reason, shall not come back together.
    pub fn add(&mut self, now: Moment, healthy_ms: u64, chance: Chance) -> Consequence {
        if healthy_ms >= FORGIVEN_MS {
            self.streak = 0;
            self.recent.clear();
        }
        let wait_ms = match self.streak {
            0 => 0,
            again => {
                let wait_ms = FIRST_WAIT_MS.saturating_mul(1 << (again - 1).min(20)).min(LONGEST_WAIT_MS);
                wait_ms + chance.of(wait_ms / LONGEST_JITTER, again)
            }
        };
        self.streak = self.streak.saturating_add(1);
        self.recent.push_back(now);
        if self.recent.len() > CRASHES {
            self.recent.pop_front();
        }
        let is_loop = self.recent.len() == CRASHES
            && self.recent.front().is_some_and(|first| now.saturating_sub(*first) <= CRASH_WINDOW_MS);
        let begins_loop = is_loop && !self.is_looping;
        self.is_looping |= is_loop;
        Consequence { wait_ms, begins_loop }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_restart_is_at_once_and_then_the_wait_doubles() {
        let mut crashes = Crashes::default();
        let waits: Vec<u64> = (0..12).map(|at| crashes.add(at, 0, Chance(0)).wait_ms).collect();
        assert_eq!(waits, [0, 100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000]);
        assert_eq!(crashes.add(100_000, FORGIVEN_MS, Chance(0)).wait_ms, 0);
    }

    #[test]
    fn waits_of_others_differ_by_up_to_a_quarter() {
        let waits = |seed| {
            let mut crashes = Crashes::default();
            (0..12).map(|at| crashes.add(at, 0, Chance(seed)).wait_ms).collect::<Vec<u64>>()
        };
        let plain = waits(0);
        for seed in 1..100 {
            let mixed = waits(seed);
            assert_eq!(mixed[0], 0);
            assert!(
                mixed.iter().zip(&plain).all(|(mixed, plain)| (*plain..=plain + plain / 4).contains(mixed))
            );
        }
        assert_ne!(waits(1), waits(2));
        assert_eq!(waits(3), waits(3));
    }

    #[test]
    fn the_fifth_crash_in_a_minute_begins_a_loop_once() {
        let mut crashes = Crashes::default();
        let begins: Vec<bool> = (0..8).map(|at| crashes.add(at * 1000, 0, Chance(0)).begins_loop).collect();
        assert_eq!(begins.iter().filter(|begins| **begins).count(), 1);
        assert!(begins[4]);
    }

    #[test]
    fn slow_crashes_are_no_loop() {
        let mut crashes = Crashes::default();
        assert!((0..50).all(|at| !crashes.add(at * 16_000, 0, Chance(0)).begins_loop));
    }
}
