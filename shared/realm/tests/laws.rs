//! Laws: what holds after every input, whatever the inputs are.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod moves;

use events::event::InstanceEvent;
use events::limits::{EXECS, EXECS_PER_SERVANT};
use events::plan::PlanItem;
use events::report::News;
use events::{Command, Commit, Digest, ExecId, Fact, InstanceId, Outcome, ServantId, Verdict, wire};
use moves::{Move, SERVANTS, World, moves, publish};
use proptest::prelude::*;
use realm::state::{Exec, Tally};
use realm::{Input, Response, State, apply, apply_commit, project};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;
/// What must hold in every state.
fn check(state: &State) {
    check_execs(state);
    for (id, servant) in &state.servants {
        let mut ports = BTreeMap::new();
        for instance in &servant.instances {
            let found = &state.instances[instance];
            assert_eq!(found.servant, *id, "an instance is listed where it is");
            for port in found.ports.values() {
                assert_eq!(ports.insert(*port, *instance), None, "port {port} twice on {id}");
            }
        }
        assert_eq!(ports, servant.ports, "the ports given out are those of the instances");
    }
    let mut assigned = BTreeSet::new();
    for servant in state.servants.keys() {
        let assignment = project::assignment(state, *servant);
        for instance in &assignment.instances {
            assert!(assigned.insert(instance.instance), "{} is assigned twice", instance.instance);
        }
        assigned.extend(assignment.stopping);
    }
    let all: BTreeSet<InstanceId> = state.instances.keys().copied().collect();
    assert_eq!(assigned, all, "every instance stands in one assignment");
    for (name, app) in &state.apps {
        for (process, wanted) in &app.counts {
            let live = state.instances_of(app).filter(|(_, instance)| {
                instance.process == *process
                    && Some(instance.release) == app.current
                    && !instance.is_retired()
            });
            assert!(live.count() <= *wanted as usize, "more than {wanted} of {name}/{process}");
        }
        assert!(app.instances.iter().all(|id| state.instances.contains_key(id)));
        let tallies = || state.instances_of(app).map(|(_, instance)| Tally::of(instance));
        let (unwell, retiring) = (tallies().map(|it| it.unwell).sum(), tallies().map(|it| it.retiring).sum());
        assert_eq!(app.tally, Tally { unwell, retiring }, "what {name} counts is what is there");
    }
}

/// What must hold of runs in every state.
fn check_execs(state: &State) {
    assert!(state.execs.0.len() <= EXECS, "so many runs are remembered");
    let mut named = BTreeSet::new();
    for servant in state.servants.keys() {
        let runs = project::execs(state, *servant).runs;
        assert!(runs.len() <= EXECS_PER_SERVANT, "so many runs go on at once on a servant");
        named.extend(runs.into_iter().map(|run| (run.exec, *servant)));
    }
    let open =
        |(id, exec): (&ExecId, &Exec)| exec.open_on().map(|servant| (*id, servant)).collect::<Vec<_>>();
    let open: BTreeSet<_> = state.execs.0.iter().flat_map(open).collect();
    assert_eq!(named, open, "what goes on stands in the view of its servant, which is part of the kingdom");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn every_state_is_sound_and_replay_equals_live(moves in prop::collection::vec(moves(), 1..120)) {
        let mut world = World::default();
        for a_move in &moves {
            if let Some(input) = world.bind(a_move) {
                world.take(&input);
                check(&world.state);
            }
        }
        let mut replayed = State::default();
        for event in &world.log {
            apply(&mut replayed, event);
        }
        prop_assert_eq!(replayed.hash(), world.state.hash());
        prop_assert_eq!(&replayed, &world.state);
        let numbers: Vec<u64> = world.log.iter().map(|event| event.id).collect();
        prop_assert_eq!(numbers, (1..=world.log.len() as u64).collect::<Vec<_>>());
    }

    #[test]
    fn the_same_input_again_makes_no_event(moves in prop::collection::vec(moves(), 1..60)) {
        let mut world = World::default();
        for a_move in &moves {
            let Some(input) = world.bind(a_move) else { continue };
            let first = world.take(&input);
            let before = world.state.clone();
            match (&input, world.take(&input)) {
                (Input::Command(_), Response::Repeated(outcome)) => {
                    prop_assert_eq!(first, Response::Decided(outcome));
                    prop_assert_eq!(&world.state, &before);
                }
                (Input::Report(_), Response::Report(verdict)) => {
                    if first == Response::Report(Verdict::Committed) {
                        prop_assert_eq!(verdict, Verdict::Redundant);
                    }
                    prop_assert_eq!(&world.state, &before);
                }
                (Input::Tick, Response::None) => prop_assert_eq!(&world.state, &before),
                (input, response) => prop_assert!(false, "{:?} gave {:?}", input, response),
            }
        }
    }

    #[test]
    fn with_servants_that_obey_every_app_comes_to_rest(moves in prop::collection::vec(moves(), 1..80)) {
        let mut world = World::default();
        for a_move in &moves {
            if let Some(input) = world.bind(a_move) {
                world.take(&input);
            }
        }
        for servant in 0..SERVANTS {
            for a_move in [Move::Register { servant, ports: 200 }, Move::Return(servant)] {
                let input = world.bind(&a_move).unwrap();
                world.take(&input);
            }
        }
        // What failed for good is tried anew by a deploy of the same version.
        for (name, app) in world.state.apps.clone() {
            if let Some((_, release)) = app.current_release() {
                let data = format!(r#"{{"app":"{name}","version":"{}"}}"#, release.version);
                let input = world.bind(&Move::Order("app.deploy", data)).unwrap();
                world.take(&input);
            }
        }
        for _ in 0..50 {
            let said = world.obey();
            world.take(&Input::Tick);
            if !said && world.state.unsettled.is_empty() {
                break;
            }
        }
        prop_assert!(world.state.unsettled.is_empty(), "never at rest: {:?}", world.state.unsettled);
        check(&world.state);
        for app in world.state.apps.values() {
            let wanted: u32 = app.counts.values().sum();
            prop_assert_eq!(app.instances.len(), wanted as usize);
        }
    }

    /// A plan leaves no trace; done with its token it gives what was shown; where it would not, it is refused and leaves
    /// nothing but that.
    #[test]
    fn a_plan_is_what_happens_or_nothing_does(
        moves in prop::collection::vec(moves(), 1..80),
        wanted in moves(),
        between in prop::collection::vec(moves(), 0..3),
    ) {
        let mut world = World::default();
        for a_move in &moves {
            if let Some(input) = world.bind(a_move) {
                world.take(&input);
            }
        }
        let Some(Input::Command(command)) = world.bind(&wanted) else { return Ok(()) };
        let command = Command { id: "planned".parse().unwrap(), ..command };
        let before = world.state.clone();
        let item = world.plan(&command);
        prop_assert_eq!(&world.state, &before);
        let Some(token) = item.token.clone() else { return Ok(()) };
        for a_move in &between {
            if let Some(input) = world.bind(a_move) {
                world.take(&input);
            }
        }
        let (before, now) = (world.state.clone(), world.plan(&command));
        let first = world.log.len();
        let response = world.take(&Input::Command(Command { plan: Some(token.clone()), ..command }));
        let recorded: Vec<&'static str> = world.log[first..].iter().map(|event| event.fact.kind()).collect();
        let kinds = |item: &PlanItem| item.events.iter().map(|event| event.kind.clone()).collect::<Vec<_>>();
        let same = now.token.is_some_and(|now| now.parts == token.parts);
        prop_assert!(!same || now.events == item.events, "other events are another plan");
        if same {
            prop_assert!(matches!(response, Response::Decided(Outcome::Accepted { .. })), "{:?}", response);
            prop_assert_eq!(&recorded[..recorded.len() - 1], kinds(&item));
        } else {
            prop_assert!(matches!(response, Response::Decided(Outcome::Refused { .. })), "{:?}", response);
            prop_assert_eq!(recorded, ["command.refused"]);
            let after = State {
                last: before.last, at: before.at, outcomes: before.outcomes.clone(), ..world.state.clone()
            };
            prop_assert_eq!(after, before);
        }
        check(&world.state);
    }

    #[test]
    fn a_snapshot_and_the_events_after_it_are_all_events(
        moves in prop::collection::vec(moves(), 1..60), cut in 0.0..1.0f64
    ) {
        let mut world = World::default();
        for a_move in &moves {
            if let Some(input) = world.bind(a_move) {
                world.take(&input);
            }
        }
        let (before, after) = world.log.split_at((world.log.len() as f64 * cut) as usize);
        let mut folded = State::default();
        before.iter().for_each(|event| apply(&mut folded, event));
        let snapshot = wire::encode(&folded);
        let mut restored: State = wire::decode(&snapshot).unwrap();
        prop_assert_eq!(restored.hash(), Digest::of(&snapshot));
        after.iter().for_each(|event| apply(&mut restored, event));
        prop_assert_eq!(restored.hash(), world.state.hash());
    }

    #[test]
    fn commits_fold_as_events_do(moves in prop::collection::vec(moves(), 1..40), cut in 1..7usize) {
        let mut world = World::default();
        for a_move in &moves {
            if let Some(input) = world.bind(a_move) {
                world.take(&input);
            }
        }
        let mut folded = State::default();
        for events in world.log.chunks(cut) {
            let commit = Commit { epoch: 0, first: events[0].id, previous: Digest::ZERO, inbox: 0, events: events.to_vec() };
            let commit: Commit = wire::decode(&wire::encode(&commit)).unwrap();
            apply_commit(&mut folded, &commit).unwrap();
        }
        prop_assert_eq!(folded.hash(), world.state.hash());
    }
}

#[test]
fn many_instances_are_placed_over_several_ticks_and_never_more_than_wanted() {
    let mut world = World::default();
    let order = |kind, data: &str| Move::Order(kind, data.to_owned());
    let start = [
        Move::Register { servant: 1, ports: 4000 },
        order("app.create", r#"{"app":"shop"}"#),
        order("version.publish", &publish("shop", 3)),
        order("app.deploy", r#"{"app":"shop","version":"3.0.0","count":3500}"#),
    ];
    for a_move in &start {
        let input = world.bind(a_move).unwrap();
        world.take(&input);
        check(&world.state);
    }
    assert!(world.state.instances.len() < 1000, "one input yields a bounded number of events");
    for _ in 0..4 {
        world.take(&Input::Tick);
    }
    check(&world.state);
    assert_eq!(world.state.instances.len(), 3500);
    let placed =
        world.log.iter().filter(|event| matches!(&event.fact, Fact::Instance(InstanceEvent::Placed(_))));
    assert_eq!(placed.count(), 3500);
}

#[test]
fn a_plan_of_many_instances_does_not_rest_on_their_ids() {
    let mut world = World::default();
    let order = |kind, data: &str| Move::Order(kind, data.to_owned());
    let start = [
        Move::Register { servant: 1, ports: 400 },
        Move::Register { servant: 2, ports: 400 },
        order("app.create", r#"{"app":"shop"}"#),
        order("version.publish", &publish("shop", 3)),
    ];
    for a_move in &start {
        let input = world.bind(a_move).unwrap();
        world.take(&input);
    }
    let deploy = order("app.deploy", r#"{"app":"shop","version":"3.0.0","count":300}"#);
    let Some(Input::Command(command)) = world.bind(&deploy) else { panic!("a command") };
    let item = world.plan(&command);
    let news = item.differences.iter().filter(|difference| difference.noun == "instance");
    let names: Vec<&str> = news.map(|difference| difference.name.as_str()).collect();
    assert_eq!(names, (1..=300).map(|number| format!("new-{number}")).collect::<Vec<_>>());
    world.clock += 10;
    let response = world.take(&Input::Command(Command { plan: item.token, ..command }));
    assert!(matches!(response, Response::Decided(Outcome::Accepted { .. })), "{response:?}");
}

#[test]
fn runs_are_bounded_and_the_oldest_that_has_ended_is_forgotten_first() {
    let mut world = World::default();
    let input = world.bind(&Move::Register { servant: 1, ports: 4 }).unwrap();
    world.take(&input);
    let request = |world: &mut World, number: usize| {
        let exec = ExecId(Uuid::from_u128(number as u128));
        let data = format!(r#"{{"exec":"{exec}","servants":["s1"],"command":["true"]}}"#);
        let input = world.bind(&Move::Order("exec.request", data)).unwrap();
        world.take(&input)
    };
    let is_accepted = |response: &Response| matches!(response, Response::Decided(Outcome::Accepted { .. }));
    for number in 0..EXECS_PER_SERVANT {
        assert!(is_accepted(&request(&mut world, number)), "run {number}");
    }
    assert!(!is_accepted(&request(&mut world, 99)), "a servant runs so many at once");
    for number in EXECS_PER_SERVANT..EXECS + 10 {
        let ended = Move::ExecEnded { servant: 1, exec: 0 };
        let Some(Input::Report(mut report)) = world.bind(&ended) else { panic!("a report") };
        let oldest = world.state.execs.on(ServantId(Uuid::from_u128(1)))[0].0;
        if let News::Exec(events::report::ExecNews::Ended(news)) = &mut report.news {
            news.exec = oldest;
        }
        world.take(&Input::Report(report));
        assert!(is_accepted(&request(&mut world, number)), "run {number}");
        check(&world.state);
    }
    let kept: Vec<u128> = world.state.execs.0.keys().map(|exec| exec.0.as_u128()).collect();
    assert_eq!(kept, (10..EXECS as u128 + 10).collect::<Vec<_>>());
}
