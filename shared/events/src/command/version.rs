//! Commands about versions.

use crate::kinds::noun;
use crate::{AppName, CommitHash, Digest, Manifest};
use semver::Version;
use serde::{Deserialize, Serialize};

noun! {
    /// Commands about versions.
    VersionCommand = "version" {
        Publish(PublishVersion) = "publish" @ 1,
    }
}

/// Publish a version without Git: the archive is already in the artifact store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishVersion {
    pub app: AppName,
    pub version: Version,
    pub archive: Digest,
    pub manifest: Manifest,
}

/// A version that comes with a push.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VersionSpec {
    pub version: Version,
    /// The commit that the tag names.
    pub commit: CommitHash,
    /// The archive of that commit (a tar stream packed with zstd), already stored.
    pub archive: Digest,
    pub manifest: Manifest,
}
