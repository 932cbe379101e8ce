//! Reports about runs of arbitrary commands, by the servant that ran them.

use crate::ExecId;
use crate::exec::ExecOutcome;
use crate::kinds::noun;
use serde::{Deserialize, Serialize};

noun! {
    /// Reports about runs.
    ExecNews = "exec" {
        Ended(EndedExec) = "ended" @ 1,
    }
}

/// It has ended here; said once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EndedExec {
    pub exec: ExecId,
    pub outcome: ExecOutcome,
}
