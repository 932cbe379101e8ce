//! The deploy: which release shall run, and how many instances of each process type.

use super::Consent;
use super::app::check_count;
use super::push::check_version;
use super::refuse::{known_app, one_process, refusal, version_unknown};
use crate::state::{App, State};
use events::command::DeployApp;
use events::event::{
    AppDeployed, AppEvent, InstanceEvent, InstanceRetired, ReleaseCreated, ReleaseEvent, RetireReason,
};
use events::limits::ENVIRONMENT_BYTES;
use events::manifest::Process;
use events::query::InstancePhase;
use events::{AppName, Digest, Fact, Image, Manifest, ProcessName, Refusal, RefusalCode};
use std::collections::BTreeMap;

/// Most bytes of keys and values in all environments of one release.
pub const RELEASE_BYTES: usize = 256 * 1024;

type Environments = BTreeMap<ProcessName, BTreeMap<String, String>>;

/// Same version, configuration and manifest: no new release, only the counts change, and what failed is tried anew.
pub(super) fn deploy(state: &State, order: &DeployApp) -> Result<Consent, Refusal> {
    let app = known_app(state, &order.app)?;
    check_version(&order.version)?;
    let published =
        app.versions.get(&order.version).ok_or_else(|| version_unknown(&order.app, app, &order.version))?;
    let counts = counts(app, &published.manifest, order)?;
    let environments = environments(state, &order.app, &published.manifest)?;
    let images = held_images(app, &published.manifest);
    let same = app.current_release().filter(|(_, release)| {
        release.version == order.version && release.environments == environments && release.images == images
    });
    let mut facts = Vec::new();
    let number = match same {
        Some((number, _)) => {
            facts.extend(retire_failed(state, app, number));
            number
        }
        None => {
            let number = app.releases.keys().next_back().map_or(1, |last| last + 1);
            facts.push(Fact::Release(ReleaseEvent::Created(ReleaseCreated {
                app: order.app.clone(),
                release: number,
                version: order.version.clone(),
                environments,
                images,
            })));
            number
        }
    };
    if same.is_none() || app.counts != counts {
        let deployed = AppDeployed { app: order.app.clone(), release: number, counts };
        facts.push(Fact::App(AppEvent::Deployed(deployed)));
    }
    Ok(Consent { facts, release: Some(number) })
}

/// What the kingdom holds of the images that the manifest names: the release keeps to them.
fn held_images(app: &App, manifest: &Manifest) -> BTreeMap<ProcessName, Digest> {
    let held = |process: &Process| match process.image.as_ref()? {
        Image::Named(name) => app.images.get(name).map(|held| held.archive),
        Image::Built { .. } => None,
    };
    manifest.processes.iter().filter_map(|(name, process)| Some((name.clone(), held(process)?))).collect()
}

/// What the order says, else what runs now, else what the manifest says.
fn counts(app: &App, manifest: &Manifest, order: &DeployApp) -> Result<BTreeMap<ProcessName, u32>, Refusal> {
    let stopped = app.counts.values().all(|count| *count == 0);
    let mut counts: BTreeMap<ProcessName, u32> = manifest
        .processes
        .iter()
        .map(|(name, process)| {
            let running = app.counts.get(name).filter(|_| !stopped);
            (name.clone(), *running.unwrap_or(&process.count))
        })
        .collect();
    if let Some(count) = order.count {
        check_count(count)?;
        counts.insert(one_process(manifest.processes.keys(), order.process.as_ref())?, count);
    } else if order.process.is_some() {
        return Err(refusal(
            RefusalCode::Invalid,
            "process",
            "a process type without a count says nothing",
            "give a count with it, or leave it out",
        ));
    }
    Ok(counts)
}

fn environments(state: &State, app: &AppName, manifest: &Manifest) -> Result<Environments, Refusal> {
    let mut environments = Environments::new();
    let mut all = 0;
    for (name, process) in &manifest.processes {
        let mut environment = process.env.clone();
        state.config.overlay(app, name, &mut environment);
        let bytes: usize = environment.iter().map(|(key, value)| key.len() + value.len()).sum();
        if bytes > ENVIRONMENT_BYTES {
            let rule =
                format!("the environment of {name} would hold {bytes} bytes; at most {ENVIRONMENT_BYTES}");
            return Err(refusal(RefusalCode::LimitReached, "config", rule, "unset or shorten some keys"));
        }
        all += bytes;
        environments.insert(name.clone(), environment);
    }
    if all > RELEASE_BYTES {
        let rule = format!("the environments of the release would hold {all} bytes; at most {RELEASE_BYTES}");
        return Err(refusal(RefusalCode::LimitReached, "config", rule, "unset or shorten some keys"));
    }
    Ok(environments)
}

/// What failed for good is given up, so that it gets a successor.
fn retire_failed<'a>(state: &'a State, app: &'a App, release: u32) -> impl Iterator<Item = Fact> + 'a {
    let failed = state
        .instances_of(app)
        .filter(move |(_, instance)| instance.release == release && instance.phase == InstancePhase::Failed);
    failed.take(crate::step::MOST_DIRECT_FACTS).map(|(instance, _)| {
        Fact::Instance(InstanceEvent::Retired(InstanceRetired { instance, reason: RetireReason::Replaced }))
    })
}
