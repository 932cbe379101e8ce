//! The connection of a node to the server, and the life of its process.

use super::{MS, Micros};
use crate::random::Random;

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Up,
    Down,
}

/// What a connection does to what passes, in thousandths and microseconds, until a time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    pub until: Micros,
    pub lost: u64,
    pub copied: u64,
    pub late: u64,
    pub delay: Micros,
}

/// A connection.
#[derive(Clone, Debug, Default)]
pub struct Link {
    pub is_up: bool,
    /// Counts the lives of the process.
    pub life: u32,
    pub is_connected: bool,
    /// Counts the connections.
    pub epoch: u32,
    pub patterns: Vec<String>,
    pub paused_until: Micros,
    pub weather: Weather,
    blocked: [Micros; 2],
    last: [Micros; 2],
}

impl Link {
    /// When a packet arrives: never, once or twice.
    pub fn passage(
        &mut self,
        random: &mut Random,
        now: Micros,
        direction: Direction,
        can_be_lost: bool,
    ) -> Vec<Micros> {
        let way = direction as usize;
        let weather = if now < self.weather.until { self.weather } else { Weather::default() };
        if can_be_lost && random.chance(weather.lost) {
            return Vec::new();
        }
        let mut delay = random.between(80, 400);
        if random.chance(weather.late) {
            delay += random.below(weather.delay);
        }
        let mut when = (now + delay).max(self.last[way] + 1);
        if now < self.blocked[way] {
            // What waits is passed when the way is free again, or lost with the connection.
            when = when.max(self.blocked[way] + delay);
        }
        self.last[way] = when;
        if can_be_lost && random.chance(weather.copied) {
            return vec![when, when + random.between(1, 20 * MS)];
        }
        vec![when]
    }

    /// Whether what was sent on a connection still counts at the server.
    pub fn is_heard(&self, epoch: u32) -> bool {
        // What left a dying process is on its way all the same; what left on a cut connection is lost.
        self.epoch == epoch
    }

    pub fn is_paused(&self, now: Micros) -> bool {
        now < self.paused_until
    }

    pub fn is_blocked(&self, now: Micros) -> bool {
        self.blocked.iter().any(|until| now < *until)
    }

    pub fn block(&mut self, direction: Direction, until: Micros) {
        self.blocked[direction as usize] = until;
    }

    /// A new connection; what shall be subscribed on it.
    pub fn connect(&mut self) -> Vec<String> {
        self.is_connected = true;
        self.epoch += 1;
        self.last = [0; 2];
        self.patterns.clone()
    }

    pub fn boot(&mut self) {
        self.is_up = true;
        self.life += 1;
        self.patterns.clear();
    }

    pub fn die(&mut self) {
        self.is_up = false;
        self.is_connected = false;
        self.paused_until = 0;
        self.patterns.clear();
    }

    /// The other side is gone: what is on its way is lost.
    pub fn end_of_server(&mut self) {
        self.epoch += 1;
    }

    pub fn heal(&mut self) {
        self.weather = Weather::default();
        self.blocked = [0; 2];
        self.paused_until = 0;
    }
}
