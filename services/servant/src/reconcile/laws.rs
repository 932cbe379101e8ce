//! Laws of the reconciler, tried against a world that does what it is asked in any order, fails at will and dies at will.

use super::input::{Action, Input, Moment, StartTrouble};
use super::{Reconciler, Settings};
use crate::holder::words::{Exit, Told};
use crate::spec::{ReleaseKey, Spec};
use events::manifest::{CommandLine, Restart, Supervision};
use events::report::{InstanceNews, Stage};
use events::view::AssignedProcess;
use events::{AppName, Digest, InstanceId, Timestamp};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

const INSTANCES: u8 = 4;

fn id(number: u8) -> InstanceId {
    InstanceId(Uuid::from_u128(u128::from(number)))
}

pub(crate) fn spec(number: u8, port: u16, restart: Restart) -> Spec {
    let app: AppName = "hello".parse().unwrap();
    let release = u32::from(number % 2) + 1;
    Spec {
        instance: id(number),
        key: ReleaseKey { app, release, archive: Digest::ZERO, image: None },
        version: "1.0.0".parse().unwrap(),
        build: None,
        process: "web".parse().unwrap(),
        ports: BTreeMap::from([("http".parse().unwrap(), port)]),
        how: AssignedProcess {
            command: Some(CommandLine::Shell("run".into())),
            container: None,
            env: BTreeMap::new(),
            ports: vec!["http".parse().unwrap()],
            health: None,
            restart,
            stop_grace_ms: 1000,
            errors: None,
            supervision: Supervision::default(),
            workers: None,
        },
        restarts: 0,
    }
}

pub(super) fn exit(pid: u32, code: Option<i32>, told: Told) -> Exit {
    let signal = code.is_none().then_some(9);
    Exit { slot: 0, run: 1, pid, code, signal, at: Timestamp(0), uptime_ms: 5, told, out_of_memory: false }
}

/// What the world may do next.
#[derive(Clone, Debug)]
enum Move {
    /// These instances shall run, with this much added to their ports.
    Assign(Vec<u8>, u16),
    /// What was asked first is answered well.
    Do,
    /// What was asked first fails.
    Fail,
    /// What was asked first is answered last.
    Delay,
    Crash(u8),
    Wait(u64),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        2 => (proptest::collection::btree_set(0..INSTANCES, 0..=INSTANCES as usize), 0..2u16)
            .prop_map(|(ids, ports)| Move::Assign(ids.into_iter().collect(), ports)),
        8 => Just(Move::Do),
        1 => Just(Move::Fail),
        2 => Just(Move::Delay),
        2 => (0..INSTANCES).prop_map(Move::Crash),
        3 => (0..20_000u64).prop_map(Move::Wait),
    ];
    proptest::collection::vec(one, 0..80)
}

struct World {
    reconciler: Reconciler,
    now: Moment,
    /// Asked and not yet done.
    asked: Vec<Action>,
    /// Instances with a process, and how it was told to end.
    running: BTreeMap<InstanceId, (u32, Spec, Told)>,
    wanted: BTreeMap<InstanceId, Spec>,
    reported_stopped: BTreeSet<InstanceId>,
    given_up: BTreeSet<InstanceId>,
    pids: u32,
}

impl World {
    fn new() -> Self {
        Self {
            reconciler: Reconciler::new(Settings::default()),
            now: 0,
            asked: Vec::new(),
            running: BTreeMap::new(),
            wanted: BTreeMap::new(),
            reported_stopped: BTreeSet::new(),
            given_up: BTreeSet::new(),
            pids: 0,
        }
    }

    fn step(&mut self, input: Input) {
        for action in self.reconciler.step(self.now, input) {
            match action {
                Action::Report(InstanceNews::Stopped(news)) => {
                    assert!(!self.running.contains_key(&news.instance), "reported stopped and runs");
                    self.reported_stopped.insert(news.instance);
                }
                Action::Report(InstanceNews::Failed(news)) => drop(self.given_up.insert(news.instance)),
                Action::Report(_) | Action::ReportExit { .. } => {}
                other => self.asked.push(other),
            }
        }
    }

    fn go(&mut self, what: Move) {
        match what {
            Move::Assign(numbers, more) => self.assign(&numbers, more),
            Move::Do => self.answer(Answer::Well),
            Move::Fail => self.answer(Answer::Badly),
            Move::Delay if !self.asked.is_empty() => self.asked.rotate_left(1),
            Move::Delay => {}
            Move::Crash(number) => self.crash(id(number)),
            Move::Wait(ms) => self.wait(ms),
        }
    }

    fn assign(&mut self, numbers: &[u8], more: u16) {
        let specs: Vec<Spec> = numbers
            .iter()
            .map(|number| spec(*number, 20_000 + u16::from(*number) * 10 + more, Restart::Always))
            .collect();
        self.wanted = specs.iter().map(|spec| (spec.instance, spec.clone())).collect();
        self.reported_stopped.retain(|id| !self.wanted.contains_key(id));
        self.step(Input::Assigned { specs, broken: Vec::new() });
    }

    fn crash(&mut self, instance: InstanceId) {
        if let Some((pid, _, told)) = self.running.remove(&instance) {
            self.step(Input::Exited { instance, exit: exit(pid, Some(1), told) });
        }
    }

    fn wait(&mut self, ms: u64) {
        self.now += ms;
        while self.reconciler.deadline().is_some_and(|due| due <= self.now) {
            self.step(Input::Tick);
        }
    }

    fn answer(&mut self, answer: Answer) {
        if self.asked.is_empty() {
            return;
        }
        match (self.asked.remove(0), answer) {
            (Action::Prepare(spec), Answer::Well) => self.step(Input::ReleaseReady(spec.key)),
            (Action::Prepare(spec), Answer::Badly) => {
                self.step(Input::ReleaseFailed { key: spec.key, stage: Stage::Fetch, reason: "no".into() });
            }
            (Action::Start { spec, slot }, Answer::Well) => {
                self.pids += 1;
                let (instance, pid) = (spec.instance, self.pids);
                let before = self.running.insert(instance, (pid, *spec, Told::Nothing));
                assert!(before.is_none(), "{instance} runs twice");
                self.step(Input::Started { instance, slot, pid });
            }
            (Action::Start { spec, slot }, Answer::Badly) => {
                let port = *spec.ports.values().next().unwrap();
                self.step(Input::StartFailed {
                    instance: spec.instance,
                    slot,
                    trouble: StartTrouble::PortTaken(port),
                });
            }
            (Action::Signal { instance, told, .. }, answer) => {
                // A stubborn process heeds only SIGKILL.
                if let Some((pid, _, last)) = self.running.get_mut(&instance) {
                    *last = told;
                    let pid = *pid;
                    if told == Told::Kill || matches!(answer, Answer::Well) {
                        self.running.remove(&instance);
                        self.step(Input::Exited { instance, exit: exit(pid, None, told) });
                    }
                }
            }
            (Action::Check { instance, slot, run, .. }, Answer::Well) => {
                self.step(Input::Passed { instance, slot, run });
            }
            (Action::Check { instance, slot, run, .. }, Answer::Badly) => {
                self.step(Input::CheckFailed { instance, slot, run, reason: "no".into() });
            }
            (Action::Forget(instance) | Action::Dismiss(instance), _) => {
                assert!(!self.running.contains_key(&instance), "{instance} runs and is forgotten");
                self.step(Input::Gone(instance));
            }
            (Action::Report(_) | Action::ReportExit { .. }, _) => unreachable!("reports are not asked for"),
        }
    }

    /// From now on everything is answered well.
    fn settle(&mut self) {
        for _ in 0..200 {
            while !self.asked.is_empty() {
                self.answer(Answer::Well);
            }
            self.wait(1000);
        }
    }
}

#[derive(Clone, Copy)]
enum Answer {
    Well,
    Badly,
}

proptest! {
    #[test]
    fn no_instance_runs_twice_and_all_converge(moves in moves()) {
        let mut world = World::new();
        let mut ever = BTreeSet::new();
        for what in moves {
            world.go(what);
            ever.extend(world.wanted.keys().copied());
        }
        world.settle();
        let runs: BTreeMap<InstanceId, Spec> =
            world.running.iter().map(|(id, (_, spec, _))| (*id, spec.clone())).collect();
        let wanted: BTreeMap<InstanceId, Spec> = world
            .wanted
            .iter()
            .filter(|(id, _)| runs.contains_key(id) || !world.given_up.contains(id))
            .map(|(id, spec)| (*id, spec.clone()))
            .collect();
        prop_assert_eq!(runs, wanted);
        for id in ever.iter().filter(|id| !world.wanted.contains_key(id)) {
            prop_assert!(world.reported_stopped.contains(id), "{} was never reported to be stopped", id);
        }
    }

    #[test]
    fn the_same_inputs_give_the_same_actions(moves in moves()) {
        let (mut one, mut two) = (World::new(), World::new());
        for what in moves {
            one.go(what.clone());
            two.go(what);
            prop_assert_eq!(&one.asked, &two.asked);
            prop_assert_eq!(one.reconciler.deadline(), two.reconciler.deadline());
        }
    }

    #[test]
    fn at_the_end_everything_is_quiet(moves in moves()) {
        let mut world = World::new();
        for what in moves {
            world.go(what);
        }
        world.step(Input::End);
        world.settle();
        prop_assert!(world.reconciler.is_quiet());
        prop_assert!(world.running.is_empty());
    }
}
