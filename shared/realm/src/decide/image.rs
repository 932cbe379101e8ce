//! Images that the kingdom holds: those that people add, and those that servants build.

use super::refuse::{known_app, refusal, too_many};
use super::{Consent, Hearing};
use crate::state::{Instance, State};
use events::command::AddImage;
use events::event::{AppEvent, AppImageAdded, VersionEvent, VersionImageBuilt};
use events::limits::{IMAGE_BYTES, IMAGES_PER_APP};
use events::report::ImageBuilt;
use events::{Fact, Image, Refusal, RefusalCode};

/// The same again is no news; a name that holds another image is refused.
pub(super) fn add(state: &State, order: &AddImage) -> Result<Consent, Refusal> {
    let app = known_app(state, &order.app)?;
    if order.bytes > IMAGE_BYTES {
        let rule = format!("the image has {} bytes; at most {IMAGE_BYTES}", order.bytes);
        return Err(refusal(RefusalCode::Invalid, "bytes", rule, "make it smaller"));
    }
    match app.images.get(&order.image) {
        Some(held) if held.archive == order.archive => Ok(Consent::default()),
        Some(held) => {
            let rule = format!("{} is the image {}, and an image never changes", order.image, held.archive);
            Err(refusal(RefusalCode::Conflict, "image", rule, "add it under another tag"))
        }
        None if app.images.len() >= IMAGES_PER_APP => {
            Err(too_many("image", "images of one app", IMAGES_PER_APP))
        }
        None => Ok(Fact::App(AppEvent::ImageAdded(AppImageAdded {
            app: order.app.clone(),
            image: order.image.clone(),
            archive: order.archive,
            bytes: order.bytes,
        }))
        .into()),
    }
}

/// The first image that is built is the one that all use.
pub(super) fn built(state: &State, instance: &Instance, news: &ImageBuilt) -> Hearing {
    let found = state.apps.get(&instance.app).and_then(|app| {
        let version = &app.releases.get(&instance.release)?.version;
        Some((version, app.versions.get(version)?))
    });
    let Some((version, published)) = found else { return Hearing::Redundant };
    let declared = published.manifest.processes.get(&instance.process);
    let is_asked_for = declared
        .and_then(|process| process.image.as_ref())
        .is_some_and(|image| matches!(image, Image::Built { build } if *build == news.dockerfile));
    if !is_asked_for || published.built.contains_key(&news.dockerfile) {
        return Hearing::Redundant;
    }
    Fact::Version(VersionEvent::ImageBuilt(VersionImageBuilt {
        app: instance.app.clone(),
        version: version.clone(),
        dockerfile: news.dockerfile.clone(),
        image: news.image,
        bytes: news.bytes,
        instance: news.instance,
    }))
    .into()
}
