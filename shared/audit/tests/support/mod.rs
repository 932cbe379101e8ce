//! A log made by the law itself, commit after commit, with a King that signs it.

#![allow(
    clippy::unwrap_used,
    dead_code,
    reason = "a test that cannot go on fails; not every test needs all of it"
)]

use audit::StoredCommit;
use audit::backup::{Backup, Writer};
use events::command::*;
use events::manifest::{CommandLine, Manifest, Process};
use events::report::*;
use events::*;
use realm::{Candidate, Context, Input, Response, State, step};
use ring::signature::{Ed25519KeyPair, KeyPair};
use semver::Version;
use std::collections::BTreeMap;
use std::io::Cursor;
use uuid::Uuid;

/// When the log begins; each input comes a second later.
pub const BEGIN_MS: u64 = 1_795_171_626_000;
pub const KING: KingId = KingId(Uuid::from_u128(1));

pub struct World {
    pub state: State,
    pub commits: Vec<StoredCommit>,
    hash: Digest,
    inputs: u64,
    numbers: BTreeMap<Uuid, u64>,
    pair: Ed25519KeyPair,
}

impl World {
    /// A kingdom with an elected King that signs with the key of this seed.
    pub fn new(seed: u8) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        let mut world = Self {
            state: State::default(),
            commits: Vec::new(),
            hash: Digest::ZERO,
            inputs: 0,
            numbers: BTreeMap::new(),
            pair,
        };
        world.elect();
        world
    }

    pub fn key(&self) -> KingKey {
        KingKey::from_bytes(self.pair.public_key().as_ref().try_into().unwrap())
    }

    pub fn elect(&mut self) {
        let key = Some(self.key());
        self.take(&[Input::Election(Candidate { king: KING, key })]);
    }

    /// Decides inputs, one after the other, and stores what follows as one commit; the number of its last event.
    pub fn take(&mut self, inputs: &[Input]) -> EventNumber {
        let first = self.state.last + 1;
        let mut events = Vec::new();
        for input in inputs {
            self.inputs += 1;
            let at = Timestamp(BEGIN_MS + self.inputs * 1000);
            let decision = step(&mut self.state, input, &Context { at, entropy: u128::from(self.inputs) });
            if let Response::Decided(Outcome::Refused { refusal, .. }) = &decision.response {
                panic!("{input:?} is refused: {refusal}");
            }
            events.extend(decision.events);
        }
        if events.is_empty() {
            return self.state.last;
        }
        let commit = Commit { epoch: self.state.epoch, first, previous: self.hash, inbox: 0, events };
        let bytes = wire::encode(&commit);
        self.hash = Digest::of(&bytes);
        self.commits.push(StoredCommit { sequence: self.commits.len() as u64 + 1, bytes: bytes.into() });
        self.state.last
    }

    pub fn command(&mut self, actor: &str, order: impl Into<Order>) -> EventNumber {
        let input = self.order(actor, order);
        self.take(&[input])
    }

    pub fn order(&self, actor: &str, order: impl Into<Order>) -> Input {
        let id = format!("c{}", self.inputs + 1).parse().unwrap();
        Input::Command(Command { id, actor: actor.parse().unwrap(), order: order.into(), plan: None })
    }

    pub fn report(&mut self, servant: u128, news: impl Into<News>) -> EventNumber {
        let sender = Uuid::from_u128(servant);
        let number = self.numbers.entry(sender).or_default();
        *number += 1;
        let input = Input::Report(Report {
            id: ReportId { sender, epoch: 1, number: *number },
            at: Timestamp(BEGIN_MS),
            actor: format!("servant:s{servant}").parse().unwrap(),
            domain: DomainName::default_domain(),
            news: news.into(),
        });
        self.take(&[input])
    }

    pub fn join(&mut self, servant: u128) -> EventNumber {
        let facts = RegisterServant {
            servant: ServantId(Uuid::from_u128(servant)),
            name: format!("s{servant}").parse().unwrap(),
            capabilities: BTreeMap::new(),
            ports: PortRange::DEFAULT,
            cpus: 2,
            memory_bytes: 1 << 30,
            boot: "boot-1".into(),
            labels: events::Labels::new(),
        };
        self.report(servant, ServantNews::from(facts))
    }

    pub fn publish(&mut self, app: &str, version: Version) {
        let app: AppName = app.parse().unwrap();
        if !self.state.apps.contains_key(&app) {
            self.command("kingctl:ada", AppCommand::from(CreateApp { app: app.clone() }));
        }
        let run = CommandLine::Shell("run".into());
        let process =
            Process { ports: vec![], stop_grace_ms: 1000, ..Process::from_command(&ProcessName::web(), run) };
        let manifest = Manifest {
            build: None,
            needs: BTreeMap::new(),
            processes: BTreeMap::from([(ProcessName::web(), process)]),
            errors: None,
        };
        let archive = archive_of(&app, &version);
        let publish = PublishVersion { app, version, archive: Digest::of(&archive), manifest };
        self.command("kingctl:ada", VersionCommand::from(publish));
    }

    pub fn deploy(&mut self, app: &str, version: Version, count: u32) -> EventNumber {
        let order = DeployApp { app: app.parse().unwrap(), version, count: Some(count), process: None };
        self.command("kingctl:ada", AppCommand::from(order))
    }

    /// The instances of an app in the order of their making.
    pub fn instances(&self, app: &str) -> Vec<(InstanceId, u128)> {
        let app = &self.state.apps[&app.parse::<AppName>().unwrap()];
        self.state.instances_of(app).map(|(id, instance)| (id, instance.servant.0.as_u128())).collect()
    }

    /// Every instance of an app says that it runs and is healthy.
    pub fn bring_up(&mut self, app: &str) {
        for (instance, servant) in self.instances(app) {
            self.report(servant, InstanceNews::from(Started { instance, pid: 7, slot: None }));
            self.report(servant, InstanceNews::from(Ready { instance }));
        }
    }

    pub fn crash(&mut self, instance: InstanceId, servant: u128) -> EventNumber {
        let exited = Exited {
            instance,
            pid: 7,
            code: Some(1),
            signal: None,
            uptime_ms: 5000,
            restart_in_ms: Some(0),
            out_of_memory: None,
            slot: None,
        };
        self.report(servant, InstanceNews::from(exited))
    }

    /// What a King signs about the newest commit.
    pub fn sign(&self) -> Checkpoint {
        let mark = Mark {
            sequence: self.commits.len() as u64,
            event: self.state.last,
            hash: self.hash,
            state: self.state.hash(),
            at: self.state.at,
        };
        let signature = self.pair.sign(&mark.signed_bytes());
        Checkpoint {
            mark,
            key: self.key(),
            signature: Signature::from_bytes(signature.as_ref().try_into().unwrap()),
        }
    }

    /// A King signs the newest commit, and that becomes part of the log.
    pub fn checkpoint(&mut self) {
        let checkpoint = self.sign();
        self.command("king", KingCommand::from(RecordCheckpoint { king: KING, checkpoint }));
    }

    /// All of it as a backup file.
    pub fn file(&self) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new(), Timestamp(BEGIN_MS), "test");
        self.commits.iter().for_each(|commit| writer.commit(commit).unwrap());
        let needed = writer.commits_end().unwrap();
        for app in self.state.apps.iter() {
            for version in app.1.versions.keys() {
                let archive = archive_of(app.0, version);
                assert!(needed.contains(&Digest::of(&archive)));
                writer.artifact(Digest::of(&archive), archive.len() as u64, archive.as_slice()).unwrap();
            }
        }
        writer.finish(Some(self.sign())).unwrap().1
    }

    pub fn backup(&self) -> Backup<Cursor<Vec<u8>>> {
        Backup::open(Cursor::new(self.file())).unwrap()
    }

    /// All events of the log.
    pub fn events(&self) -> Vec<Event> {
        self.commits.iter().flat_map(|stored| stored.read().unwrap().events).collect()
    }
}

pub fn archive_of(app: &AppName, version: &Version) -> Vec<u8> {
    format!("the archive of {app} {version}").into_bytes()
}

/// A kingdom in which something has happened: two servants, two apps, a new release, crashes, a mail, a lost servant,
/// configuration, checkpoints.
pub fn lively() -> World {
    let mut world = World::new(5);
    world.join(11);
    world.join(12);
    world.publish("shop", Version::new(1, 0, 0));
    world.deploy("shop", Version::new(1, 0, 0), 3);
    world.bring_up("shop");
    world.checkpoint();
    let values = BTreeMap::from([("COLOUR".to_owned(), "green".to_owned())]);
    world.command("nats:bob", ConfigCommand::from(SetConfig { app: None, process: None, values }));
    world.publish("post", Version::new(0, 1, 0));
    world.deploy("post", Version::new(0, 1, 0), 1);
    world.bring_up("post");
    let (instance, servant) = world.instances("shop")[0];
    world.crash(instance, servant);
    plan_mail(&mut world, &format!("crash/{instance}"));
    world.report(servant, InstanceNews::from(Started { instance, pid: 8, slot: None }));
    world.report(servant, InstanceNews::from(Ready { instance }));
    world.checkpoint();
    world.publish("shop", Version::new(1, 1, 0));
    world.deploy("shop", Version::new(1, 1, 0), 2);
    for _ in 0..4 {
        world.bring_up("shop");
        world.take(&[Input::Tick]);
        let retired =
            world.instances("shop").into_iter().filter(|(id, _)| world.state.instances[id].is_retired());
        for (instance, servant) in retired.collect::<Vec<_>>() {
            world.report(servant, InstanceNews::from(Stopped { instance }));
        }
    }
    let lose = LoseServant { servant: ServantId(Uuid::from_u128(12)), silent_ms: 3000 };
    world.report(99, ServantNews::from(lose));
    world.elect();
    world.bring_up("shop");
    world.checkpoint();
    world
}

pub fn plan_mail(world: &mut World, incident: &str) -> EventNumber {
    let mail = Uuid::from_u128(u128::from(world.state.last));
    let plan = PlanMail {
        mail,
        incident: incident.to_owned(),
        phase: events::command::alert::MailPhase::Firing,
        subject: "something crashed".into(),
        body: "look at it".into(),
    };
    world.command("alerter", AlertCommand::from(plan));
    let result = events::command::alert::MailResult::Sent { via: "file".into() };
    world.command("alerter", AlertCommand::from(RecordMail { mail, result }))
}
