//! A million events of a busy kingdom, in commits of a hundred.

use events::event::{
    CommandAccepted, CommandEvent, Exit, InstanceBecameHealthy, InstanceCrashed, InstanceEvent,
    InstancePlaced, InstanceStarted, ServantEvent, ServantJoined,
};
use events::report::{PortRange, RegisterServant};
use events::{
    Actor, Cause, CommandId, Commit, Digest, DomainName, Event, Fact, InstanceId, ReportId, ServantId,
    Timestamp, wire,
};
use std::collections::BTreeMap;
use uuid::Uuid;

/// All events.
pub const EVENTS: u64 = 1_000_000;
/// Events of one commit.
const EACH: u64 = 100;
/// All commits.
pub const COMMITS: u64 = EVENTS / EACH;
const SERVANTS: u64 = 100;
const INSTANCES: u64 = 1000;

/// Events in commits of a hundred, each chained to the one before.
pub struct Past {
    next: u64,
    last: u64,
    event: fn(u64) -> Event,
    previous: Digest,
}

impl Past {
    /// The million events.
    pub fn new() -> Self {
        Self::of(EVENTS, event)
    }

    /// So many events, each made of its number.
    pub fn of(last: u64, event: fn(u64) -> Event) -> Self {
        Self { next: 1, last, event, previous: Digest::ZERO }
    }
}

impl Iterator for Past {
    type Item = Commit;

    fn next(&mut self) -> Option<Commit> {
        if self.next > self.last {
            return None;
        }
        let end = (self.next + EACH).min(self.last + 1);
        let events = (self.next..end).map(self.event).collect();
        let commit = Commit { epoch: 1, first: self.next, previous: self.previous, inbox: 0, events };
        self.next = end;
        self.previous = Digest::of(&wire::encode(&commit));
        Some(commit)
    }
}

fn event(id: u64) -> Event {
    let (fact, cause, actor) = match id {
        ..=SERVANTS => (join(id), report(id % SERVANTS + 1, id), servant_name(id)),
        id if id <= SERVANTS + INSTANCES => (place(id - SERVANTS), Cause::Tick, "king".to_owned()),
        id => life(id),
    };
    Event {
        id,
        at: Timestamp(1_700_000_000_000 + id),
        actor: actor.parse().unwrap_or_else(|_| Actor::king()),
        cause,
        domain: DomainName::default_domain(),
        fact,
    }
}

fn life(id: u64) -> (Fact, Cause, String) {
    let instance = instance_of(id / 4 % INSTANCES + 1);
    let pid = 1000 + (id % 30_000) as u32;
    let fact = match id % 4 {
        0 => InstanceEvent::from(InstanceCrashed {
            instance,
            pid,
            exit: Exit::Code(1),
            uptime_ms: id,
            restart_in_ms: Some(1000),
            out_of_memory: None,
            slot: None,
        }),
        1 => InstanceEvent::from(InstanceStarted { instance, pid, slot: None }),
        2 => InstanceEvent::from(InstanceBecameHealthy { instance }),
        _ => {
            let command = CommandId::from_uuid(Uuid::from_u128(u128::from(id) << 40));
            let accepted =
                CommandAccepted { id: command.clone(), command: "app.scale".into(), release: None };
            let fact = Fact::from(CommandEvent::from(accepted));
            return (fact, Cause::Command(command), "kingctl:ops".to_owned());
        }
    };
    let servant = id % SERVANTS + 1;
    (Fact::from(fact), report(servant, id), servant_name(servant))
}

/// A servant joins.
pub fn join(servant: u64) -> Fact {
    let facts = RegisterServant {
        servant: ServantId(Uuid::from_u128(u128::from(servant))),
        name: servant_name(servant).parse().expect("it is a DNS label"),
        capabilities: BTreeMap::from([("node".to_owned(), "20.20.2".to_owned())]),
        ports: PortRange { first: 20_000, last: 24_999 },
        cpus: 8,
        memory_bytes: 16 << 30,
        boot: "boot".into(),
        labels: events::Labels::new(),
    };
    Fact::from(ServantEvent::from(ServantJoined { domain: DomainName::default_domain(), facts }))
}

fn place(number: u64) -> Fact {
    let port = 20_000 + (number / SERVANTS) as u16;
    Fact::from(InstanceEvent::from(InstancePlaced {
        instance: instance_of(number),
        app: "shop".parse().expect("it is a DNS label"),
        process: "web".parse().expect("it is a DNS label"),
        release: 1,
        servant: ServantId(Uuid::from_u128(u128::from(number % SERVANTS + 1))),
        ports: BTreeMap::from([("http".parse().expect("it is a DNS label"), port)]),
    }))
}

/// The id of an instance.
pub fn instance_of(number: u64) -> InstanceId {
    InstanceId(Uuid::from_u128(u128::from(number) << 64))
}

/// A report of a servant.
pub fn report(servant: u64, number: u64) -> Cause {
    Cause::Report(ReportId { sender: Uuid::from_u128(u128::from(servant)), epoch: 1, number })
}

/// The name of a servant.
pub fn servant_name(number: u64) -> String {
    format!("host-{number}")
}
