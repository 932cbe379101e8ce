//! Without the lease: looking at the key, counting, and trying to take it.

use super::{Action, Claim, Count, Hold, Machine, Role, Stored};

/// How many leases long a key that is gone is waited for: the King that writes makes it anew when it is back.
const ABSENT_LEASES: u64 = 4;

impl Machine {
    /// The first look of a King that has just started: a key that nobody can hold is not waited for.
    pub(super) fn first_look(&mut self, found: Option<Stored>, now: u64) -> Vec<Action> {
        let free = match found.map(|stored| stored.lease.holder) {
            None | Some(None) => true,
            Some(Some(holder)) => holder == self.settings.me || Some(holder) == self.settings.forerunner,
        };
        self.follow(found, now);
        if free {
            self.take(found, now);
        }
        Vec::new()
    }

    pub(super) fn look(&mut self, count: Count, found: Option<Stored>, now: u64) -> Vec<Action> {
        let revision = found.map_or(0, |stored| stored.revision);
        if revision != count.revision {
            return self.news(found, now);
        }
        if now.saturating_sub(count.since) >= count.patience {
            self.take(found, now);
        }
        Vec::new()
    }

    fn news(&mut self, found: Option<Stored>, now: u64) -> Vec<Action> {
        let holder = found.and_then(|stored| stored.lease.holder);
        self.follow(found, now);
        match found {
            // The King before has given it the key, or an earlier write of its own was done after all.
            Some(stored) if holder == Some(self.settings.me) => {
                self.begin_election(Hold::At(stored.revision))
            }
            Some(_) | None => {
                self.met_writer |= holder.is_some();
                Vec::new()
            }
        }
    }

    /// Writes itself into the key next.
    fn take(&mut self, found: Option<Stored>, now: u64) {
        self.role = Role::Taking { revision: found.map_or(0, |stored| stored.revision) };
        self.ask_at = now;
    }

    pub(super) fn begin_election(&mut self, hold: Hold) -> Vec<Action> {
        self.role = Role::Electing(hold, Claim::Held);
        vec![Action::Elect]
    }

    /// Counts from now on how long the key stays as it was found.
    pub(super) fn follow(&mut self, found: Option<Stored>, now: u64) {
        let lease_ms = self.settings.lease_ms;
        let patience = match found.map(|stored| stored.lease.holder) {
            None => ABSENT_LEASES * lease_ms,
            Some(None) => 0,
            Some(Some(_)) => lease_ms,
        };
        let patience = patience + self.jitter();
        self.epoch = self.epoch.max(found.map_or(0, |stored| stored.lease.epoch));
        let revision = found.map_or(0, |stored| stored.revision);
        self.role = Role::Following(Some(Count { revision, since: now, patience }));
    }

    /// Counts from now on how long the key stays at this revision, whoever holds it.
    pub(super) fn follow_after(&mut self, revision: u64, now: u64) {
        self.role = Role::Following(Some(self.count(revision, now)));
    }

    pub(super) fn count(&mut self, revision: u64, now: u64) -> Count {
        let patience = self.settings.lease_ms + self.jitter();
        Count { revision, since: now, patience }
    }

    pub(super) fn count_anew(&mut self, now: u64) {
        if let Role::Following(Some(count)) = &mut self.role {
            count.since = now;
        }
    }
}
