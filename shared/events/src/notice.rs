//! Notices: what a King must tell when it cannot write it into the log, because the log itself is what is wrong.

use crate::{KingId, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Something is wrong with the log, or is so no more. Sent again and again as long as it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// The same for the same trouble on every King and at every repetition.
    pub id: Uuid,
    /// The King that noticed it.
    pub king: KingId,
    /// When it noticed it.
    pub at: Timestamp,
    pub standing: Standing,
    /// What is wrong, in one sentence.
    pub finding: String,
    /// The first sequence of the log that cannot be trusted; 0 when all of it can, and only a copy of it is missing.
    pub sequence: u64,
}

/// Whether a trouble still stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    Standing,
    Over,
}
