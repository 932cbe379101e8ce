//! Commands about apps.

use super::version::VersionSpec;
use crate::kinds::noun;
use crate::{AppName, CommitHash, Digest, ImageName, ProcessName};
use semver::Version;
use serde::{Deserialize, Serialize};

noun! {
    /// Commands about apps.
    AppCommand = "app" {
        Create(CreateApp) = "create" @ 1,
        Push(PushApp) = "push" @ 1,
        Deploy(DeployApp) = "deploy" @ 1,
        Scale(ScaleApp) = "scale" @ 1,
        Stop(StopApp) = "stop" @ 1,
        Remove(RemoveApp) = "remove" @ 1,
        AddImage(AddImage) = "add-image" @ 1,
    }
}

/// Make an app without a push.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateApp {
    pub app: AppName,
}

/// What a Git push does, all of it or nothing: makes the app if it is new, moves its references by compare, and
/// publishes the versions that its semver tags name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PushApp {
    pub app: AppName,
    /// The references to move.
    pub refs: Vec<RefChange>,
    /// The Git bundle that holds the new objects, already stored; none when the push brings no new object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<Bundle>,
    /// The versions that come with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<VersionSpec>,
}

/// One reference moved from an old to a new commit or tag object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefChange {
    /// The full name: `refs/heads/main`.
    pub name: String,
    /// What it must be now; none if it must not exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<CommitHash>,
    /// What it shall be; none to delete it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<CommitHash>,
}

/// A stored Git bundle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    /// Its name in the artifact store.
    pub digest: Digest,
    /// The bundles that it makes needless, because it holds every object of the repository: all that there are, or none
    /// for one that holds only what is new.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaces: Vec<Digest>,
}

/// Run a version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeployApp {
    pub app: AppName,
    pub version: Version,
    /// Instances of `process`; when absent, what runs now, or what the manifest says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// The process type that `count` means; when absent, `web` or the only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessName>,
}

/// Change how many instances of a process type run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScaleApp {
    pub app: AppName,
    /// The process type; when absent, `web` or the only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessName>,
    pub count: u32,
}

/// Stop the instances of an app, or of one of its process types. A later deploy or scale starts them again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StopApp {
    pub app: AppName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessName>,
}

/// Stop an app and forget its versions, releases and configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoveApp {
    pub app: AppName,
}

/// Hold an image for an app, so that any servant can load it. What is named so never changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddImage {
    pub app: AppName,
    /// What its manifests call it.
    pub image: ImageName,
    /// Its archive, already in the artifact store, as `docker save` writes it.
    pub archive: Digest,
    pub bytes: u64,
}
