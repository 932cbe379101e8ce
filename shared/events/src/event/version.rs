//! Events about versions.

use crate::kinds::noun;
use crate::{AppName, CommitHash, Digest, Manifest};
use semver::Version;
use serde::{Deserialize, Serialize};

noun! {
    /// Events about versions.
    VersionEvent = "version" {
        Published(VersionPublished) = "published" @ 1,
    }
}

impl VersionEvent {
    /// The app it is about.
    pub fn app(&self) -> &AppName {
        match self {
            Self::Published(event) => &event.app,
        }
    }
}

/// A version can be deployed; it never changes again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VersionPublished {
    pub app: AppName,
    pub version: Version,
    /// The commit, when it came by Git.
    pub commit: Option<CommitHash>,
    pub archive: Digest,
    pub manifest: Manifest,
}
