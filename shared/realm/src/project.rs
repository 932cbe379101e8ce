//! Project: what others read of the state, and which of it an event changes.

mod image;

use crate::state::{Exec, Instance, State};
use events::event::{AppEvent, ExecEvent, InstanceEvent, ServantEvent, VersionEvent};
use events::manifest::Errors;
use events::view::{
    AssignedExec, AssignedInstance, AssignedProcess, AssignedRelease, Assignment, Domain, DomainServant,
    ExecWish, Execs,
};
use events::{AppName, DomainName, Event, Fact, InstanceId, ProcessName, ServantId};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

/// A view that has to be projected anew.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ViewKey {
    Assignment(ServantId),
    /// The runs of commands on a servant.
    Execs(ServantId),
    Domain(DomainName),
}

/// The views that an event changes, told from the state **before** it is applied.
pub fn touched(before: &State, event: &Event, keys: &mut BTreeSet<ViewKey>) {
    match &event.fact {
        Fact::Instance(fact) => touched_by_instance(before, fact, keys),
        Fact::Servant(fact) => touched_by_servant(before, fact, keys),
        Fact::Exec(fact) => match fact {
            ExecEvent::Requested(fact) => keys.extend(fact.servants.iter().copied().map(ViewKey::Execs)),
            ExecEvent::Cancelled(fact) => {
                let open = before.execs.get(fact.exec).into_iter().flat_map(Exec::open_on);
                keys.extend(open.map(ViewKey::Execs));
            }
            ExecEvent::Ended(fact) => {
                keys.insert(ViewKey::Execs(fact.servant));
            }
        },
        Fact::App(AppEvent::Removed(fact)) => {
            let instances = before.apps.get(&fact.app).into_iter().flat_map(|app| &app.instances);
            let servants =
                instances.filter_map(|id| before.instances.get(id)).map(|instance| instance.servant);
            keys.extend(servants.map(ViewKey::Assignment));
        }
        Fact::Version(VersionEvent::ImageBuilt(fact)) => keys.extend(image::waiting(before, &fact.app)),
        Fact::App(
            AppEvent::Created(_)
            | AppEvent::Pushed(_)
            | AppEvent::Deployed(_)
            | AppEvent::Scaled(_)
            | AppEvent::Settled(_)
            | AppEvent::ImageAdded(_)
            | AppEvent::Emitted(_),
        )
        | Fact::Version(VersionEvent::Published(_))
        | Fact::Release(_)
        | Fact::Config(_)
        | Fact::Command(_)
        | Fact::Alert(_)
        | Fact::King(_) => {}
    }
}

fn touched_by_instance(before: &State, fact: &InstanceEvent, keys: &mut BTreeSet<ViewKey>) {
    match fact {
        InstanceEvent::Placed(fact) => {
            keys.insert(ViewKey::Assignment(fact.servant));
        }
        InstanceEvent::Retired(_)
        | InstanceEvent::PortsReplaced(_)
        | InstanceEvent::RestartOrdered(_)
        | InstanceEvent::Stopped(_) => {
            let servant = before.instances.get(&fact.instance()).map(|instance| instance.servant);
            keys.extend(servant.map(ViewKey::Assignment));
        }
        InstanceEvent::Failed(_)
        | InstanceEvent::Started(_)
        | InstanceEvent::BecameHealthy(_)
        | InstanceEvent::BecameUnhealthy(_)
        | InstanceEvent::Crashed(_)
        | InstanceEvent::Finished(_)
        | InstanceEvent::CrashLooped(_)
        | InstanceEvent::Steadied(_)
        | InstanceEvent::Halted(_)
        | InstanceEvent::Erred(_)
        | InstanceEvent::WorkersScaled(_) => {}
    }
    keys.extend(image::moved_by_instance(before, fact));
}

fn touched_by_servant(before: &State, fact: &ServantEvent, keys: &mut BTreeSet<ViewKey>) {
    let id = fact.servant();
    keys.extend(before.servants.get(&id).map(|servant| ViewKey::Domain(servant.domain.clone())));
    match fact {
        ServantEvent::Joined(fact) => {
            keys.insert(ViewKey::Domain(fact.domain.clone()));
            keys.insert(ViewKey::Assignment(id));
        }
        ServantEvent::Changed(fact) => {
            keys.insert(ViewKey::Domain(fact.domain.clone()));
        }
        ServantEvent::Lost(_) | ServantEvent::Returned(_) => keys.extend(image::moved_by_servant(before, id)),
        ServantEvent::DiskChanged(_) | ServantEvent::DiskCleaned(_) => {}
        ServantEvent::Removed(_) => {
            keys.insert(ViewKey::Assignment(id));
            keys.insert(ViewKey::Execs(id));
            keys.extend(image::moved_by_servant(before, id));
        }
    }
}

/// Every view that the state has: what a King that takes over writes.
pub fn all(state: &State) -> BTreeSet<ViewKey> {
    let assignments = state.servants.keys().copied().map(ViewKey::Assignment);
    let domains = state.servants.values().map(|servant| ViewKey::Domain(servant.domain.clone()));
    let execs = state.execs.0.values().flat_map(Exec::open_on).map(ViewKey::Execs);
    assignments.chain(domains).chain(execs).collect()
}

/// The runs of commands that go on on a servant, or shall begin there.
pub fn execs(state: &State, servant: ServantId) -> Execs {
    let runs = state.execs.on(servant).into_iter().map(|(id, exec)| AssignedExec {
        exec: id,
        command: exec.requested.command.clone(),
        stdio: exec.requested.stdio.clone(),
        limits: exec.requested.limits,
        instance: exec.requested.instance,
        wish: if exec.cancelled_by.is_some() { ExecWish::Cancel } else { ExecWish::Run },
    });
    Execs { runs: runs.collect() }
}

/// Everything that a servant must be running, and what it must not be running any more.
pub fn assignment(state: &State, id_of_servant: ServantId) -> Assignment {
    let Some(servant) = state.servants.get(&id_of_servant) else { return Assignment::default() };
    let mut releases: BTreeMap<(&AppName, u32), AssignedRelease> = BTreeMap::new();
    let mut instances = Vec::new();
    let mut stopping = Vec::new();
    for (id, instance) in
        servant.instances.iter().filter_map(|id| state.instances.get(id).map(|found| (*id, found)))
    {
        if instance.is_retired() {
            stopping.push(id);
            continue;
        }
        let Some(app) = state.apps.get(&instance.app) else { continue };
        let key = (&instance.app, instance.release);
        if let Entry::Vacant(vacant) = releases.entry(key) {
            let whom = image::Whom { state, app, servant: id_of_servant };
            let Some(release) = assigned_release(&whom, &instance.app, instance.release) else { continue };
            vacant.insert(release);
        }
        instances.push(assigned_instance(id, instance));
    }
    Assignment { releases: releases.into_values().collect(), instances, stopping }
}

fn assigned_instance(id: InstanceId, instance: &Instance) -> AssignedInstance {
    AssignedInstance {
        instance: id,
        app: instance.app.clone(),
        release: instance.release,
        process: instance.process.clone(),
        ports: instance.ports.clone(),
        restarts: instance.restarts,
    }
}

fn assigned_release(whom: &image::Whom<'_>, name: &AppName, number: u32) -> Option<AssignedRelease> {
    let app = whom.app;
    let release = app.releases.get(&number)?;
    let published = app.versions.get(&release.version)?;
    let process = |name: &ProcessName| {
        let declared = published.manifest.processes.get(name)?;
        Some(AssignedProcess {
            command: declared.command.clone(),
            container: whom.container(release, published, name),
            env: release.environments.get(name).cloned().unwrap_or_default(),
            ports: declared.ports.clone(),
            health: declared.health.clone(),
            restart: declared.restart,
            stop_grace_ms: declared.stop_grace_ms,
            errors: Errors::of(published.manifest.errors.as_ref(), declared.errors.as_ref()),
            supervision: declared.supervision.clone(),
            workers: declared.workers.clone(),
        })
    };
    let names = published.manifest.processes.keys();
    Some(AssignedRelease {
        app: name.clone(),
        release: number,
        version: release.version.clone(),
        archive: published.archive,
        build: published.manifest.build.clone(),
        processes: names.filter_map(|name| process(name).map(|process| (name.clone(), process))).collect(),
    })
}

/// The servants of a domain.
pub fn domain(state: &State, domain: &DomainName) -> Domain {
    let servants = state.servants.iter().filter(|(_, servant)| servant.domain == *domain);
    let servants = servants.map(|(id, servant)| DomainServant {
        servant: *id,
        name: servant.facts.name.clone(),
        lost: servant.lost,
    });
    Domain { domain: domain.clone(), servants: servants.collect() }
}
