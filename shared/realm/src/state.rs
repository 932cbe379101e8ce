//! The state: the fold of the events. Only `apply` changes it.

mod chunked;
mod marks;
pub mod app;
pub mod config;
pub mod instance;
pub mod servant;
pub mod outcome;
pub mod exec;

pub use app::{App, HeldImage, PublishedVersion, Release, Tally};
pub use config::{Config, Scope, Setting};
pub use exec::{Exec, ExecRun, Execs};
pub use instance::Instance;
pub use outcome::{Outcomes, StoredOutcome};
pub use servant::Servant;

use events::{AppName, Digest, EventNumber, InstanceId, KingId, KingKey, ServantId, ServantName, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io::BufWriter;
use uuid::Uuid;

/// Everything that is true, as of [`State::last`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The number of the newest event; 0 before the first.
    pub last: EventNumber,
    /// When the newest event was decided: no later event is older, whatever the clock of a King says.
    pub at: Timestamp,
    /// The epoch of the King that writes.
    pub epoch: u64,
    /// The King that writes.
    pub king: Option<KingId>,
    /// When it was elected; none before the first election.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elected_at: Option<Timestamp>,
    /// Up to which sequence the inbox is worked off.
    pub inbox: u64,
    pub apps: BTreeMap<AppName, App>,
    /// Apps that are not yet as they shall be: ticks look at them again.
    pub unsettled: BTreeSet<AppName>,
    pub config: Config,
    pub servants: BTreeMap<ServantId, Servant>,
    pub servant_names: BTreeMap<ServantName, ServantId>,
    pub instances: BTreeMap<InstanceId, Instance>,
    pub outcomes: Outcomes,
    /// The epoch and number of the last report of each sender that led to an event.
    pub senders: BTreeMap<Uuid, (u64, u64)>,
    /// Mails that are planned and neither sent nor given up.
    pub mails: BTreeMap<Uuid, PlannedMail>,
    /// The keys of all Kings that were elected: what they signed is trusted.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub keys: BTreeSet<KingKey>,
    /// Up to which event a King has signed the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<EventNumber>,
    /// Runs of commands on servants that go on, and the newest of those that have ended.
    #[serde(default, skip_serializing_if = "Execs::is_empty")]
    pub execs: Execs,
}

/// A mail that is planned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedMail {
    pub incident: String,
    pub subject: String,
    pub at: Timestamp,
}

/// So many bytes of a state are hashed at once.
const HASHED_AT_ONCE: usize = 64 * 1024;

impl State {
    /// BLAKE3 over the whole state: equal on every King that has applied the same commits.
    pub fn hash(&self) -> Digest {
        const INFALLIBLE: &str = "the state encodes, and hashing cannot fail";
        // It encodes in tiny pieces, and hashing is many times faster in large ones.
        let mut hasher = BufWriter::with_capacity(HASHED_AT_ONCE, blake3::Hasher::new());
        rmp_serde::encode::write_named(&mut hasher, self).expect(INFALLIBLE);
        let hasher = hasher.into_inner().expect(INFALLIBLE);
        Digest::from_bytes(*hasher.finalize().as_bytes())
    }

    /// The instances of an app, in the order of their ids (which is the order of their making).
    pub fn instances_of<'a>(&'a self, app: &'a App) -> impl Iterator<Item = (InstanceId, &'a Instance)> {
        app.instances.iter().filter_map(|id| self.instances.get(id).map(|instance| (*id, instance)))
    }

    /// The servant of that name.
    pub fn servant_named(&self, name: &ServantName) -> Option<(ServantId, &Servant)> {
        let id = self.servant_names.get(name)?;
        self.servants.get(id).map(|servant| (*id, servant))
    }

    /// Whether an instance does what it is there for, as far as can be known: its work is done, or it is well on a servant
    /// that is heard.
    pub fn serves(&self, instance: &Instance) -> bool {
        instance.is_well() && (instance.is_finished() || !self.is_lost(instance.servant))
    }

    /// Whether a servant is lost, or not known at all.
    pub fn is_lost(&self, servant: ServantId) -> bool {
        self.servants.get(&servant).is_none_or(|servant| servant.lost)
    }
}
