//! What events about servants change.

use super::{exec, instance};
use crate::state::{Servant, State};
use events::event::ServantEvent;
use events::query::InstancePhase;
use events::report::RegisterServant;
use events::{DomainName, Event, ServantId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn apply(state: &mut State, event: &Event, fact: &ServantEvent) {
    match fact {
        ServantEvent::Joined(fact) => join(state, event.at, &fact.domain, &fact.facts),
        ServantEvent::Changed(fact) => change(state, event.at, &fact.domain, &fact.facts),
        ServantEvent::Lost(fact) => mark(state, fact.servant, Mark::Lost, event.at),
        ServantEvent::Returned(fact) => mark(state, fact.servant, Mark::Present, event.at),
        ServantEvent::Removed(fact) => remove(state, fact.servant, event.at),
        ServantEvent::DiskChanged(fact) => {
            if let Some(servant) = state.servants.get_mut(&fact.servant) {
                servant.disk = Some(fact.disk);
            }
        }
        ServantEvent::DiskCleaned(_) => {}
    }
}

fn join(state: &mut State, at: Timestamp, domain: &DomainName, facts: &RegisterServant) {
    let servant = Servant {
        domain: domain.clone(),
        facts: facts.clone(),
        lost: false,
        since: at,
        instances: BTreeSet::new(),
        ports: BTreeMap::new(),
        taken: BTreeSet::new(),
        next_port: facts.ports.first,
        disk: None,
    };
    state.servant_names.insert(facts.name.clone(), facts.servant);
    state.servants.insert(facts.servant, servant);
}

fn change(state: &mut State, at: Timestamp, domain: &DomainName, facts: &RegisterServant) {
    let Some(servant) = state.servants.get_mut(&facts.servant) else { return };
    let restarted = servant.facts.boot != facts.boot;
    state.servant_names.remove(&servant.facts.name);
    state.servant_names.insert(facts.name.clone(), facts.servant);
    servant.domain = domain.clone();
    servant.facts = facts.clone();
    servant.taken.clear();
    servant.next_port = facts.ports.first;
    if restarted {
        expect_restart(state, at, facts.servant);
    }
}

/// After a restart of the host nothing runs there; what is assigned will be started.
fn expect_restart(state: &mut State, at: Timestamp, id: ServantId) {
    let instances = state.servants.get(&id).map(|servant| servant.instances.clone()).unwrap_or_default();
    for id in instances {
        instance::change(state, id, |instance| {
            if !instance.is_retired() && !instance.is_finished() {
                instance.pid = None;
                instance.enter(InstancePhase::Placed, at, Some("its host was restarted".into()));
            }
        });
    }
    unsettle_apps_on(state, id);
}

#[derive(Clone, Copy)]
enum Mark {
    Lost,
    Present,
}

fn mark(state: &mut State, id: ServantId, mark: Mark, at: Timestamp) {
    let Some(servant) = state.servants.get_mut(&id) else { return };
    servant.lost = match mark {
        Mark::Lost => true,
        Mark::Present => false,
    };
    servant.since = at;
    unsettle_apps_on(state, id);
}

fn unsettle_apps_on(state: &mut State, id: ServantId) {
    let Some(servant) = state.servants.get(&id) else { return };
    for instance in servant.instances.iter().filter_map(|id| state.instances.get(id)) {
        if state.apps.get(&instance.app).is_some_and(|app| app.current.is_some()) {
            state.unsettled.insert(instance.app.clone());
        }
    }
}

fn remove(state: &mut State, id: ServantId, at: Timestamp) {
    exec::abandon(state, id, at);
    unsettle_apps_on(state, id);
    let Some(servant) = state.servants.remove(&id) else { return };
    state.servant_names.remove(&servant.facts.name);
    state.senders.remove(&id.0);
    for instance in servant.instances {
        instance::remove(state, instance);
    }
}
