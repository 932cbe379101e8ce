//! A servant: what it said of itself, and what was given out on it.

use events::disk::{Disk, DiskLevel};
use events::report::RegisterServant;
use events::{DomainName, InstanceId, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A servant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Servant {
    pub domain: DomainName,
    pub facts: RegisterServant,
    /// Nothing is heard of it.
    pub lost: bool,
    /// Since when it is lost or not.
    pub since: Timestamp,
    /// Its instances, those told to stop included.
    pub instances: BTreeSet<InstanceId>,
    /// The ports given out, kept until their instance is gone.
    pub ports: BTreeMap<u16, InstanceId>,
    /// Ports of its range that strangers hold.
    pub taken: BTreeSet<u16>,
    /// Where the search for a free port goes on, so that a port just freed is not given out again at once.
    pub next_port: u16,
    /// How full its disk is, once it was too full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<Disk>,
}

impl Servant {
    /// How full its disk is, when it is too full for anything new.
    pub fn full_disk(&self) -> Option<Disk> {
        self.disk.filter(|disk| disk.level == DiskLevel::Critical)
    }

    /// Whether a port can be given out.
    pub fn is_free(&self, port: u16) -> bool {
        self.facts.ports.contains(port) && !self.ports.contains_key(&port) && !self.taken.contains(&port)
    }
}
