//! With the lease: electing, reigning, and giving it away.

use super::{Action, Claim, Hold, Machine, Role, Stored, Then, Will};

impl Machine {
    pub(super) fn renewal(&self, hold: Hold) -> Action {
        match hold {
            Hold::At(revision) => {
                Action::Write { lease: self.lease_of(Some(self.settings.me), self.epoch), revision }
            }
            Hold::Unsure(_) => Action::Read,
        }
    }

    pub(super) fn bequest(&self, hold: Hold, will: Will) -> Action {
        match hold {
            Hold::At(revision) => {
                let epoch = self.epoch + u64::from(will.heir.is_some());
                Action::Write { lease: self.lease_of(will.heir, epoch), revision }
            }
            Hold::Unsure(_) => Action::Read,
        }
    }

    /// The key after a renewal that failed or has no answer.
    pub(super) fn look_at_own(&mut self, found: Option<Stored>, now: u64) -> Vec<Action> {
        match self.revision_to_write_over(found) {
            Some(revision) => self.hold_again(Hold::At(revision), now),
            None => self.bereft(found, now),
        }
    }

    /// The revision of a key that is this King's, or nobody's, or one of an earlier epoch; none when a later King has it.
    fn revision_to_write_over(&self, found: Option<Stored>) -> Option<u64> {
        let Some(Stored { revision, lease }) = found else { return Some(0) };
        let other = lease.holder.is_some_and(|holder| holder != self.settings.me);
        let later = lease.epoch > self.epoch || lease.epoch == self.epoch && other;
        (lease.holder == Some(self.settings.me) || !later).then_some(revision)
    }

    fn hold_again(&mut self, hold: Hold, now: u64) -> Vec<Action> {
        self.ask_at = now;
        self.role = match self.role {
            Role::Electing(..) => Role::Electing(hold, Claim::Held),
            Role::Reigning(_) => Role::Reigning(hold),
            Role::Draining(_, will) => Role::Draining(hold, will),
            Role::Handing(_, will) => Role::Handing(hold, will),
            role @ (Role::Following(_) | Role::Taking { .. } | Role::Ended) => role,
        };
        Vec::new()
    }

    /// A later King has the key.
    fn bereft(&mut self, found: Option<Stored>, now: u64) -> Vec<Action> {
        match self.role {
            // The election may be in the log already: its end is awaited.
            Role::Electing(hold, _) => {
                let claimed = found.map_or(self.epoch, |stored| stored.lease.epoch);
                self.keep(Role::Electing(hold, Claim::Lost(claimed)))
            }
            Role::Reigning(_) | Role::Draining(_, Will { then: Then::Follow, .. }) => {
                self.met_writer = true;
                self.follow(found, now);
                vec![Action::Depose]
            }
            Role::Draining(_, Will { then: Then::End, .. }) => self.end(),
            Role::Handing(hold, will) => self.finish(will, hold.revision(), now),
            Role::Following(_) | Role::Taking { .. } | Role::Ended => Vec::new(),
        }
    }

    pub(super) fn elected(&mut self, epoch: u64, now: u64) -> Vec<Action> {
        match self.role {
            Role::Electing(hold, Claim::Held) => self.reign(hold, epoch, now),
            // Whoever has the key was elected before: its reign is over, though it may not know. Nobody else ends that.
            Role::Electing(hold, Claim::Lost(claimed)) if epoch > claimed => {
                self.reign(Hold::Unsure(hold.revision()), epoch, now)
            }
            Role::Electing(hold, Claim::Lost(_)) => self.give_up(hold, epoch, now),
            Role::Following(_)
            | Role::Taking { .. }
            | Role::Reigning(_)
            | Role::Draining(..)
            | Role::Handing(..)
            | Role::Ended => Vec::new(),
        }
    }

    fn reign(&mut self, hold: Hold, epoch: u64, now: u64) -> Vec<Action> {
        self.epoch = epoch;
        self.met_writer = true;
        self.role = Role::Reigning(hold);
        // The key shows the epoch of the log from now on.
        self.ask_at = now;
        vec![Action::Reign]
    }

    pub(super) fn unelected(&mut self, epoch: u64, now: u64) -> Vec<Action> {
        match self.role {
            // Whoever holds the key tries until it is taken.
            Role::Electing(hold, Claim::Held) => {
                self.epoch = self.epoch.max(epoch);
                self.begin_election(hold)
            }
            Role::Electing(hold, Claim::Lost(_)) => self.give_up(hold, epoch, now),
            Role::Following(_)
            | Role::Taking { .. }
            | Role::Reigning(_)
            | Role::Draining(..)
            | Role::Handing(..)
            | Role::Ended => Vec::new(),
        }
    }

    fn give_up(&mut self, hold: Hold, epoch: u64, now: u64) -> Vec<Action> {
        self.epoch = self.epoch.max(epoch);
        self.met_writer = true;
        self.follow_after(hold.revision(), now);
        self.ask_at = now;
        vec![Action::Follow]
    }

    /// The fence says that another King writes. Should the key be this King's all the same, it is waited for like any.
    pub(super) fn deposed(&mut self, now: u64) -> Vec<Action> {
        match self.role {
            Role::Draining(_, Will { then: Then::End, .. })
            | Role::Handing(_, Will { then: Then::End, .. }) => self.end(),
            Role::Reigning(hold) | Role::Draining(hold, _) | Role::Handing(hold, _) => {
                self.met_writer = true;
                self.follow_after(hold.revision(), now);
                vec![Action::Follow]
            }
            Role::Following(_) | Role::Taking { .. } | Role::Electing(..) | Role::Ended => Vec::new(),
        }
    }

    /// Ends the reign in order.
    pub(super) fn leave(&mut self, will: Will) -> Vec<Action> {
        match self.role {
            Role::Reigning(hold) => {
                self.role = Role::Draining(hold, will);
                vec![Action::Drain]
            }
            Role::Following(_)
            | Role::Taking { .. }
            | Role::Electing(..)
            | Role::Draining(..)
            | Role::Handing(..)
            | Role::Ended => Vec::new(),
        }
    }

    pub(super) fn drained(&mut self, now: u64) -> Vec<Action> {
        if let Role::Draining(hold, will) = self.role {
            // A renewal that is under way is not the gift: its answer says what the gift is written over.
            let hold = if self.asking { Hold::Unsure(hold.revision()) } else { hold };
            self.role = Role::Handing(hold, will);
            (self.ask_at, self.called) = (now, self.asking);
        }
        Vec::new()
    }

    /// The key is its heir's, or nobody's.
    pub(super) fn given(&mut self, will: Will, revision: u64, now: u64) -> Vec<Action> {
        let mut actions: Vec<Action> = will.heir.map(|heir| Action::Call { heir }).into_iter().collect();
        actions.extend(self.finish(will, revision, now));
        actions
    }

    pub(super) fn finish(&mut self, will: Will, revision: u64, now: u64) -> Vec<Action> {
        match will.then {
            Then::End => self.end(),
            Then::Follow => {
                self.follow_after(revision, now);
                vec![Action::Follow]
            }
        }
    }

    pub(super) fn stop(&mut self, heir: Option<events::KingId>) -> Vec<Action> {
        match self.role {
            Role::Reigning(_) => self.leave(Will { heir, then: Then::End }),
            Role::Draining(hold, will) => self.keep(Role::Draining(hold, Will { then: Then::End, ..will })),
            Role::Handing(hold, will) => self.keep(Role::Handing(hold, Will { then: Then::End, ..will })),
            Role::Following(_) | Role::Taking { .. } | Role::Electing(..) => self.end(),
            Role::Ended => Vec::new(),
        }
    }

    fn end(&mut self) -> Vec<Action> {
        self.role = Role::Ended;
        vec![Action::End]
    }
}
