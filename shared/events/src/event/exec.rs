//! Events about runs of arbitrary commands on servants: who ran what where, and how it ended. The actor stands in the
//! envelope, as with every event.

use crate::exec::{ExecOutcome, Limits, Stdio};
use crate::kinds::noun;
use crate::{ExecId, InstanceId, Selector, ServantId, ServantName};
use serde::{Deserialize, Serialize};

noun! {
    /// Events about runs.
    ExecEvent = "exec" {
        Requested(Box<ExecRequested>) = "requested" @ 1,
        Cancelled(ExecCancelled) = "cancelled" @ 1,
        Ended(ExecEnded) = "ended" @ 1,
    }
}

impl ExecEvent {
    /// The run it is about.
    pub fn exec(&self) -> ExecId {
        match self {
            Self::Requested(event) => event.exec,
            Self::Cancelled(event) => event.exec,
            Self::Ended(event) => event.exec,
        }
    }
}

/// A command shall run on these servants, once on each. Nothing runs before this is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExecRequested {
    pub exec: ExecId,
    pub servants: Vec<ServantId>,
    /// How they were chosen, unless by their names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<Selector>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceId>,
    /// Servants that the selector chooses and that cannot run it now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
    pub command: Vec<String>,
    pub stdio: Stdio,
    pub limits: Limits,
}

/// A servant that cannot run a command now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LeftOut {
    pub servant: ServantName,
    pub reason: String,
}

/// It shall end wherever it still goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExecCancelled {
    pub exec: ExecId,
}

/// It has ended on this servant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExecEnded {
    pub exec: ExecId,
    pub servant: ServantId,
    pub outcome: ExecOutcome,
}
