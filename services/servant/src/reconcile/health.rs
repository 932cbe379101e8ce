//! The health of a running process: when to ask next, and what the answers mean.

use super::Moment;
use crate::spec::HealthTarget;

/// The first check after a start, and how the time between checks grows until the first one passes.
const FIRST_CHECK_MS: u64 = 10;
const SLOWEST_START_MS: u64 = 250;
/// Without a port to ask, this long alive is healthy.
pub const ALIVE_MS: u64 = 1000;

/// The health of one run.
#[derive(Clone, Debug)]
pub struct Health {
    target: Option<HealthTarget>,
    started: Moment,
    pub healthy_since: Option<Moment>,
    failures: u32,
    delay_ms: u64,
    /// When to ask next; none while an answer is awaited, or when there is nothing to ask.
    due: Option<Moment>,
}

/// What a check led to.
#[derive(Clone, Debug, PartialEq)]
pub enum Finding {
    Nothing,
    BecameHealthy,
    Unhealthy(String),
}

/// What is due.
#[derive(Clone, Debug, PartialEq)]
pub enum Due {
    Nothing,
    Check(HealthTarget),
    /// It has been alive for long enough.
    Alive,
}

impl Health {
    pub fn new(now: Moment, target: Option<HealthTarget>) -> Self {
        let first = if target.is_some() { FIRST_CHECK_MS } else { ALIVE_MS };
        Self::asked_after(first, now, target)
    }

    /// Where another worker may answer in its place: it must have been alive for a while as well.
    pub fn of_shared(now: Moment, target: Option<HealthTarget>) -> Self {
        Self::asked_after(ALIVE_MS, now, target)
    }

    fn asked_after(first: u64, now: Moment, target: Option<HealthTarget>) -> Self {
        Self {
            target,
            started: now,
            healthy_since: None,
            failures: 0,
            delay_ms: FIRST_CHECK_MS,
            due: Some(now + first),
        }
    }

    pub fn deadline(&self) -> Option<Moment> {
        self.due
    }

    /// How long it has been healthy.
    pub fn healthy_ms(&self, now: Moment) -> u64 {
        self.healthy_since.map_or(0, |since| now.saturating_sub(since))
    }

    pub fn take_due(&mut self, now: Moment) -> Due {
        if self.due.is_none_or(|due| due > now) {
            return Due::Nothing;
        }
        self.due = None;
        self.target.clone().map_or(Due::Alive, Due::Check)
    }

    pub fn passed(&mut self, now: Moment) -> Finding {
        self.failures = 0;
        self.due = self.target.as_ref().map(|target| now + target.check.interval_ms);
        if self.healthy_since.is_some() {
            return Finding::Nothing;
        }
        self.healthy_since = Some(now);
        Finding::BecameHealthy
    }

    pub fn failed(&mut self, now: Moment, reason: String) -> Finding {
        let Some(check) = self.target.as_ref().map(|target| &target.check) else {
            return Finding::Nothing;
        };
        if self.healthy_since.is_some() {
            self.failures += 1;
            if self.failures >= check.failures {
                return Finding::Unhealthy(format!("{} checks in a row failed: {reason}", self.failures));
            }
            self.due = Some(now + check.interval_ms);
            return Finding::Nothing;
        }
        let waited = now.saturating_sub(self.started);
        if waited >= check.grace_ms {
            return Finding::Unhealthy(format!("not healthy {} ms after its start: {reason}", waited));
        }
        self.due = Some((now + self.delay_ms).min(self.started + check.grace_ms).max(now + 1));
        self.delay_ms = (self.delay_ms + self.delay_ms / 2).min(SLOWEST_START_MS);
        Finding::Nothing
    }
}
