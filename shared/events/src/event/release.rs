//! Events about releases.

use crate::kinds::noun;
use crate::{AppName, Digest, ProcessName};
use semver::Version;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

noun! {
    /// Events about releases.
    ReleaseEvent = "release" {
        Created(ReleaseCreated) = "created" @ 1,
    }
}

impl ReleaseEvent {
    /// The app it is about.
    pub fn app(&self) -> &AppName {
        match self {
            Self::Created(event) => &event.app,
        }
    }
}

/// A version was bound to the configuration of that moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReleaseCreated {
    pub app: AppName,
    /// Numbered per app, from 1.
    pub release: u32,
    pub version: Version,
    /// The whole environment of each process type, but for ports: manifest, then global, app and process type.
    pub environments: BTreeMap<ProcessName, BTreeMap<String, String>>,
    /// The images that the kingdom held then, of the process types that name one of them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub images: BTreeMap<ProcessName, Digest>,
}
