//! What events about instances change.

use crate::state::{Instance, State, Tally};
use events::event::{InstanceEvent, InstancePlaced, InstancePortsReplaced};
use events::query::InstancePhase;
use events::{Event, InstanceId};
use std::collections::BTreeMap;

pub(super) fn apply(state: &mut State, event: &Event, fact: &InstanceEvent) {
    let at = event.at;
    match fact {
        InstanceEvent::Placed(fact) => place(state, event, fact),
        // The others of its workers go on: the instance is what it was.
        InstanceEvent::Started(fact) if fact.slot.is_some() && is_healthy(state, fact.instance) => {}
        InstanceEvent::Started(fact) => change(state, fact.instance, |instance| {
            instance.pid = Some(fact.pid);
            instance.enter(InstancePhase::Started, at, None);
        }),
        InstanceEvent::BecameHealthy(fact) => change(state, fact.instance, |instance| {
            instance.enter(InstancePhase::Healthy, at, None);
        }),
        InstanceEvent::BecameUnhealthy(fact) if fact.slot.is_some() => {}
        InstanceEvent::BecameUnhealthy(fact) => change(state, fact.instance, |instance| {
            instance.enter(InstancePhase::Unhealthy, at, Some(fact.reason.clone()));
        }),
        InstanceEvent::Crashed(fact) if fact.slot.is_some() => {
            change(state, fact.instance, |instance| instance.crashes += 1);
        }
        InstanceEvent::Crashed(fact) => change(state, fact.instance, |instance| {
            instance.crashes += 1;
            instance.pid = None;
            instance.enter(InstancePhase::Crashed, at, Some(fact.how()));
        }),
        InstanceEvent::Finished(fact) => change(state, fact.instance, |instance| {
            instance.pid = None;
            instance.enter(InstancePhase::Finished, at, None);
        }),
        InstanceEvent::CrashLooped(fact) => change(state, fact.instance, |instance| instance.looping = true),
        InstanceEvent::Steadied(fact) => change(state, fact.instance, |instance| instance.looping = false),
        InstanceEvent::Failed(fact) => change(state, fact.instance, |instance| {
            instance.pid = None;
            instance.enter(InstancePhase::Failed, at, Some(fact.reason.clone()));
        }),
        InstanceEvent::RestartOrdered(fact) => {
            change(state, fact.instance, |instance| instance.restarts += 1)
        }
        InstanceEvent::WorkersScaled(fact) => {
            change(state, fact.instance, |instance| instance.workers = Some(fact.to));
        }
        InstanceEvent::PortsReplaced(fact) => replace_ports(state, fact),
        InstanceEvent::Halted(fact) => change(state, fact.instance, |instance| {
            instance.pid = None;
            instance.enter(InstancePhase::Placed, at, Some("its servant was stopped".into()));
        }),
        InstanceEvent::Retired(fact) => {
            change(state, fact.instance, |instance| {
                instance.enter(InstancePhase::Stopping, at, Some(fact.reason.to_string()));
            });
            unsettle(state, fact.instance);
        }
        InstanceEvent::Erred(fact) => change(state, fact.instance, |instance| {
            instance.erred.insert(fact.output, fact.number);
        }),
        InstanceEvent::Stopped(fact) => {
            unsettle(state, fact.instance);
            remove(state, fact.instance);
        }
    }
}

fn is_healthy(state: &State, id: InstanceId) -> bool {
    state.instances.get(&id).is_some_and(|instance| instance.phase == InstancePhase::Healthy)
}

/// Changes an instance, and what its app counts of it.
pub(super) fn change(state: &mut State, id: InstanceId, change: impl FnOnce(&mut Instance)) {
    let Some(instance) = state.instances.get_mut(&id) else { return };
    let before = Tally::of(instance);
    change(instance);
    if let Some(app) = state.apps.get_mut(&instance.app).filter(|app| app.instances.contains(&id)) {
        app.tally.replace(before, Tally::of(instance));
    }
}

fn unsettle(state: &mut State, id: InstanceId) {
    if let Some(instance) = state.instances.get(&id)
        && state.apps.get(&instance.app).is_some_and(|app| app.instances.contains(&id))
    {
        state.unsettled.insert(instance.app.clone());
    }
}

fn place(state: &mut State, event: &Event, fact: &InstancePlaced) {
    let instance = Instance {
        app: fact.app.clone(),
        process: fact.process.clone(),
        release: fact.release,
        servant: fact.servant,
        ports: fact.ports.clone(),
        phase: InstancePhase::Placed,
        pid: None,
        crashes: 0,
        looping: false,
        erred: BTreeMap::new(),
        workers: None,
        restarts: 0,
        reason: None,
        since: event.at,
    };
    if let Some(app) = state.apps.get_mut(&fact.app) {
        app.instances.insert(fact.instance);
        app.tally.replace(Tally::default(), Tally::of(&instance));
        state.unsettled.insert(fact.app.clone());
    }
    if let Some(servant) = state.servants.get_mut(&fact.servant) {
        servant.instances.insert(fact.instance);
        for &port in fact.ports.values() {
            servant.ports.insert(port, fact.instance);
            servant.next_port = port.checked_add(1).unwrap_or(servant.facts.ports.first);
        }
    }
    state.instances.insert(fact.instance, instance);
}

fn replace_ports(state: &mut State, fact: &InstancePortsReplaced) {
    let Some(instance) = state.instances.get_mut(&fact.instance) else { return };
    if let Some(servant) = state.servants.get_mut(&instance.servant) {
        for port in instance.ports.values() {
            servant.ports.remove(port);
        }
        servant.taken.insert(fact.taken);
        for &port in fact.ports.values() {
            servant.ports.insert(port, fact.instance);
            servant.next_port = port.checked_add(1).unwrap_or(servant.facts.ports.first);
        }
    }
    instance.ports.clone_from(&fact.ports);
}

/// Takes an instance out of the state and frees its ports.
pub(super) fn remove(state: &mut State, id: InstanceId) {
    let Some(instance) = state.instances.remove(&id) else { return };
    if let Some(app) = state.apps.get_mut(&instance.app)
        && app.instances.remove(&id)
    {
        app.tally.replace(Tally::of(&instance), Tally::default());
    }
    if let Some(servant) = state.servants.get_mut(&instance.servant) {
        servant.instances.remove(&id);
        for port in instance.ports.values() {
            servant.ports.remove(port);
        }
    }
}
