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
    /// One more, after a run that was healthy for so long.
    pub fn add(&mut self, now: Moment, healthy_ms: u64) -> Consequence {
        if healthy_ms >= FORGIVEN_MS {
            self.streak = 0;
            self.recent.clear();
        }
        let wait_ms = match self.streak {
            0 => 0,
            again => FIRST_WAIT_MS.saturating_mul(1 << (again - 1).min(20)).min(LONGEST_WAIT_MS),
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
        let waits: Vec<u64> = (0..12).map(|at| crashes.add(at, 0).wait_ms).collect();
        assert_eq!(waits, [0, 100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000]);
        assert_eq!(crashes.add(100_000, FORGIVEN_MS).wait_ms, 0);
    }

    #[test]
    fn the_fifth_crash_in_a_minute_begins_a_loop_once() {
        let mut crashes = Crashes::default();
        let begins: Vec<bool> = (0..8).map(|at| crashes.add(at * 1000, 0).begins_loop).collect();
        assert_eq!(begins.iter().filter(|begins| **begins).count(), 1);
        assert!(begins[4]);
    }

    #[test]
    fn slow_crashes_are_no_loop() {
        let mut crashes = Crashes::default();
        assert!((0..50).all(|at| !crashes.add(at * 16_000, 0).begins_loop));
    }
}
