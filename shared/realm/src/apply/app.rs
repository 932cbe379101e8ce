//! What events about apps, versions and releases change.

use crate::state::app::{App, HeldImage, PublishedVersion, RELEASES_KEPT, Release};
use crate::state::{Scope, State};
use events::event::{AppEvent, AppPushed, ReleaseEvent, VersionEvent};
use events::query::InstancePhase;
use events::{AppName, Event};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn apply(state: &mut State, event: &Event, fact: &AppEvent) {
    match fact {
        AppEvent::Created(fact) => {
            state.apps.insert(fact.app.clone(), App { created_at: event.at, ..App::default() });
        }
        AppEvent::Pushed(fact) => move_refs(state, fact),
        AppEvent::Deployed(fact) => {
            if let Some(app) = state.apps.get_mut(&fact.app) {
                app.current = Some(fact.release);
                app.counts.clone_from(&fact.counts);
                state.unsettled.insert(fact.app.clone());
            }
        }
        AppEvent::Scaled(fact) => {
            if let Some(app) = state.apps.get_mut(&fact.app) {
                app.counts.extend(fact.counts.iter().map(|(process, count)| (process.clone(), *count)));
                state.unsettled.insert(fact.app.clone());
            }
        }
        AppEvent::Settled(fact) => {
            state.unsettled.remove(&fact.app);
        }
        AppEvent::ImageAdded(fact) => {
            if let Some(app) = state.apps.get_mut(&fact.app) {
                let held = HeldImage { at: event.at, archive: fact.archive, bytes: fact.bytes };
                app.images.insert(fact.image.clone(), held);
            }
        }
        AppEvent::Removed(fact) => remove(state, event, &fact.app),
        // What an app tells is kept by the log alone.
        AppEvent::Emitted(_) => {}
    }
}

fn move_refs(state: &mut State, fact: &AppPushed) {
    let Some(app) = state.apps.get_mut(&fact.app) else { return };
    for change in &fact.refs {
        match change.new {
            Some(new) => app.refs.insert(change.name.clone(), new),
            None => app.refs.remove(&change.name),
        };
    }
    if let Some(bundle) = &fact.bundle {
        app.store_bundle(bundle);
    }
}

/// The app goes at once; its instances stay, told to stop, until their servants say that they are gone.
fn remove(state: &mut State, event: &Event, name: &AppName) {
    let Some(app) = state.apps.remove(name) else { return };
    for id in app.instances {
        if let Some(instance) = state.instances.get_mut(&id).filter(|instance| !instance.is_retired()) {
            instance.enter(InstancePhase::Stopping, event.at, Some("app removed".into()));
        }
    }
    state.unsettled.remove(name);
    state.config.scopes.retain(|Scope { app, .. }, _| app.as_ref() != Some(name));
}

pub(super) fn apply_version(state: &mut State, event: &Event, fact: &VersionEvent) {
    match fact {
        VersionEvent::Published(fact) => {
            if let Some(app) = state.apps.get_mut(&fact.app) {
                let published = PublishedVersion {
                    at: event.at,
                    commit: fact.commit,
                    archive: fact.archive,
                    manifest: (*fact.manifest).clone(),
                    built: BTreeMap::new(),
                };
                app.versions.insert(fact.version.clone(), published);
            }
        }
        VersionEvent::ImageBuilt(fact) => {
            let app = state.apps.get_mut(&fact.app);
            if let Some(version) = app.and_then(|app| app.versions.get_mut(&fact.version)) {
                let held = HeldImage { at: event.at, archive: fact.image, bytes: fact.bytes };
                version.built.insert(fact.dockerfile.clone(), held);
            }
        }
    }
}

pub(super) fn apply_release(state: &mut State, event: &Event, fact: &ReleaseEvent) {
    match fact {
        ReleaseEvent::Created(fact) => {
            let Some(app) = state.apps.get_mut(&fact.app) else { return };
            let release = Release {
                at: event.at,
                version: fact.version.clone(),
                environments: fact.environments.clone(),
                images: fact.images.clone(),
            };
            app.releases.insert(fact.release, release);
            if app.releases.len() > RELEASES_KEPT {
                forget_old_releases(state, &fact.app);
            }
        }
    }
}

fn forget_old_releases(state: &mut State, name: &AppName) {
    let Some(app) = state.apps.get_mut(name) else { return };
    let instances = &state.instances;
    let mut used: BTreeSet<u32> =
        app.instances.iter().filter_map(|id| instances.get(id)).map(|instance| instance.release).collect();
    used.extend(app.current);
    let surplus = app.releases.len() - RELEASES_KEPT;
    let oldest: Vec<u32> = app.releases.keys().copied().take(surplus).filter(|n| !used.contains(n)).collect();
    for number in oldest {
        app.releases.remove(&number);
    }
}
