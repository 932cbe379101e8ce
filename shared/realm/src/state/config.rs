//! Shared configuration: keys and values in three scopes, numbered by revision.

use events::{AppName, ProcessName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Where a key holds: everywhere, in one app, or in one process type of an app.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Scope {
    pub app: Option<AppName>,
    pub process: Option<ProcessName>,
}

/// The configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// Rises with each change.
    pub revision: u64,
    pub scopes: BTreeMap<Scope, BTreeMap<String, Setting>>,
}

/// The value of a key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    pub value: String,
    /// The revision that set it.
    pub revision: u64,
}

impl Config {
    /// The keys of one scope.
    pub fn scope(&self, scope: &Scope) -> Option<&BTreeMap<String, Setting>> {
        self.scopes.get(scope)
    }

    /// Lays what the configuration says for a process type over the environment that its manifest gives: first the
    /// whole kingdom's, then the app's, then the process type's own.
    pub fn overlay(&self, app: &AppName, process: &ProcessName, environment: &mut BTreeMap<String, String>) {
        let scopes = [
            Scope { app: None, process: None },
            Scope { app: Some(app.clone()), process: None },
            Scope { app: Some(app.clone()), process: Some(process.clone()) },
        ];
        for settings in scopes.iter().filter_map(|scope| self.scopes.get(scope)) {
            environment.extend(settings.iter().map(|(key, setting)| (key.clone(), setting.value.clone())));
        }
    }
}
