//! Moves: inputs of any kind in any order, and the world that the laws are tried on.

use events::exec::{ExecEnd, ExecOutcome};
use events::limits::EVENTS_PER_INPUT;
use events::plan::PlanItem;
use events::query::InstancePhase;
use events::report::{
    EndedExec, Exited, Failed, InstanceNews, Looping, LoseServant, News, PortRange, PortTaken, Ready,
    RegisterServant, ReturnServant, Stage, Started, Steady, Stopped,
};
use events::{
    Actor, Command, Digest, DomainName, Event, ExecId, InstanceId, Kinded, Order, Report, ReportId,
    ServantId, Timestamp,
};
use proptest::prelude::*;
use realm::{Context, Input, Response, State, plan, project, step};
use std::collections::BTreeMap;
use uuid::Uuid;

pub const SERVANTS: u128 = 3;
pub const APPS: [&str; 3] = ["shop", "blog", "mail"];

/// An input before it is bound to the state: instances are meant by their place among those that exist.
#[derive(Clone, Debug)]
pub enum Move {
    Order(&'static str, String),
    Register { servant: u128, ports: u16 },
    Lose(u128),
    Return(u128),
    Instance { index: usize, news: Told },
    ExecEnded { servant: u128, exec: u8 },
    Tick,
}

#[derive(Clone, Copy, Debug)]
pub enum Told {
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

pub fn moves() -> impl Strategy<Value = Move> {
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

pub const EXEC_IDS: u8 = 40;

pub fn exec_id(number: u8) -> ExecId {
    ExecId(Uuid::from_u128(u128::from(number)))
}

pub fn exec_target() -> impl Strategy<Value = String> {
    prop_oneof![
        (0..SERVANTS).prop_map(|servant| format!(r#""servants":["s{servant}"]"#)),
        Just(r#""selector":"role=web""#.to_owned()),
        Just(r#""selector":"!role""#.to_owned()),
    ]
}

pub fn told() -> impl Strategy<Value = Told> {
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

pub fn publish(app: &str, version: u8) -> String {
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
pub struct World {
    pub state: State,
    pub clock: u64,
    pub log: Vec<Event>,
    pub numbers: BTreeMap<Uuid, u64>,
}

impl World {
    pub fn bind(&mut self, a_move: &Move) -> Option<Input> {
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

    pub fn report(&mut self, sender: Uuid, news: News) -> Input {
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

    pub fn take(&mut self, input: &Input) -> Response {
        self.clock += 1;
        let context = Context { at: Timestamp(self.clock), entropy: u128::from(self.clock) };
        let decision = step(&mut self.state, input, &context);
        assert!(decision.events.len() <= EVENTS_PER_INPUT);
        self.log.extend(decision.events);
        decision.response
    }

    pub fn plan(&mut self, command: &Command) -> PlanItem {
        let context = Context { at: Timestamp(self.clock + 1), entropy: u128::MAX - u128::from(self.clock) };
        plan::plan(&mut self.state, command, &context)
    }

    /// What a servant that obeys would report; false when there is nothing left to say.
    pub fn obey(&mut self) -> bool {
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

pub fn register(servant: u128, ports: u16) -> RegisterServant {
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

pub fn tell(instance: InstanceId, told: Told, port: Option<u16>) -> InstanceNews {
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
