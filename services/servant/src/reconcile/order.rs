//! The order of starts: what waits for other process types of its app.

use super::input::{Action, Input};
use super::laws::{exit, spec};
use super::{Reconciler, Settings};
use crate::holder::words::Told;
use crate::spec::Spec;
use events::InstanceId;
use events::manifest::Restart;

/// The instance 1 is `db`, the instance 3, of the same release, is `web` and waits for it.
fn two(restart: Restart) -> (Spec, Spec) {
    let (mut db, mut web) = (spec(1, 20_000, restart), spec(3, 20_001, Restart::Always));
    db.process = "db".parse().unwrap();
    web.how.supervision.after = [db.process.clone()].into();
    (db, web)
}

fn assigned(specs: &[&Spec]) -> (Reconciler, Vec<InstanceId>) {
    let mut reconciler = Reconciler::new(Settings { steady_ms: 3000, ..Settings::default() });
    let specs: Vec<Spec> = specs.iter().map(|spec| (*spec).clone()).collect();
    let key = specs[0].key.clone();
    starts(&reconciler.step(0, Input::Assigned { specs, broken: Vec::new() }));
    let started = starts(&reconciler.step(1, Input::ReleaseReady(key)));
    (reconciler, started)
}

fn starts(actions: &[Action]) -> Vec<InstanceId> {
    let started = |action: &Action| match action {
        Action::Start { spec, .. } => Some(spec.instance),
        _ => None,
    };
    actions.iter().filter_map(started).collect()
}

#[test]
fn an_instance_starts_once_what_it_waits_for_is_healthy_and_stays_when_that_fails_later() {
    let (db, web) = two(Restart::Always);
    // In whichever order they are assigned.
    let (mut reconciler, started) = assigned(&[&web, &db]);
    assert_eq!(started, [db.instance]);
    let instance = db.instance;
    assert_eq!(starts(&reconciler.step(2, Input::Started { instance, slot: 0, pid: 1 })), []);
    assert_eq!(starts(&reconciler.step(3, Input::Passed { instance, slot: 0, run: 1 })), [web.instance]);
    reconciler.step(4, Input::Started { instance: web.instance, slot: 0, pid: 2 });
    let exit = exit(1, Some(1), Told::Nothing);
    assert_eq!(starts(&reconciler.step(5, Input::Exited { instance, exit: exit.clone() })), [db.instance]);
    // Its own crash is repaired once the other is healthy again.
    let own = Input::Exited { instance: web.instance, exit };
    assert_eq!(starts(&reconciler.step(6, own)), []);
    reconciler.step(7, Input::Started { instance, slot: 0, pid: 3 });
    assert_eq!(starts(&reconciler.step(8, Input::Passed { instance, slot: 0, run: 2 })), [web.instance]);
}

#[test]
fn what_has_done_its_work_is_waited_for_no_more() {
    let (db, web) = two(Restart::OnFailure);
    let (mut reconciler, _) = assigned(&[&db, &web]);
    let instance = db.instance;
    reconciler.step(2, Input::Started { instance, slot: 0, pid: 1 });
    let done = Input::Exited { instance, exit: exit(1, Some(0), Told::Nothing) };
    assert_eq!(starts(&reconciler.step(3, done)), [web.instance]);
}

#[test]
fn what_is_not_here_is_not_waited_for() {
    let (db, web) = two(Restart::Always);
    assert_eq!(assigned(&[&web]).1, [web.instance]);
    let (mut reconciler, started) = assigned(&[&db, &web]);
    assert_eq!(started, [db.instance]);
    let retired = Input::Assigned { specs: vec![web.clone()], broken: Vec::new() };
    assert_eq!(starts(&reconciler.step(2, retired)), [web.instance]);
}
