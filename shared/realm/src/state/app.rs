//! An app: its Git references, versions and releases, and what shall run of it.

use super::instance::Instance;
use events::command::app::Bundle;
use events::{CommitHash, Digest, ImageName, InstanceId, Manifest, ProcessName, Timestamp};
use semver::Version;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Releases kept per app: the newest, and those that still have an instance.
pub const RELEASES_KEPT: usize = 50;

/// An app.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct App {
    pub created_at: Timestamp,
    /// Its Git references by full name.
    pub refs: BTreeMap<String, CommitHash>,
    /// The Git bundles that hold its objects, oldest first.
    pub bundles: Vec<Digest>,
    pub versions: BTreeMap<Version, PublishedVersion>,
    pub releases: BTreeMap<u32, Release>,
    /// The release that shall run.
    pub current: Option<u32>,
    /// How many instances of each process type shall run.
    pub counts: BTreeMap<ProcessName, u32>,
    /// Its instances, those told to stop included.
    pub instances: BTreeSet<InstanceId>,
    pub tally: Tally,
    /// The images that the kingdom holds for it, by what its manifests call them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub images: BTreeMap<ImageName, HeldImage>,
}

/// An image in the artifact store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeldImage {
    pub at: Timestamp,
    pub archive: Digest,
    pub bytes: u64,
}

/// How many of an app's instances stand in the way of its being settled, so that it is not counted over and over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Those that shall run and are not well.
    pub unwell: usize,
    /// Those that were told to stop and are not gone.
    pub retiring: usize,
}

impl Tally {
    /// What one instance adds.
    pub fn of(instance: &Instance) -> Self {
        Self {
            unwell: usize::from(!instance.is_retired() && !instance.is_well()),
            retiring: usize::from(instance.is_retired()),
        }
    }

    pub(crate) fn replace(&mut self, before: Self, after: Self) {
        self.unwell = self.unwell + after.unwell - before.unwell;
        self.retiring = self.retiring + after.retiring - before.retiring;
    }
}

/// A version that can be deployed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PublishedVersion {
    pub at: Timestamp,
    pub commit: Option<CommitHash>,
    pub archive: Digest,
    pub manifest: Manifest,
    /// The images that were built from its archive, by the paths of their Dockerfiles.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub built: BTreeMap<String, HeldImage>,
}

/// A version with the environment of the moment of its deploy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Release {
    pub at: Timestamp,
    pub version: Version,
    pub environments: BTreeMap<ProcessName, BTreeMap<String, String>>,
    /// The images that the kingdom held when it was made, of the process types that name one of them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub images: BTreeMap<ProcessName, Digest>,
}

impl App {
    /// The release that shall run, with its number.
    pub fn current_release(&self) -> Option<(u32, &Release)> {
        let number = self.current?;
        self.releases.get(&number).map(|release| (number, release))
    }

    /// Whether fewer instances are there than shall be.
    pub fn is_short(&self) -> bool {
        let wanted: u64 = self.counts.values().copied().map(u64::from).sum();
        ((self.instances.len() - self.tally.retiring) as u64) < wanted
    }

    /// The manifest of a release.
    pub fn manifest_of(&self, release: u32) -> Option<&Manifest> {
        let version = &self.releases.get(&release)?.version;
        self.versions.get(version).map(|published| &published.manifest)
    }

    pub(crate) fn store_bundle(&mut self, bundle: &Bundle) {
        self.bundles.retain(|known| !bundle.replaces.contains(known));
        self.bundles.push(bundle.digest);
    }
}
