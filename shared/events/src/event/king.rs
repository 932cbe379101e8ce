//! Events about Kings.

use crate::KingId;
use crate::kinds::noun;
use serde::{Deserialize, Serialize};

noun! {
    /// Events about Kings.
    KingEvent = "king" {
        Elected(KingElected) = "elected" @ 1,
    }
}

impl KingEvent {
    /// The King it is about.
    pub fn king(&self) -> KingId {
        match self {
            Self::Elected(event) => event.king,
        }
    }
}

/// This King writes from now on. That it could append this proves that it had read everything before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KingElected {
    pub king: KingId,
    /// Higher than every epoch before.
    pub epoch: u64,
}
