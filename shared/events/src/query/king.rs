//! The Kings of a site, as they say of themselves.

use crate::{EventNumber, KingId, KingName};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A King among the others, as it says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KingPlace {
    pub king: KingId,
    pub name: KingName,
    pub role: KingRole,
    /// The epoch that it has seen in the log.
    pub epoch: u64,
    /// The newest event that it reflects; one that is stopped: that its journal has seen.
    pub event: EventNumber,
    /// The sequence of the newest commit that it reflects, or that its journal has seen.
    pub sequence: u64,
    /// Where it serves HTTP and Git: `127.0.0.1:7480`.
    pub http: String,
    pub version: String,
}

/// What a King does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KingRole {
    /// The log is not what it has seen: it writes nothing, and answers nothing but who it is.
    Stopped,
    /// Reads the log, and has not yet found a King that writes.
    Starting,
    /// Follows the log and answers reads.
    Backup,
    /// Takes over.
    Electing,
    /// Takes commands and writes the log.
    Writer,
}

impl KingRole {
    /// Every role.
    pub const ALL: [Self; 5] = [Self::Stopped, Self::Starting, Self::Backup, Self::Electing, Self::Writer];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Backup => "backup",
            Self::Electing => "electing",
            Self::Writer => "writer",
        }
    }
}

impl fmt::Display for KingRole {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}
