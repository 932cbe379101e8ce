//! The log of a large kingdom in which all is well: apps, servants, and an equal number of healthy instances on each.

use crate::past::{Past, instance_of, join, report, servant_name};
use events::event::{
    AppCreated, AppDeployed, AppEvent, AppSettled, InstanceBecameHealthy, InstanceEvent, InstancePlaced,
    InstanceStarted, ReleaseCreated, ReleaseEvent, VersionEvent, VersionPublished,
};
use events::manifest::{CommandLine, Manifest, Process};
use events::report::PortRange;
use events::{
    Actor, AppName, Cause, Digest, DomainName, Event, Fact, PortName, ProcessName, ServantId, Timestamp,
};
use semver::Version;
use std::collections::BTreeMap;
use uuid::Uuid;

pub const SERVANTS: u64 = 10_000;
pub const INSTANCES: u64 = 100_000;
const APPS: u64 = 20;
/// Events about each app before its instances.
const FOR_AN_APP: u64 = 4;
/// Events about each instance.
const FOR_AN_INSTANCE: u64 = 3;

/// The number of the last event.
pub const EVENTS: u64 = SERVANTS + FOR_AN_APP * APPS + FOR_AN_INSTANCE * INSTANCES + APPS;

/// The commits.
pub fn commits() -> Past {
    Past::of(EVENTS, event)
}

fn event(id: u64) -> Event {
    let (fact, by) = fact(id - 1);
    let (cause, actor) = match by {
        Some(servant) => (report(servant, id), servant_name(servant).parse().expect("it is printable")),
        None => (Cause::Tick, Actor::king()),
    };
    Event {
        id,
        at: Timestamp(1_700_000_000_000 + id),
        actor,
        cause,
        domain: DomainName::default_domain(),
        fact,
    }
}

/// What happens at a place of the log, and the servant that says so.
fn fact(place: u64) -> (Fact, Option<u64>) {
    let Some(place) = place.checked_sub(SERVANTS) else { return (join(place + 1), Some(place + 1)) };
    let Some(place) = place.checked_sub(FOR_AN_APP * APPS) else {
        return (rise(place % FOR_AN_APP, &app(place / FOR_AN_APP)), None);
    };
    let Some(place) = place.checked_sub(FOR_AN_INSTANCE * INSTANCES) else {
        return live(place % FOR_AN_INSTANCE, place / FOR_AN_INSTANCE);
    };
    (Fact::from(AppEvent::from(AppSettled { app: app(place), release: 1 })), None)
}

fn app(number: u64) -> AppName {
    format!("app-{number}").parse().expect("it is a DNS label")
}

fn rise(step: u64, app: &AppName) -> Fact {
    let (app, version, web) = (app.clone(), Version::new(1, 0, 0), ProcessName::web());
    match step {
        0 => Fact::from(AppEvent::from(AppCreated { app })),
        1 => {
            let process = Process::from_command(&web, CommandLine::Shell("exec ./serve".into()));
            let processes = BTreeMap::from([(web, process)]);
            let manifest =
                Box::new(Manifest { build: None, needs: BTreeMap::new(), processes, errors: None });
            let archive = Digest::of(app.as_str().as_bytes());
            Fact::from(VersionEvent::from(VersionPublished { app, version, commit: None, archive, manifest }))
        }
        2 => {
            let environments = BTreeMap::from([(web, BTreeMap::new())]);
            Fact::from(ReleaseEvent::from(ReleaseCreated {
                app,
                release: 1,
                version,
                environments,
                images: BTreeMap::new(),
            }))
        }
        _ => {
            let counts = BTreeMap::from([(web, (INSTANCES / APPS) as u32)]);
            Fact::from(AppEvent::from(AppDeployed { app, release: 1, counts }))
        }
    }
}

fn live(step: u64, number: u64) -> (Fact, Option<u64>) {
    let (instance, servant) = (instance_of(number + 1), number % SERVANTS + 1);
    let port = PortRange::DEFAULT.first + (number / SERVANTS) as u16;
    let (fact, by) = match step {
        0 => {
            let placed = InstancePlaced {
                instance,
                app: app(number % APPS),
                process: ProcessName::web(),
                release: 1,
                servant: ServantId(Uuid::from_u128(u128::from(servant))),
                ports: BTreeMap::from([(PortName::http(), port)]),
            };
            (InstanceEvent::from(placed), None)
        }
        1 => (
            InstanceEvent::from(InstanceStarted { instance, pid: 1000 + number as u32, slot: None }),
            Some(servant),
        ),
        _ => (InstanceEvent::from(InstanceBecameHealthy { instance }), Some(servant)),
    };
    (Fact::from(fact), by)
}
