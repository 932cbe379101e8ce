//! Commands about instances.

use crate::InstanceId;
use crate::kinds::noun;
use serde::{Deserialize, Serialize};

noun! {
    /// Commands about instances.
    InstanceCommand = "instance" {
        Restart(RestartInstance) = "restart" @ 1,
    }
}

/// Restart what an instance runs: its workers one after another, where it has some.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestartInstance {
    pub instance: InstanceId,
}
