//! What Kings say to each other when one hands over to another, and how they are asked to.
//!
//! Nothing here decides who writes: the fence of the log does.

use crate::{KingId, KingName, Refusal};
use serde::{Deserialize, Serialize};

/// What the King that writes says to the backup that shall follow it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PeerMessage {
    /// Hear commands and reports from now on, and keep them.
    Prepare { from: KingId },
    /// The lease is yours: write. These messages, by their marks, were taken by the King before and are not yours.
    Succeed { from: KingId, taken: Vec<u64> },
}

/// What the backup answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PeerAnswer {
    /// It was done; the newest commit that the backup reflects.
    Done { sequence: u64 },
    /// It was not done, and why.
    Unable { reason: String },
}

/// Asks the King that writes to hand over. An empty payload asks it to choose.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transfer {
    /// The id or the name of the King that shall write; the one that is furthest when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transferred {
    /// Another King writes.
    Ok { king: KingId, name: KingName, epoch: u64 },
    /// Everything is as it was.
    Refused(Refusal),
}
