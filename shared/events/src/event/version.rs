//! Events about versions.

use crate::kinds::noun;
use crate::{AppName, CommitHash, Digest, InstanceId, Manifest};
use semver::Version;
use serde::{Deserialize, Serialize};

noun! {
    /// Events about versions.
    VersionEvent = "version" {
        Published(VersionPublished) = "published" @ 1,
        ImageBuilt(VersionImageBuilt) = "image-built" @ 1,
    }
}

impl VersionEvent {
    /// The app it is about.
    pub fn app(&self) -> &AppName {
        match self {
            Self::Published(event) => &event.app,
            Self::ImageBuilt(event) => &event.app,
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
    pub manifest: Box<Manifest>,
}

/// An image was built from its archive, once for all: every servant that needs it loads it from the artifact store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VersionImageBuilt {
    pub app: AppName,
    pub version: Version,
    /// The path of the Dockerfile in the archive.
    pub dockerfile: String,
    /// The image in the artifact store, as `docker save` writes it.
    pub image: Digest,
    pub bytes: u64,
    /// The instance for which it was built first.
    pub instance: InstanceId,
}
