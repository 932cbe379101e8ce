//! A new epoch for a log that goes back: an election that follows its last commit, above all that were ever there, so that
//! servants which have heard of later events believe the next King. See docs/decisions/restored-epoch.md.

use events::event::{Cause, KingElected};
use events::{Actor, Commit, Digest, DomainName, Event, EventNumber, Fact, KingId, Timestamp};
use service::clock;

/// Where the log ends.
#[derive(Clone, Copy, Debug)]
pub struct Last {
    pub event: EventNumber,
    /// When that was decided.
    pub at: Timestamp,
    pub epoch: u64,
    /// How far the inbox is worked off.
    pub inbox: u64,
    /// The hash of the last commit.
    pub hash: Digest,
}

impl Last {
    /// An election in the name of whoever takes the log back. Its epoch is the time in seconds: higher than that of every King
    /// before, who counted on by one from zero or from an earlier one like this.
    pub fn election(&self, actor: &Actor) -> Commit {
        let now = clock::now();
        let epoch = (self.epoch + 1).max(now.0 / 1000);
        let event = Event {
            id: self.event + 1,
            at: Timestamp(now.0.max(self.at.0)),
            actor: actor.clone(),
            cause: Cause::Election,
            domain: DomainName::default_domain(),
            fact: Fact::King(KingElected { king: KingId(clock::fresh_id()), epoch, key: None }.into()),
        };
        Commit { epoch, first: event.id, previous: self.hash, inbox: self.inbox, events: vec![event] }
    }
}
