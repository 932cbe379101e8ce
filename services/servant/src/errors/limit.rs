//! Which errors of an instance are told: a few at once, then one a minute; of equal ones one in ten minutes, with the
//! count of the others. What is left out is told by a number later, never lost.

use super::Alarm;
use events::Timestamp;
use std::collections::HashMap;

/// Errors that may be told at once.
const BUCKET: u32 = 5;
/// How often one more may be told, in milliseconds.
const REFILL_MS: u64 = 60_000;
/// How long equal errors are only counted after one was told, in milliseconds.
pub const AGAIN_MS: u64 = 600_000;
/// Most kinds of errors that are counted by themselves.
const KINDS: usize = 64;

#[derive(Debug)]
pub struct Limit {
    tokens: u32,
    refilled: Option<Timestamp>,
    kinds: HashMap<u64, Kind>,
    /// Errors of kinds for which there was no room.
    others: u64,
}

/// Errors that are equal but for numbers.
#[derive(Debug, Default)]
struct Kind {
    told: Option<Timestamp>,
    /// The last that was not told, and how many came before it.
    waiting: Option<Alarm>,
}

impl Limit {
    pub fn new() -> Self {
        Self { tokens: BUCKET, refilled: None, kinds: HashMap::new(), others: 0 }
    }

    /// Takes an error; gives it back if it is to be told now.
    pub fn offer(&mut self, alarm: Alarm, now: Timestamp) -> Option<Alarm> {
        self.refill(now);
        if !self.has_room(alarm.fingerprint) {
            self.others += 1 + alarm.repeats;
            return None;
        }
        let kind = self.kinds.entry(alarm.fingerprint).or_default();
        let before = kind.waiting.take().map_or(0, |waiting| waiting.repeats + 1);
        let alarm = Alarm { repeats: alarm.repeats + before, ..alarm };
        if kind.is_due(now) && self.tokens > 0 {
            return Some(self.tell(alarm, now));
        }
        kind.waiting = Some(alarm);
        None
    }

    /// An error that was counted before and is to be told now.
    pub fn due(&mut self, now: Timestamp) -> Option<Alarm> {
        self.refill(now);
        if self.tokens == 0 {
            return None;
        }
        let due = self.kinds.values_mut().find(|kind| kind.waiting.is_some() && kind.is_due(now))?;
        let alarm = due.waiting.take()?;
        Some(self.tell(alarm, now))
    }

    /// Whether anything was counted and not told yet.
    pub fn has_waiting(&self) -> bool {
        self.kinds.values().any(|kind| kind.waiting.is_some())
    }

    fn tell(&mut self, alarm: Alarm, now: Timestamp) -> Alarm {
        self.tokens -= 1;
        if let Some(kind) = self.kinds.get_mut(&alarm.fingerprint) {
            kind.told = Some(now);
        }
        Alarm { others: std::mem::take(&mut self.others), ..alarm }
    }

    fn refill(&mut self, now: Timestamp) {
        let since = *self.refilled.get_or_insert(now);
        let more = now.since(since) / REFILL_MS;
        if more > 0 || now < since {
            self.tokens = self.tokens.saturating_add(u32::try_from(more).unwrap_or(BUCKET)).min(BUCKET);
            self.refilled = Some(Timestamp((since.0 + more * REFILL_MS).min(now.0)));
        }
    }

    /// Makes room for a kind, if need be by forgetting one that has nothing to tell.
    fn has_room(&mut self, fingerprint: u64) -> bool {
        if self.kinds.len() < KINDS || self.kinds.contains_key(&fingerprint) {
            return true;
        }
        let idle = self.kinds.iter().filter(|(_, kind)| kind.waiting.is_none());
        let oldest = idle.min_by_key(|(_, kind)| kind.told).map(|(fingerprint, _)| *fingerprint);
        oldest.is_some_and(|oldest| self.kinds.remove(&oldest).is_some())
    }
}

impl Kind {
    fn is_due(&self, now: Timestamp) -> bool {
        // A clock that was set back must not silence an error for long.
        self.told.is_none_or(|told| now < told || now.since(told) >= AGAIN_MS)
    }
}
