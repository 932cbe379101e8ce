//! Who tries to write, and when a King changes its role: observations and the time in, actions out.
//!
//! Times are milliseconds of a monotonic clock that the shell hands in; the clocks of two Kings are never compared. A
//! backup counts how long the revision of the key has stood still since it saw it change, and the count starts anew
//! whenever it could not look. Past the length of the lease it writes itself into the key, by compare-and-set, and the
//! winner appends its election. `backup` holds what a King without the lease does, `holder` what one with it does.

mod backup;
mod holder;
#[cfg(test)]
mod tests;

use super::value::{Lease, Stored};
use events::KingId;
use events::query::KingRole;

/// The part of a lease after which it is renewed.
const RENEW: u64 = 4;
/// The part of a lease after which a backup looks at it again.
const LOOK: u64 = 8;

/// What a machine is made with.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub me: KingId,
    /// The King that used this data folder before, and surely is no more: its lease is not waited for.
    pub forerunner: Option<KingId>,
    /// How long a lease lasts, in milliseconds.
    pub lease_ms: u64,
    /// Random bits: backups that wait for the same thing do not try at once.
    pub seed: u64,
}

/// What was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observation {
    /// Only time has passed.
    Time,
    /// The answer to [`Action::Read`]: the key as it is, none when it is not there.
    Read(Option<Stored>),
    /// An answer to [`Action::Write`]: it is written, under this revision.
    Written { revision: u64 },
    /// An answer to [`Action::Write`]: the key was at another revision.
    Overtaken,
    /// An answer to either: there was none in time, or a refusal for now, or the connection was cut. A write may have
    /// been done.
    Unreachable,
    /// The log shows an election of this epoch.
    Followed { epoch: u64 },
    /// The answer to [`Action::Elect`]: the election is in the log.
    Elected { epoch: u64 },
    /// The answer to [`Action::Elect`]: another King was elected meanwhile, in this epoch.
    Unelected { epoch: u64 },
    /// Another King has written; the reign is over already, and the log is followed again.
    Deposed,
    /// This backup is ready to follow: hand over to it.
    Transfer { heir: KingId },
    /// The answer to [`Action::Drain`]: nothing is taken any more, and all that was is answered.
    Drained,
    /// The King before says that the lease is this King's.
    Called,
    /// The process shall end; with the backup that is ready to follow, if one is.
    Stop { heir: Option<KingId> },
}

/// What shall be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Read the key. At most one read or write is under way.
    Read,
    /// Write the key if it is at this revision; 0 when it must not be there.
    Write { lease: Lease, revision: u64 },
    /// Fold the log to its end and append the election.
    Elect,
    /// Take commands and reports, write views and public events.
    Reign,
    /// Take no more; let what is in flight land and be answered.
    Drain,
    /// Stop all effects at once, throw away what is not stored, and follow the log as a backup.
    Depose,
    /// Follow the log as a backup: the reign has ended by itself, or never began.
    Follow,
    /// Tell this King that the lease is its own.
    Call { heir: KingId },
    /// End the process.
    End,
}

/// The machine.
#[derive(Clone, Debug)]
pub struct Machine {
    settings: Settings,
    random: u64,
    role: Role,
    /// The newest epoch that is known, from the log or the key.
    epoch: u64,
    /// Whether a King that writes was ever noticed.
    met_writer: bool,
    /// Whether a read or a write is under way.
    asking: bool,
    /// Whether something came up while an answer was awaited that wants the next question at once.
    called: bool,
    /// When to read or write next.
    ask_at: u64,
    /// When the machine last ran.
    ran_at: u64,
}

#[derive(Clone, Copy, Debug)]
enum Role {
    /// Follows the log and looks at the key; no count before the first look.
    Following(Option<Count>),
    /// Writes itself into the key.
    Taking {
        revision: u64,
    },
    /// Holds the key, and appends its election.
    Electing(Hold, Claim),
    Reigning(Hold),
    /// Takes no more; the key stays held until all that was taken is answered.
    Draining(Hold, Will),
    /// Drained: gives the key away.
    Handing(Hold, Will),
    Ended,
}

/// For how long the key has stood still.
#[derive(Clone, Copy, Debug)]
struct Count {
    /// 0 for a key that is not there.
    revision: u64,
    since: u64,
    patience: u64,
}

/// The key as this King holds it.
#[derive(Clone, Copy, Debug)]
enum Hold {
    At(u64),
    /// It may have been written, or another's: it is read before it is written.
    Unsure(u64),
}

/// Whether the key is still held while the election is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claim {
    Held,
    /// To a King that claims this epoch.
    Lost(u64),
}

/// What comes after the reign.
#[derive(Clone, Copy, Debug)]
struct Will {
    heir: Option<KingId>,
    then: Then,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Follow,
    End,
}

impl Hold {
    fn revision(self) -> u64 {
        match self {
            Self::At(revision) | Self::Unsure(revision) => revision,
        }
    }
}

impl Machine {
    /// A machine that follows the log and knows nothing of other Kings yet. `epoch` is the newest of the log.
    pub fn new(settings: Settings, epoch: u64, now: u64) -> Self {
        Self {
            settings: Settings { lease_ms: settings.lease_ms.max(LOOK), ..settings },
            random: settings.seed,
            role: Role::Following(None),
            epoch,
            met_writer: false,
            asking: false,
            called: false,
            ask_at: now,
            ran_at: now,
        }
    }

    /// What this King does, as it tells others.
    pub fn role(&self) -> KingRole {
        match self.role {
            Role::Following(_) | Role::Taking { .. } if self.met_writer => KingRole::Backup,
            Role::Following(_) | Role::Taking { .. } | Role::Ended => KingRole::Starting,
            Role::Electing(..) => KingRole::Electing,
            Role::Reigning(_) | Role::Draining(..) | Role::Handing(..) => KingRole::Writer,
        }
    }

    /// Whether it writes and may be asked to hand over.
    pub fn may_hand_over(&self) -> bool {
        matches!(self.role, Role::Reigning(_))
    }

    /// When to come back with [`Observation::Time`] if nothing is seen before; none while an answer is awaited.
    pub fn wakes_at(&self) -> Option<u64> {
        (!self.asking && self.has_to_ask()).then_some(self.ask_at)
    }

    /// Takes one observation and says what to do, in this order.
    pub fn observe(&mut self, observation: Observation, now: u64) -> Vec<Action> {
        // A process that did not run did not look either.
        if now.saturating_sub(self.ran_at) >= self.settings.lease_ms / 2 {
            self.count_anew(now);
        }
        self.ran_at = self.ran_at.max(now);
        let mut actions = self.consider(observation, now);
        actions.extend(self.ask(now));
        actions
    }

    fn consider(&mut self, observation: Observation, now: u64) -> Vec<Action> {
        match observation {
            Observation::Time => Vec::new(),
            Observation::Read(found) => self.answered(now, |machine| machine.read(found, now)),
            Observation::Written { revision } => self.answered(now, |machine| machine.written(revision, now)),
            Observation::Overtaken => self.answered(now, |machine| machine.overtaken(now)),
            Observation::Unreachable => self.answered(now, |machine| machine.unreachable(now)),
            Observation::Followed { epoch } => {
                self.epoch = self.epoch.max(epoch);
                Vec::new()
            }
            Observation::Elected { epoch } => self.elected(epoch, now),
            Observation::Unelected { epoch } => self.unelected(epoch, now),
            Observation::Deposed => self.deposed(now),
            Observation::Transfer { heir } => self.leave(Will { heir: Some(heir), then: Then::Follow }),
            Observation::Drained => self.drained(now),
            Observation::Called => {
                self.called = self.asking;
                self.ask_at = now;
                Vec::new()
            }
            Observation::Stop { heir } => self.stop(heir),
        }
    }

    /// The bucket has answered: what it says may set another time for the next question.
    fn answered(&mut self, now: u64, take: impl FnOnce(&mut Self) -> Vec<Action>) -> Vec<Action> {
        self.asking = false;
        self.ask_at = if std::mem::take(&mut self.called) { now } else { now + self.pace() };
        take(self)
    }

    /// How long between two looks, or two renewals.
    fn pace(&self) -> u64 {
        match self.role {
            Role::Following(_) | Role::Taking { .. } | Role::Ended => self.settings.lease_ms / LOOK,
            Role::Electing(..) | Role::Reigning(_) | Role::Draining(..) | Role::Handing(..) => {
                self.settings.lease_ms / RENEW
            }
        }
    }

    fn has_to_ask(&self) -> bool {
        match self.role {
            Role::Electing(_, Claim::Lost(_)) | Role::Ended => false,
            Role::Following(_)
            | Role::Taking { .. }
            | Role::Electing(_, Claim::Held)
            | Role::Reigning(_)
            | Role::Draining(..)
            | Role::Handing(..) => true,
        }
    }

    /// What to ask the bucket for, when it is time.
    fn ask(&mut self, now: u64) -> Option<Action> {
        if self.asking || now < self.ask_at || !self.has_to_ask() {
            return None;
        }
        self.asking = true;
        Some(match self.role {
            Role::Following(_) | Role::Ended => Action::Read,
            Role::Taking { revision } => {
                Action::Write { lease: self.lease_of(Some(self.settings.me), self.epoch + 1), revision }
            }
            Role::Electing(hold, _) | Role::Reigning(hold) | Role::Draining(hold, _) => self.renewal(hold),
            Role::Handing(hold, will) => self.bequest(hold, will),
        })
    }

    fn lease_of(&self, holder: Option<KingId>, epoch: u64) -> Lease {
        Lease { holder, epoch }
    }

    fn read(&mut self, found: Option<Stored>, now: u64) -> Vec<Action> {
        match self.role {
            Role::Following(None) => self.first_look(found, now),
            Role::Following(Some(count)) => self.look(count, found, now),
            Role::Taking { .. } | Role::Ended => Vec::new(),
            Role::Electing(..) | Role::Reigning(_) | Role::Draining(..) | Role::Handing(..) => {
                self.look_at_own(found, now)
            }
        }
    }

    fn written(&mut self, revision: u64, now: u64) -> Vec<Action> {
        let hold = Hold::At(revision);
        match self.role {
            // A renewal of a reign that is over: nobody has renewed it since.
            Role::Following(_) => {
                self.follow_after(revision, now);
                Vec::new()
            }
            Role::Taking { .. } => {
                self.epoch += 1;
                self.begin_election(hold)
            }
            Role::Electing(_, claim) => self.keep(Role::Electing(hold, claim)),
            Role::Reigning(_) => self.keep(Role::Reigning(hold)),
            Role::Draining(_, will) => self.keep(Role::Draining(hold, will)),
            // Only a key that is surely held is given away: this was the last renewal.
            Role::Handing(Hold::Unsure(_), will) => self.keep(Role::Handing(hold, will)),
            Role::Handing(Hold::At(_), will) => self.given(will, revision, now),
            Role::Ended => Vec::new(),
        }
    }

    fn keep(&mut self, role: Role) -> Vec<Action> {
        self.role = role;
        Vec::new()
    }

    /// The key is at another revision than was thought: it is read at once.
    fn overtaken(&mut self, now: u64) -> Vec<Action> {
        self.doubt(now);
        self.ask_at = now;
        Vec::new()
    }

    fn unreachable(&mut self, now: u64) -> Vec<Action> {
        match self.role {
            Role::Handing(hold, will) => self.finish(will, hold.revision(), now),
            Role::Following(_)
            | Role::Taking { .. }
            | Role::Electing(..)
            | Role::Reigning(_)
            | Role::Draining(..)
            | Role::Ended => {
                self.doubt(now);
                Vec::new()
            }
        }
    }

    /// What is known of the key may be wrong.
    fn doubt(&mut self, now: u64) {
        let unsure = |hold: Hold| Hold::Unsure(hold.revision());
        self.role = match self.role {
            Role::Following(count) => Role::Following(count.map(|count| Count { since: now, ..count })),
            Role::Taking { revision } => Role::Following(Some(self.count(revision, now))),
            Role::Electing(hold, claim) => Role::Electing(unsure(hold), claim),
            Role::Reigning(hold) => Role::Reigning(unsure(hold)),
            Role::Draining(hold, will) => Role::Draining(unsure(hold), will),
            Role::Handing(hold, will) => Role::Handing(unsure(hold), will),
            Role::Ended => Role::Ended,
        };
    }

    /// Up to an eighth of a lease, drawn anew each time (SplitMix64).
    fn jitter(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % (self.settings.lease_ms / LOOK)
    }
}
