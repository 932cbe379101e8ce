//! Commands about shared configuration. Without `app` the scope is the whole kingdom; with `process` it is one
//! process type of an app.

use crate::kinds::noun;
use crate::{AppName, ProcessName};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

noun! {
    /// Commands about shared configuration.
    ConfigCommand = "config" {
        Set(SetConfig) = "set" @ 1,
        Unset(UnsetConfig) = "unset" @ 1,
    }
}

/// Set keys; they reach instances with the next deploy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetConfig {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<AppName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessName>,
    pub values: BTreeMap<String, String>,
}

/// Unset keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnsetConfig {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<AppName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessName>,
    pub keys: BTreeSet<String>,
}
