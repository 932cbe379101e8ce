//! The phases in the life of one process of an instance: see [`super::instance`].

use super::health::Health;
use super::input::Moment;
use crate::holder::words::Exit;

/// What a process does, or what it waits for.
pub enum Phase {
    /// For its release, then to be started.
    Waiting,
    /// A start was asked for; with what is no longer wanted if it has changed meanwhile.
    Starting {
        is_outdated: bool,
    },
    Running(Health),
    /// It was told to end.
    Ending {
        then: Then,
        kill_at: Moment,
    },
    /// It will be started then.
    Backoff(Moment),
    /// A stranger has its port: it waits for others, and tries again then.
    PortTaken(Moment),
    /// Given up, or ended for good.
    Resting(Rest),
    /// Nothing runs; its holder is let go.
    Leaving,
}

/// Why nothing runs, and nothing will.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// It has done what it was for.
    Done,
    GivenUp,
}

impl Rest {
    pub fn after(exit: &Exit) -> Self {
        if exit.code == Some(0) { Self::Done } else { Self::GivenUp }
    }
}

/// What comes when it has ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Then {
    Leave,
    /// With what has changed.
    Again,
    /// It was unhealthy: that counts as a crash.
    Crash {
        healthy_ms: u64,
    },
    Pause,
}
