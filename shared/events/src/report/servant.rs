//! Reports about servants.

use crate::disk::{Cleaned, Disk};
use crate::kinds::noun;
use crate::{Labels, ServantId, ServantName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

noun! {
    /// Reports about servants.
    ServantNews = "servant" {
        Register(RegisterServant) = "register" @ 1,
        /// By a Foreman: no heartbeat for the time that it allows.
        Lose(LoseServant) = "lose" @ 1,
        /// By a Foreman: a lost servant beats again.
        Return(ReturnServant) = "return" @ 1,
        MeasureDisk(MeasureDisk) = "measure-disk" @ 1,
        CleanDisk(CleanDisk) = "clean-disk" @ 1,
    }
}

/// The capability of a servant that runs arbitrary commands; it has no version.
pub const EXEC_CAPABILITY: &str = "exec";

/// A servant says that it is there and what it can do; sent at each start and when something of it changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegisterServant {
    pub servant: ServantId,
    pub name: ServantName,
    /// Tools with their versions: `node` → `20.20.2`; empty when the version is not known.
    pub capabilities: BTreeMap<String, String>,
    /// The ports that the King may give out here.
    pub ports: PortRange,
    /// Processor threads of the host.
    pub cpus: u32,
    /// Memory of the host, in bytes.
    pub memory_bytes: u64,
    /// The kernel's boot id: a new one means that nothing of before runs.
    pub boot: String,
    /// What an administrator says of it: selectors choose by that.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
}

/// A range of TCP ports, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRange {
    pub first: u16,
    pub last: u16,
}

impl PortRange {
    /// The range of a servant that is told nothing else.
    pub const DEFAULT: Self = Self { first: 20_000, last: 24_999 };

    /// Whether a port lies in the range.
    pub fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

/// No heartbeat came for too long.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoseServant {
    pub servant: ServantId,
    /// How long it has been silent, in milliseconds.
    pub silent_ms: u64,
}

/// A lost servant beats again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReturnServant {
    pub servant: ServantId,
}

/// How full its disk is; said when that becomes another level, and after each start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeasureDisk {
    pub servant: ServantId,
    pub disk: Disk,
}

/// What it has removed to keep its disk from filling.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CleanDisk {
    pub servant: ServantId,
    pub cleaned: Cleaned,
}
