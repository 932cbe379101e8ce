//! Laws: what holds after every input, whatever the inputs are.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use events::event::InstanceEvent;
use events::exec::{ExecEnd, ExecOutcome};
use events::limits::{EVENTS_PER_INPUT, EXECS, EXECS_PER_SERVANT};
use events::plan::PlanItem;
use events::query::InstancePhase;
use events::report::{
    EndedExec, Exited, Failed, InstanceNews, Looping, LoseServant, News, PortRange, PortTaken, Ready,
    RegisterServant, ReturnServant, Stage, Started, Steady, Stopped,
};
use events::{
    Actor, Command, Commit, Digest, DomainName, Event, ExecId, Fact, InstanceId, Kinded, Order, Outcome,
    Report, ReportId, ServantId, Timestamp, Verdict, wire,
};
use proptest::prelude::*;
use realm::state::{Exec, Tally};
use realm::{Context, Input, Response, State, apply, apply_commit, plan, project, step};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

const SERVANTS: u128 = 3;
const APPS: [&str; 3] = ["shop", "blog", "mail"];

/// An input before it is bound to the state: instances are meant by their place among those that exist.
#[derive(Clone, Debug)]
enum Move {
    Order(&'static str, String),
    Register { servant: u128, ports: u16 },
    Lose(u128),
    Return(u128),
    Instance { index: usize, news: Told },
    ExecEnded { servant: u128, exec: u8 },
    Tick,
}

#[derive(Clone, Copy, Debug)]
enum Told {
    Started,
    Ready,
    Crashed,
    Finished,
    Looping,
    Steady,
    Failed,
    PortTaken,
    Stopped,
}

fn moves() -> impl Strategy<Value = Move> {
    let app = prop::sample::select(&APPS[..]);
    let version = 1..4u8;
    prop_oneof![
        2 => app.clone().prop_map(|app| Move::Order("app.create", format!(r#"{{"app":"{app}"}}"#))),
        3 => (app.clone(), version.clone()).prop_map(|(app, version)| Move::Order("version.publish", publish(app, version))),
        4 => (app.clone(), version, 0..6u32).prop_map(|(app, version, count)| {
            Move::Order("app.deploy", format!(r#"{{"app":"{app}","version":"{version}.0.0","count":{count}}}"#))
        }),
        3 => (app.clone(), 0..8u32).prop_map(|(app, count)| Move::Order("app.scale", format!(r#"{{"app":"{app}","count":{count}}}"#))),
        1 => app.clone().prop_map(|app| Move::Order("app.stop", format!(r#"{{"app":"{app}"}}"#))),
        1 => app.clone().prop_map(|app| Move::Order("app.remove", format!(r#"{{"app":"{app}"}}"#))),
        2 => (app, 0..3u8).prop_map(|(app, value)| Move::Order("config.set", format!(r#"{{"app":"{app}","values":{{"K":"{value}"}}}}"#))),
        1 => (0..SERVANTS).prop_map(|n| Move::Order("servant.remove", format!(r#"{{"servant":"s{n}"}}"#))),
        4 => (0..SERVANTS, 1..6u16).prop_map(|(servant, ports)| Move::Register { servant, ports }),
        2 => (0..SERVANTS).prop_map(Move::Lose),
        2 => (0..SERVANTS).prop_map(Move::Return),
        20 => (0..16usize, told()).prop_map(|(index, news)| Move::Instance { index, news }),
        4 => (0..EXEC_IDS, exec_target()).prop_map(|(exec, target)| {
            Move::Order("exec.request", format!(r#"{{"exec":"{}",{target},"command":["true"]}}"#, exec_id(exec)))
        }),
        1 => (0..EXEC_IDS).prop_map(|exec| Move::Order("exec.cancel", format!(r#"{{"exec":"{}"}}"#, exec_id(exec)))),
        4 => (0..SERVANTS, 0..EXEC_IDS).prop_map(|(servant, exec)| Move::ExecEnded { servant, exec }),
        2 => Just(Move::Tick),
    ]
}

const EXEC_IDS: u8 = 40;

fn exec_id(number: u8) -> ExecId {
    ExecId(Uuid::from_u128(u128::from(number)))
}

fn exec_target() -> impl Strategy<Value = String> {
    prop_oneof![
        (0..SERVANTS).prop_map(|servant| format!(r#""servants":["s{servant}"]"#)),
        Just(r#""selector":"role=web""#.to_owned()),
        Just(r#""selector":"!role""#.to_owned()),
    ]
}

fn told() -> impl Strategy<Value = Told> {
    prop_oneof![
        3 => Just(Told::Started),
        6 => Just(Told::Ready),
        2 => Just(Told::Crashed),
        1 => Just(Told::Finished),
        1 => Just(Told::Looping),
        1 => Just(Told::Steady),
        1 => Just(Told::Failed),
        1 => Just(Told::PortTaken),
        5 => Just(Told::Stopped),
    ]
}

fn publish(app: &str, version: u8) -> String {
    let archive = Digest::of(&[version]);
    let web = r#"{"command":"run","ports":["http"]}"#;
    // The third version drops a process type and needs a tool that only some servants have.
    let processes = match version {
        3 => format!(r#"{{"web":{web}}}"#),
        _ => format!(r#"{{"web":{web},"worker":{{"command":"work","ports":["http","stats"]}}}}"#),
    };
    let needs = if version == 3 { r#""needs":{"node":">=18"},"# } else { "" };
    format!(
        r#"{{"app":"{app}","version":"{version}.0.0","archive":"{archive}","manifest":{{{needs}"processes":{processes}}}}}"#
    )
}

/// The world that the laws are tried on.
#[derive(Default)]
struct World {
    state: State,
    clock: u64,
    log: Vec<Event>,
    numbers: BTreeMap<Uuid, u64>,
}

impl World {
    fn bind(&mut self, a_move: &Move) -> Option<Input> {
        Some(match a_move {
            Move::Order(kind, data) => Input::Command(Command {
                id: format!("c{}", self.clock).parse().unwrap(),
                actor: Actor::anonymous(),
                order: Order::deserialize_data(kind, 1, &mut serde_json::Deserializer::from_str(data))
                    .unwrap(),
                plan: None,
            }),
            Move::Register { servant, ports } => {
                self.report(Uuid::from_u128(*servant), News::Servant(register(*servant, *ports).into()))
            }
            Move::Lose(servant) => {
                let servant = ServantId(Uuid::from_u128(*servant));
                self.report(
                    Uuid::from_u128(900),
                    News::Servant(LoseServant { servant, silent_ms: 3000 }.into()),
                )
            }
            Move::Return(servant) => {
                let servant = ServantId(Uuid::from_u128(*servant));
                self.report(Uuid::from_u128(900), News::Servant(ReturnServant { servant }.into()))
            }
            Move::Instance { index, news } => {
                let count = self.state.instances.len();
                let (id, instance) = self.state.instances.iter().nth(index % count.max(1))?;
                let news = tell(*id, *news, instance.ports.values().next().copied());
                let sender = instance.servant.0;
                self.report(sender, News::Instance(news))
            }
            Move::ExecEnded { servant, exec } => {
                let outcome = ExecOutcome {
                    end: ExecEnd::Code(0),
                    duration_ms: 1,
                    output_bytes: 0,
                    discarded_bytes: 0,
                };
                let news = EndedExec { exec: exec_id(*exec), outcome };
                self.report(Uuid::from_u128(*servant), News::Exec(news.into()))
            }
            Move::Tick => Input::Tick,
        })
    }

    fn report(&mut self, sender: Uuid, news: News) -> Input {
        let number = self.numbers.entry(sender).or_insert(0);
        *number += 1;
        Input::Report(Report {
            id: ReportId { sender, epoch: 1, number: *number },
            at: Timestamp(self.clock),
            actor: "servant:s".parse().unwrap(),
            domain: DomainName::default_domain(),
            news,
        })
    }

    fn take(&mut self, input: &Input) -> Response {
        self.clock += 1;
        let context = Context { at: Timestamp(self.clock), entropy: u128::from(self.clock) };
        let decision = step(&mut self.state, input, &context);
        assert!(decision.events.len() <= EVENTS_PER_INPUT);
        self.log.extend(decision.events);
        decision.response
    }

    fn plan(&mut self, command: &Command) -> PlanItem {
        let context = Context { at: Timestamp(self.clock + 1), entropy: u128::MAX - u128::from(self.clock) };
        plan::plan(&mut self.state, command, &context)
    }

    /// What a servant that obeys would report; false when there is nothing left to say.
    fn obey(&mut self) -> bool {
        let mut said = false;
        for id in self.state.servants.keys().copied().collect::<Vec<_>>() {
            if self.state.is_lost(id) {
                continue;
            }
            let assignment = project::assignment(&self.state, id);
            for instance in assignment.instances {
                let phase = self.state.instances[&instance.instance].phase;
                if !matches!(phase, InstancePhase::Healthy | InstancePhase::Finished | InstancePhase::Failed)
                {
                    said = true;
                    let news = InstanceNews::Ready(Ready { instance: instance.instance });
                    let input = self.report(id.0, News::Instance(news));
                    self.take(&input);
                }
                if self.state.instances.get(&instance.instance).is_some_and(|instance| instance.looping) {
                    said = true;
                    let news = InstanceNews::Steady(Steady { instance: instance.instance });
                    let input = self.report(id.0, News::Instance(news));
                    self.take(&input);
                }
            }
            for instance in assignment.stopping {
                said = true;
                let input = self.report(id.0, News::Instance(InstanceNews::Stopped(Stopped { instance })));
                self.take(&input);
            }
        }
        said
    }
}

fn register(servant: u128, ports: u16) -> RegisterServant {
    let tool = |tool: &str, version: &str| (tool.to_owned(), version.to_owned());
    let capabilities = match servant {
        0 => BTreeMap::new(),
        _ => BTreeMap::from([tool("node", "20.0.0"), tool("exec", "")]),
    };
    let labels = match servant {
        2 => events::Labels::from([("role".parse().unwrap(), "web".parse().unwrap())]),
        _ => events::Labels::new(),
    };
    RegisterServant {
        servant: ServantId(Uuid::from_u128(servant)),
        name: format!("s{servant}").parse().unwrap(),
        capabilities,
        ports: PortRange { first: 20_000, last: 20_000 + ports },
        cpus: 1,
        memory_bytes: 1,
        boot: "b".into(),
        labels,
    }
}

fn tell(instance: InstanceId, told: Told, port: Option<u16>) -> InstanceNews {
    let exited = |code| Exited {
        instance,
        pid: 1,
        code: Some(code),
        signal: None,
        uptime_ms: 1,
        restart_in_ms: None,
        out_of_memory: None,
        slot: None,
    };
    match told {
        Told::Started => Started { instance, pid: 1, slot: None }.into(),
        Told::Ready => Ready { instance }.into(),
        Told::Crashed => Exited { restart_in_ms: Some(0), ..exited(1) }.into(),
        Told::Finished => exited(0).into(),
        Told::Looping => Looping { instance, crashes: 5, window_ms: 60_000, slot: None }.into(),
        Told::Steady => Steady { instance }.into(),
        Told::Failed => Failed { instance, stage: Stage::Build, reason: "no".into() }.into(),
        Told::PortTaken => PortTaken { instance, port: port.unwrap_or(1) }.into(),
        Told::Stopped => Stopped { instance }.into(),
    }
}

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
