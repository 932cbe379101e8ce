//! Commands that move Git references and publish versions.

use super::Consent;
use super::app::new_app;
use super::refuse::{known_app, manifest, refusal, too_many};
use crate::state::{App, State};
use events::command::app::Bundle;
use events::command::{PublishVersion, PushApp, RefChange, VersionSpec};
use events::event::{AppEvent, AppPushed, VersionEvent, VersionPublished};
use events::limits::{REF_BYTES, REFS_PER_APP, VERSION_BYTES, VERSIONS_PER_APP, VERSIONS_PER_PUSH};
use events::{AppName, Fact, Refusal, RefusalCode};
use semver::Version;
use std::collections::BTreeSet;

/// All of a push or nothing: the app, its references by compare, its new versions.
pub(super) fn push(state: &State, order: &PushApp) -> Result<Consent, Refusal> {
    let mut facts = Vec::new();
    let fresh = App::default();
    let app = match state.apps.get(&order.app) {
        Some(app) => app,
        None => {
            facts.push(new_app(state, &order.app)?);
            &fresh
        }
    };
    check_refs(app, &order.refs)?;
    check_bundle(app, order.bundle.as_ref())?;
    if order.versions.len() > VERSIONS_PER_PUSH {
        return Err(too_many("versions", "versions in one push", VERSIONS_PER_PUSH));
    }
    let versions = order.versions.iter().map(|spec| published(app, &order.app, spec));
    let versions: Vec<Fact> = versions.filter_map(Result::transpose).collect::<Result<_, _>>()?;
    if app.versions.len() + versions.len() > VERSIONS_PER_APP {
        return Err(too_many("versions", "versions of one app", VERSIONS_PER_APP));
    }
    if !order.refs.is_empty() || order.bundle.is_some() {
        let pushed =
            AppPushed { app: order.app.clone(), refs: order.refs.clone(), bundle: order.bundle.clone() };
        facts.push(Fact::App(AppEvent::Pushed(pushed)));
    }
    facts.extend(versions);
    Ok(facts.into())
}

/// A bundle that replaces others was made by somebody who had seen all of them; else objects would be lost.
fn check_bundle(app: &App, bundle: Option<&Bundle>) -> Result<(), Refusal> {
    match bundle {
        Some(bundle) if !bundle.replaces.is_empty() && bundle.replaces != app.bundles => {
            let rule = "the bundle replaces others than the repository has now: another push came between";
            Err(refusal(RefusalCode::Conflict, "bundle.replaces", rule, "push again"))
        }
        Some(_) | None => Ok(()),
    }
}

fn check_refs(app: &App, refs: &[RefChange]) -> Result<(), Refusal> {
    if app.refs.len() + refs.len() > REFS_PER_APP {
        return Err(too_many("refs", "references of one app", REFS_PER_APP));
    }
    let mut seen = BTreeSet::new();
    for change in refs {
        let name = &change.name;
        let plain = name.bytes().all(|byte| byte.is_ascii_graphic() || byte >= 0x80);
        if !name.starts_with("refs/") || !plain || name.len() > REF_BYTES || name.contains("..") {
            let rule = format!("a reference starts with refs/ and has at most {REF_BYTES} printable bytes");
            return Err(refusal(RefusalCode::Invalid, "refs.name", rule, "rename the branch or tag"));
        }
        if !seen.insert(name) {
            let rule = format!("{name:?} stands in the push twice");
            return Err(refusal(RefusalCode::Invalid, "refs.name", rule, "name each reference once"));
        }
        if app.refs.get(name) != change.old.as_ref() {
            let rule = format!("{name:?} has moved since the push began");
            return Err(refusal(RefusalCode::Conflict, "refs.old", rule, "fetch, then push again"));
        }
    }
    Ok(())
}

/// The fact that publishes a version; none if it is published already, exactly so.
fn published(app: &App, name: &AppName, spec: &VersionSpec) -> Result<Option<Fact>, Refusal> {
    check_version(&spec.version)?;
    spec.manifest.check().map_err(|error| manifest(&error))?;
    if let Some(known) = app.versions.get(&spec.version) {
        if known.commit == Some(spec.commit) {
            return Ok(None);
        }
        let was = known
            .commit
            .map_or_else(|| "was published without Git".into(), |commit| format!("is commit {commit}"));
        return Err(version_taken(&spec.version, &was));
    }
    Ok(Some(fact(VersionPublished {
        app: name.clone(),
        version: spec.version.clone(),
        commit: Some(spec.commit),
        archive: spec.archive,
        manifest: Box::new(spec.manifest.clone()),
    })))
}

/// Publishes a version without Git; the same again is no news.
pub(super) fn publish(state: &State, order: &PublishVersion) -> Result<Consent, Refusal> {
    let app = known_app(state, &order.app)?;
    check_version(&order.version)?;
    order.manifest.check().map_err(|error| manifest(&error))?;
    if let Some(known) = app.versions.get(&order.version) {
        if known.archive == order.archive && known.manifest == order.manifest {
            return Ok(Consent::default());
        }
        return Err(version_taken(&order.version, &format!("has the archive {}", known.archive)));
    }
    if app.versions.len() >= VERSIONS_PER_APP {
        return Err(too_many("version", "versions of one app", VERSIONS_PER_APP));
    }
    Ok(fact(VersionPublished {
        app: order.app.clone(),
        version: order.version.clone(),
        commit: None,
        archive: order.archive,
        manifest: Box::new(order.manifest.clone()),
    })
    .into())
}

pub(super) fn check_version(version: &Version) -> Result<(), Refusal> {
    let length = version.to_string().len();
    if length > VERSION_BYTES {
        let rule = format!("is {length} bytes long; at most {VERSION_BYTES}");
        return Err(refusal(RefusalCode::Invalid, "version", rule, "choose a shorter version"));
    }
    Ok(())
}

fn version_taken(version: &Version, was: &str) -> Refusal {
    let rule = format!("{version} {was}, and a version never changes");
    refusal(RefusalCode::Conflict, "version", rule, "publish it under the next version")
}

fn fact(event: impl Into<VersionEvent>) -> Fact {
    Fact::Version(event.into())
}
