//! Commands about runs of arbitrary commands on servants.

use crate::exec::{Limits, Stdio};
use crate::kinds::noun;
use crate::{ExecId, InstanceId, Selector, ServantName};
use serde::{Deserialize, Serialize};

noun! {
    /// Commands about runs.
    ExecCommand = "exec" {
        Request(RequestExec) = "request" @ 1,
        Cancel(CancelExec) = "cancel" @ 1,
    }
}

/// Run a command on servants: those that are named, those that a selector chooses, or the one of an instance. Exactly one
/// of the three is given. All of it stands in the log: what is secret belongs into the input of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestExec {
    /// A fresh id: whoever watches listens under it before anything runs.
    pub exec: ExecId,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub servants: Vec<ServantName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<Selector>,
    /// Where this runs, with its environment and in its folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceId>,
    /// The program and its arguments; no shell takes them apart.
    pub command: Vec<String>,
    #[serde(default)]
    pub stdio: Stdio,
    #[serde(default)]
    pub limits: Limits,
}

/// End a run wherever it still goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CancelExec {
    pub exec: ExecId,
}
