//! Commands that a King gives itself.

use crate::kinds::noun;
use crate::{Checkpoint, KingId};
use serde::{Deserialize, Serialize};

noun! {
    /// Commands about Kings.
    KingCommand = "king" {
        Checkpoint(RecordCheckpoint) = "checkpoint" @ 1,
    }
}

/// Records what a King has signed. Anybody may hand it in: it is taken only with the signature of a King that was elected.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordCheckpoint {
    /// The King that signed.
    pub king: KingId,
    pub checkpoint: Checkpoint,
}
