//! Events about shared configuration.

use crate::kinds::noun;
use crate::{AppName, ProcessName};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

noun! {
    /// Events about shared configuration.
    ConfigEvent = "config" {
        Set(ConfigSet) = "set" @ 1,
        Unset(ConfigUnset) = "unset" @ 1,
    }
}

impl ConfigEvent {
    /// The app of its scope; none for the whole kingdom.
    pub fn scope(&self) -> Option<&AppName> {
        match self {
            Self::Set(event) => event.app.as_ref(),
            Self::Unset(event) => event.app.as_ref(),
        }
    }
}

/// Keys have these values now, under the next revision of the configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConfigSet {
    pub app: Option<AppName>,
    pub process: Option<ProcessName>,
    pub values: BTreeMap<String, String>,
}

/// Keys have no value any more, under the next revision of the configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConfigUnset {
    pub app: Option<AppName>,
    pub process: Option<ProcessName>,
    pub keys: BTreeSet<String>,
}
