//! Commands that make, scale, stop and remove apps.

use super::Consent;
use super::refuse::{known_app, one_process, refusal, too_many};
use crate::state::{App, State};
use events::command::{CreateApp, RemoveApp, ScaleApp, StopApp};
use events::event::{AppCreated, AppEvent, AppRemoved, AppScaled};
use events::limits::{APPS, INSTANCES_PER_PROCESS};
use events::{AppName, Fact, ProcessName, Refusal, RefusalCode};
use std::collections::BTreeMap;

pub(super) fn create(state: &State, order: &CreateApp) -> Result<Consent, Refusal> {
    if state.apps.contains_key(&order.app) {
        let rule = format!("there is an app {:?} already", order.app);
        return Err(refusal(RefusalCode::Conflict, "app", rule, "choose another name"));
    }
    new_app(state, &order.app).map(Consent::from)
}

/// The fact that makes an app, unless there are too many.
pub(super) fn new_app(state: &State, app: &AppName) -> Result<Fact, Refusal> {
    if state.apps.len() >= APPS {
        return Err(too_many("app", "apps", APPS));
    }
    Ok(fact(AppCreated { app: app.clone() }))
}

pub(super) fn scale(state: &State, order: &ScaleApp) -> Result<Consent, Refusal> {
    let app = deployed_app(state, &order.app)?;
    check_count(order.count)?;
    let process = one_process(app.counts.keys(), order.process.as_ref())?;
    Ok(rescale(app, &order.app, BTreeMap::from([(process, order.count)])))
}

pub(super) fn stop(state: &State, order: &StopApp) -> Result<Consent, Refusal> {
    let app = deployed_app(state, &order.app)?;
    let counts = match &order.process {
        Some(process) => BTreeMap::from([(one_process(app.counts.keys(), Some(process))?, 0)]),
        None => app.counts.keys().map(|process| (process.clone(), 0)).collect(),
    };
    Ok(rescale(app, &order.app, counts))
}

/// The counts that change; nothing where they are what they should be.
fn rescale(app: &App, name: &AppName, mut counts: BTreeMap<ProcessName, u32>) -> Consent {
    counts.retain(|process, count| app.counts.get(process) != Some(count));
    if counts.is_empty() {
        return Consent { facts: Vec::new(), release: app.current };
    }
    Consent { facts: vec![fact(AppScaled { app: name.clone(), counts })], release: app.current }
}

pub(super) fn remove(state: &State, order: &RemoveApp) -> Result<Consent, Refusal> {
    known_app(state, &order.app)?;
    Ok(fact(AppRemoved { app: order.app.clone() }).into())
}

fn deployed_app<'a>(state: &'a State, name: &AppName) -> Result<&'a App, Refusal> {
    let app = known_app(state, name)?;
    if app.current.is_none() {
        let rule = format!("the app {name:?} was never deployed, so it has nothing to scale or stop");
        let fix = format!("deploy a version first: kingctl app deploy {name}@VERSION");
        return Err(refusal(RefusalCode::Conflict, "app", rule, fix));
    }
    Ok(app)
}

pub(super) fn check_count(count: u32) -> Result<(), Refusal> {
    if count > INSTANCES_PER_PROCESS {
        let rule = format!("is {count}; from 0 to {INSTANCES_PER_PROCESS} instances of one process type");
        return Err(refusal(RefusalCode::Invalid, "count", rule, "name a smaller count"));
    }
    Ok(())
}

fn fact(event: impl Into<AppEvent>) -> Fact {
    Fact::App(event.into())
}
