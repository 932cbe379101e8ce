//! Events about servants.

use crate::disk::{Cleaned, Disk};
use crate::kinds::noun;
use crate::report::RegisterServant;
use crate::{DomainName, ServantId, ServantName};
use serde::{Deserialize, Serialize};

noun! {
    /// Events about servants.
    ServantEvent = "servant" {
        Joined(ServantJoined) = "joined" @ 1,
        Changed(ServantChanged) = "changed" @ 1,
        Lost(ServantLost) = "lost" @ 1,
        Returned(ServantReturned) = "returned" @ 1,
        Removed(ServantRemoved) = "removed" @ 1,
        DiskChanged(ServantDiskChanged) = "disk-changed" @ 1,
        DiskCleaned(ServantDiskCleaned) = "disk-cleaned" @ 1,
    }
}

impl ServantEvent {
    /// The servant it is about.
    pub fn servant(&self) -> ServantId {
        match self {
            Self::Joined(event) => event.facts.servant,
            Self::Changed(event) => event.facts.servant,
            Self::Lost(event) => event.servant,
            Self::Returned(event) => event.servant,
            Self::Removed(event) => event.servant,
            Self::DiskChanged(event) => event.servant,
            Self::DiskCleaned(event) => event.servant,
        }
    }
}

/// A servant is part of the kingdom.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServantJoined {
    pub domain: DomainName,
    pub facts: RegisterServant,
}

/// What a servant says of itself has changed, or its host was started anew.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServantChanged {
    pub domain: DomainName,
    pub facts: RegisterServant,
}

/// Nothing is heard of a servant; what it runs is unknown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServantLost {
    pub servant: ServantId,
    pub name: ServantName,
    pub silent_ms: u64,
}

/// A lost servant is heard again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServantReturned {
    pub servant: ServantId,
    pub name: ServantName,
}

/// A servant is part of the kingdom no more and its name is free.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServantRemoved {
    pub servant: ServantId,
    pub name: ServantName,
}

/// Its disk is fuller or emptier than it was, by a level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServantDiskChanged {
    pub servant: ServantId,
    pub name: ServantName,
    pub disk: Disk,
}

/// It has removed what nobody used, for room or for age.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServantDiskCleaned {
    pub servant: ServantId,
    pub name: ServantName,
    pub cleaned: Cleaned,
}
