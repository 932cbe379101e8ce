//! Events about apps.

use crate::command::{RefChange, app::Bundle};
use crate::kinds::noun;
use crate::report::instance::is_zero;
use crate::{AppName, Digest, EventName, Fields, ImageName, InstanceId, ProcessName, ServantId, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

noun! {
    /// Events about apps.
    AppEvent = "app" {
        Created(AppCreated) = "created" @ 1,
        Pushed(AppPushed) = "pushed" @ 1,
        Deployed(AppDeployed) = "deployed" @ 1,
        Scaled(AppScaled) = "scaled" @ 1,
        Settled(AppSettled) = "settled" @ 1,
        ImageAdded(AppImageAdded) = "image-added" @ 1,
        Removed(AppRemoved) = "removed" @ 1,
        Emitted(AppEmitted) = "emitted" @ 1,
    }
}

impl AppEvent {
    /// The app it is about.
    pub fn app(&self) -> &AppName {
        match self {
            Self::Created(event) => &event.app,
            Self::Pushed(event) => &event.app,
            Self::Deployed(event) => &event.app,
            Self::Scaled(event) => &event.app,
            Self::Settled(event) => &event.app,
            Self::ImageAdded(event) => &event.app,
            Self::Removed(event) => &event.app,
            Self::Emitted(event) => &event.app,
        }
    }
}

impl AppEvent {
    /// The servant that it happened on, where it did on one.
    pub fn servant(&self) -> Option<ServantId> {
        match self {
            Self::Emitted(event) => Some(event.servant),
            Self::Created(_)
            | Self::Pushed(_)
            | Self::Deployed(_)
            | Self::Scaled(_)
            | Self::Settled(_)
            | Self::ImageAdded(_)
            | Self::Removed(_) => None,
        }
    }
}

/// The app exists.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AppCreated {
    pub app: AppName,
}

/// Its references moved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AppPushed {
    pub app: AppName,
    pub refs: Vec<RefChange>,
    /// The bundle with the new objects, if there were any.
    pub bundle: Option<Bundle>,
}

/// From now on this release shall run, so many instances of each process type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AppDeployed {
    pub app: AppName,
    pub release: u32,
    pub counts: BTreeMap<ProcessName, u32>,
}

/// From now on so many instances of these process types shall run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AppScaled {
    pub app: AppName,
    pub counts: BTreeMap<ProcessName, u32>,
}

/// What shall run does: every instance of the release is healthy and no other is left.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AppSettled {
    pub app: AppName,
    pub release: u32,
}

/// The kingdom holds an image for it: from the next deploy on, what names it gets this one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AppImageAdded {
    pub app: AppName,
    pub image: ImageName,
    /// Its archive in the artifact store, as `docker save` writes it.
    pub archive: Digest,
    pub bytes: u64,
}

/// The app is no more; its instances are being stopped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AppRemoved {
    pub app: AppName,
}

/// One of its instances told of an event of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AppEmitted {
    pub app: AppName,
    pub process: ProcessName,
    pub instance: InstanceId,
    pub servant: ServantId,
    /// What happened, in the app's own words.
    pub name: EventName,
    pub fields: Fields,
    /// When the servant took it, by the clock of its host.
    pub emitted_at: Timestamp,
    /// Events of this instance that were dropped since the one before, because they came too fast or found no room.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropped: u64,
}
