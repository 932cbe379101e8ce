//! Who is silent: a machine that hears beats, knows the domain's list and says what the King should be told.
//!
//! It never says anything twice while the King may still be working on it, calls nobody lost while it could not
//! hear itself, and holds back when most of a domain falls silent at once. Times are milliseconds of a monotonic
//! clock that the shell hands in.

mod brake;
#[cfg(test)]
mod laws;
#[cfg(test)]
mod stories;

pub use brake::Hold;

use brake::Brake;
use events::report::{LoseServant, ReturnServant, ServantNews};
use events::view::{Domain, DomainServant};
use events::{ServantId, ServantName};
use std::collections::BTreeMap;

/// What the machine wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Advice {
    /// Tell the King.
    Report(ServantNews),
    /// Tell the log that reports are held back, and why.
    Held(Hold),
}

/// The machine.
#[derive(Debug)]
pub struct Watch {
    lost_after_ms: u64,
    servants: BTreeMap<ServantId, Heard>,
    brake: Brake,
    /// From when on silence counts; none while this Foreman itself is cut off.
    hearing_since: Option<u64>,
    /// When the machine last ran; a long gap means that beats may lie unheard.
    ran_at: u64,
}

/// What is known of one servant.
#[derive(Debug)]
struct Heard {
    name: ServantName,
    /// The last beat, or when it was first seen in the list.
    at: u64,
    /// What the King's view says.
    lost_in_view: bool,
    /// What the King was told and its view does not show yet.
    said: Option<Said>,
}

#[derive(Clone, Copy, Debug)]
struct Said {
    lost: bool,
    at: u64,
}

impl Heard {
    /// What was told counts more than a view that may be older.
    fn is_lost(&self) -> bool {
        self.said.map_or(self.lost_in_view, |said| said.lost)
    }
}

impl Watch {
    /// A machine that starts to hear now: nobody is called lost before a full period has passed.
    pub fn new(lost_after_ms: u64, now: u64) -> Self {
        Self {
            lost_after_ms,
            servants: BTreeMap::new(),
            brake: Brake::default(),
            hearing_since: Some(now),
            ran_at: now,
        }
    }

    /// The name of a servant of the domain.
    pub fn name(&self, servant: ServantId) -> Option<&ServantName> {
        self.servants.get(&servant).map(|heard| &heard.name)
    }

    /// A servant was heard. One that is not in the list yet is not counted.
    pub fn beat(&mut self, servant: ServantId, now: u64) -> Vec<Advice> {
        let Some(heard) = self.servants.get_mut(&servant) else { return Vec::new() };
        heard.at = heard.at.max(now);
        if !heard.is_lost() {
            return Vec::new();
        }
        heard.said = Some(Said { lost: false, at: now });
        vec![Advice::Report(ReturnServant { servant }.into())]
    }

    /// The King's list of the domain, newest.
    pub fn view(&mut self, domain: &Domain, now: u64) {
        self.servants.retain(|id, _| domain.servants.iter().any(|listed| listed.servant == *id));
        for listed in &domain.servants {
            self.list(listed, now);
        }
    }

    fn list(&mut self, listed: &DomainServant, now: u64) {
        let heard = self.servants.entry(listed.servant).or_insert_with(|| Heard {
            name: listed.name.clone(),
            at: now,
            lost_in_view: listed.lost,
            said: None,
        });
        heard.name = listed.name.clone();
        heard.lost_in_view = listed.lost;
        if heard.said.is_some_and(|said| said.lost == listed.lost) {
            heard.said = None;
        }
    }

    /// The bus is gone: nobody's silence counts.
    pub fn disconnected(&mut self) {
        self.hearing_since = None;
    }

    /// The bus is back: everybody gets a full period from here.
    pub fn connected(&mut self, now: u64) {
        self.hearing_since.get_or_insert(now);
    }

    /// What was said did not arrive, or was refused: it may be said again at once.
    pub fn unsaid(&mut self, servant: ServantId) {
        if let Some(heard) = self.servants.get_mut(&servant) {
            heard.said = None;
        }
    }

    /// Time has passed.
    pub fn tick(&mut self, now: u64) -> Vec<Advice> {
        let gap = now.saturating_sub(self.ran_at);
        self.ran_at = self.ran_at.max(now);
        if gap >= self.lost_after_ms / 2 {
            self.hearing_since = self.hearing_since.map(|_| now);
        }
        self.forget_old_sayings(now);
        match self.hearing_since {
            Some(since) => self.judge(since, now),
            None => Vec::new(),
        }
    }

    /// The King's view never showed what it was told: it shall be told again.
    fn forget_old_sayings(&mut self, now: u64) {
        for heard in self.servants.values_mut() {
            if heard.said.is_some_and(|said| now.saturating_sub(said.at) >= self.lost_after_ms) {
                heard.said = None;
            }
        }
    }

    fn judge(&mut self, since: u64, now: u64) -> Vec<Advice> {
        let silence = |heard: &Heard| now.saturating_sub(heard.at.max(since));
        let alive: Vec<_> = self.servants.values().filter(|heard| !heard.is_lost()).collect();
        // Beats of a second spread the silences of one moment: two thirds of the period already counts.
        let suspects = alive.iter().filter(|heard| 3 * silence(heard) >= 2 * self.lost_after_ms).count();
        let alive = alive.len();
        if let Some(hold) = self.brake.press(suspects, alive, self.lost_after_ms, now) {
            return vec![Advice::Held(hold)];
        }
        if self.brake.holds(now) {
            return Vec::new();
        }
        let mut advice = Vec::new();
        for (servant, heard) in &mut self.servants {
            let silent_ms = silence(heard);
            if !heard.is_lost() && silent_ms >= self.lost_after_ms {
                heard.said = Some(Said { lost: true, at: now });
                advice.push(Advice::Report(LoseServant { servant: *servant, silent_ms }.into()));
            }
        }
        advice
    }
}
