//! Commands about servants.

use crate::ServantName;
use crate::kinds::noun;
use serde::{Deserialize, Serialize};

noun! {
    /// Commands about servants.
    ServantCommand = "servant" {
        Remove(RemoveServant) = "remove" @ 1,
    }
}

/// Forget a lost servant for good and free its name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoveServant {
    pub servant: ServantName,
}
