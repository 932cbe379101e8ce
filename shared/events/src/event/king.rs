//! Events about Kings.

use crate::kinds::noun;
use crate::{Checkpoint, KingId, KingKey};
use serde::{Deserialize, Serialize};

noun! {
    /// Events about Kings.
    KingEvent = "king" {
        Elected(KingElected) = "elected" @ 2 <- 1 KingElected1,
        Checkpointed(KingCheckpointed) = "checkpointed" @ 1,
    }
}

impl KingEvent {
    /// The King it is about.
    pub fn king(&self) -> KingId {
        match self {
            Self::Elected(event) => event.king,
            Self::Checkpointed(event) => event.king,
        }
    }
}

/// This King writes from now on. That it could append this proves that it had read everything before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KingElected {
    pub king: KingId,
    /// Higher than every epoch before.
    pub epoch: u64,
    /// The key of its signatures: trusted from here on.
    pub key: Option<KingKey>,
}

/// How an election was stored before Kings had keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KingElected1 {
    pub king: KingId,
    pub epoch: u64,
}

impl From<KingElected1> for KingElected {
    fn from(old: KingElected1) -> Self {
        Self { king: old.king, epoch: old.epoch, key: None }
    }
}

/// This King has signed what the log was, up to an earlier commit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KingCheckpointed {
    pub king: KingId,
    pub checkpoint: Box<Checkpoint>,
}
