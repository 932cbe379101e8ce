//! One example of everything that can be stored, sent or reported, written out by hand, so that a new kind without an
//! example is missed by the tests.

use events::command::alert::{MailPhase, MailResult};
use events::command::app::Bundle;
use events::command::*;
use events::disk::{Cleaned, Disk, DiskLevel, Removable, RemovalReason, Removed};
use events::event::*;
use events::exec::{ExecEnd, ExecOutcome, Limits, Stdio, Terminal, TerminalSize};
use events::manifest::{CommandLine, HealthCheck, Manifest, Process, Restart};
use events::report::{self, PortRange, RegisterServant, Stage};
use events::subject::Output;
use events::*;
use ring::signature::{Ed25519KeyPair, KeyPair};
use semver::Version;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

pub fn app() -> AppName {
    "shop".parse().unwrap()
}

pub fn web() -> ProcessName {
    ProcessName::web()
}

pub fn instance() -> InstanceId {
    InstanceId(Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0001))
}

pub fn servant() -> ServantId {
    ServantId(Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0002))
}

fn mail() -> Uuid {
    Uuid::from_u128(0x0192_0000_0000_5000_8000_0000_0000_0003)
}

fn id() -> CommandId {
    "deploy-1".parse().unwrap()
}

fn version() -> Version {
    Version::new(1, 4, 0)
}

fn digest() -> Digest {
    Digest::from_bytes([7; 32])
}

fn event_name() -> EventName {
    "order-placed".parse().unwrap()
}

fn fields() -> Fields {
    let fields = serde_json::json!({ "id": 7, "total": 12.5, "items": ["a", { "b": null }], "is-new": true });
    Fields::new(fields.as_object().unwrap().clone()).unwrap()
}

fn commit() -> CommitHash {
    CommitHash::from_bytes([9; 20])
}

pub fn king() -> KingId {
    KingId(Uuid::from_u128(1))
}

fn exec() -> ExecId {
    ExecId(Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0004))
}

fn outcome() -> ExecOutcome {
    ExecOutcome { end: ExecEnd::Code(1), duration_ms: 812, output_bytes: 70_000, discarded_bytes: 0 }
}

fn requested() -> ExecRequested {
    ExecRequested {
        exec: exec(),
        servants: vec![servant()],
        selector: Some("role=web,!old".parse().unwrap()),
        instance: None,
        left_out: vec![LeftOut { servant: "beta".parse().unwrap(), reason: "is lost".into() }],
        command: vec!["uname".into(), "-a".into()],
        stdio: Stdio::Output,
        limits: Limits::default(),
    }
}

/// Signed with the key whose seed is 32 times 5.
fn checkpoint() -> Checkpoint {
    let mark = Mark {
        sequence: 40,
        event: 41,
        hash: digest(),
        state: Digest::from_bytes([6; 32]),
        at: Timestamp(1_795_171_626_000),
    };
    let pair = Ed25519KeyPair::from_seed_unchecked(&[5; 32]).unwrap();
    let mut key = [0; 32];
    key.copy_from_slice(pair.public_key().as_ref());
    let mut signature = [0; 64];
    signature.copy_from_slice(pair.sign(&mark.signed_bytes()).as_ref());
    Checkpoint { mark, key: KingKey::from_bytes(key), signature: Signature::from_bytes(signature) }
}

fn ports() -> BTreeMap<PortName, u16> {
    BTreeMap::from([(PortName::http(), 20_000)])
}

fn refs() -> Vec<RefChange> {
    vec![RefChange { name: "refs/heads/main".into(), old: None, new: Some(commit()) }]
}

fn bundle() -> Bundle {
    Bundle { digest: digest(), replaces: vec![Digest::from_bytes([8; 32])] }
}

fn facts() -> RegisterServant {
    RegisterServant {
        servant: servant(),
        name: "alpha".parse().unwrap(),
        capabilities: BTreeMap::from([("node".into(), "20.20.2".into())]),
        ports: PortRange::DEFAULT,
        cpus: 2,
        memory_bytes: 24 << 30,
        boot: "4c4a9281-b3bd-4f25-bb86-6d027da9c4ff".into(),
        labels: events::Labels::new(),
    }
}

pub fn manifest() -> Manifest {
    let health =
        HealthCheck { path: Some("/healthz".into()), port: Some(PortName::http()), ..HealthCheck::default() };
    let server = Process {
        env: BTreeMap::from([("COLOUR".into(), "green".into())]),
        health: Some(health),
        restart: Restart::OnFailure,
        needs: BTreeMap::from([("node".into(), ">=18".parse().unwrap())]),
        ..Process::from_command(&web(), CommandLine::Shell("node server.js".into()))
    };
    let worker = Process::from_command(
        &"worker".parse().unwrap(),
        CommandLine::Exec(vec!["work".into(), "-v".into()]),
    );
    Manifest {
        build: Some(CommandLine::Shell("npm ci".into())),
        needs: BTreeMap::from([("git".into(), "*".parse().unwrap())]),
        processes: BTreeMap::from([(web(), server), ("worker".parse().unwrap(), worker)]),
        errors: None,
    }
}

fn image() -> ImageName {
    "shop/web:1".parse().unwrap()
}

fn refusal() -> Refusal {
    Refusal {
        code: RefusalCode::Unknown,
        field: "app".into(),
        rule: "there is none".into(),
        fix: "push it".into(),
    }
}

pub fn facts_of_every_kind() -> Vec<Fact> {
    let mut facts: Vec<Fact> = app_facts();
    facts.extend(instance_facts().into_iter().map(Fact::Instance));
    facts.extend(servant_facts().into_iter().map(Fact::Servant));
    facts.extend(other_facts());
    facts
}

fn app_facts() -> Vec<Fact> {
    let counts = BTreeMap::from([(web(), 2)]);
    let apps: [AppEvent; 8] = [
        AppCreated { app: app() }.into(),
        AppPushed { app: app(), refs: refs(), bundle: Some(bundle()) }.into(),
        AppDeployed { app: app(), release: 3, counts: counts.clone() }.into(),
        AppScaled { app: app(), counts }.into(),
        AppSettled { app: app(), release: 3 }.into(),
        AppImageAdded { app: app(), image: image(), archive: digest(), bytes: 4096 }.into(),
        AppRemoved { app: app() }.into(),
        AppEmitted {
            app: app(),
            process: web(),
            instance: instance(),
            servant: servant(),
            name: event_name(),
            fields: fields(),
            emitted_at: Timestamp(1_795_171_626_000),
            dropped: 3,
        }
        .into(),
    ];
    apps.into_iter().map(Fact::App).collect()
}

fn instance_facts() -> Vec<InstanceEvent> {
    let instance = instance();
    vec![
        InstancePlaced {
            instance,
            app: app(),
            process: web(),
            release: 3,
            servant: servant(),
            ports: ports(),
        }
        .into(),
        InstanceStarted { instance, pid: 4711, slot: None }.into(),
        InstanceBecameHealthy { instance }.into(),
        InstanceBecameUnhealthy { instance, reason: "GET /healthz answered 500".into(), slot: None }.into(),
        InstanceCrashed {
            instance,
            pid: 4711,
            exit: Exit::Signal(9),
            uptime_ms: 812,
            restart_in_ms: Some(0),
            out_of_memory: None,
            slot: None,
        }
        .into(),
        InstanceFinished { instance, pid: 4711 }.into(),
        InstanceCrashLooped { instance, crashes: 5, window_ms: 60_000, slot: None }.into(),
        InstanceSteadied { instance }.into(),
        InstanceFailed { instance, stage: Stage::Build, reason: "npm ERR!".into() }.into(),
        InstancePortsReplaced { instance, taken: 20_000, ports: ports() }.into(),
        InstanceHalted { instance }.into(),
        InstanceRetired { instance, reason: RetireReason::ServantLost }.into(),
        InstanceStopped { instance }.into(),
        InstanceErred {
            instance,
            output: Output::Stderr,
            number: 12,
            read_at: Timestamp(1_795_171_620_123),
            pattern: "go-panic".into(),
            fingerprint: "00c0ffee00c0ffee".into(),
            headline: "panic: no route to host".into(),
            lines: vec!["panic: no route to host".into(), "goroutine 1 [running]:".into()],
            repeats: 3,
            others: 1,
        }
        .into(),
        InstanceRestartOrdered { instance }.into(),
        InstanceWorkersScaled { instance, from: 2, to: 3, cpu: Some(81) }.into(),
    ]
}

fn disk() -> Disk {
    Disk { level: DiskLevel::Critical, used_percent: 96, free_bytes: 1 << 30 }
}

fn cleaned() -> Cleaned {
    let (what, why) = (Removable::Release, RemovalReason::Room);
    let removed = vec![Removed { what, name: "shop release 2".into(), bytes: 70_000_000, why }];
    Cleaned { removed, more: 3, bytes: 90_000_000 }
}

fn servant_facts() -> Vec<ServantEvent> {
    let (servant, name) = (servant(), facts().name);
    vec![
        ServantJoined { domain: DomainName::default_domain(), facts: facts() }.into(),
        ServantChanged { domain: DomainName::default_domain(), facts: facts() }.into(),
        ServantLost { servant, name: name.clone(), silent_ms: 3000 }.into(),
        ServantReturned { servant, name: name.clone() }.into(),
        ServantRemoved { servant, name: name.clone() }.into(),
        ServantDiskChanged { servant, name: name.clone(), disk: disk() }.into(),
        ServantDiskCleaned { servant, name, cleaned: cleaned() }.into(),
    ]
}

fn other_facts() -> Vec<Fact> {
    let environments = BTreeMap::from([(web(), BTreeMap::from([("A".into(), "1".into())]))]);
    let values = BTreeMap::from([("COLOUR".into(), "green".into())]);
    let keys = BTreeSet::from(["COLOUR".into()]);
    let published = VersionPublished {
        app: app(),
        version: version(),
        commit: Some(commit()),
        archive: digest(),
        manifest: Box::new(manifest()),
    };
    let built = VersionImageBuilt {
        app: app(),
        version: version(),
        dockerfile: "Dockerfile".into(),
        image: digest(),
        bytes: 4096,
        instance: instance(),
    };
    let release =
        ReleaseCreated { app: app(), release: 3, version: version(), environments, images: BTreeMap::new() };
    let planned = MailPlanned {
        mail: mail(),
        incident: format!("crash/{}", instance()),
        phase: MailPhase::Firing,
        subject: "[King] FIRING shop/web crashed on alpha".into(),
        body: "It crashed.\n".into(),
    };
    vec![
        Fact::Version(published.into()),
        Fact::Version(built.into()),
        Fact::Release(release.into()),
        Fact::Config(ConfigSet { app: Some(app()), process: None, values }.into()),
        Fact::Config(ConfigUnset { app: Some(app()), process: Some(web()), keys }.into()),
        Fact::Command(CommandAccepted { id: id(), command: "app.deploy".into(), release: Some(3) }.into()),
        Fact::Command(CommandRefused { id: id(), command: "app.deploy".into(), refusal: refusal() }.into()),
        Fact::Alert(planned.into()),
        Fact::Alert(MailSent { mail: mail(), via: "smtp://127.0.0.1:25".into() }.into()),
        Fact::Alert(MailFailed { mail: mail(), reason: "550 no such user".into() }.into()),
        Fact::King(KingElected { king: king(), epoch: 2, key: Some(checkpoint().key) }.into()),
        Fact::King(KingCheckpointed { king: king(), checkpoint: Box::new(checkpoint()) }.into()),
        Fact::Exec(Box::new(requested()).into()),
        Fact::Exec(ExecCancelled { exec: exec() }.into()),
        Fact::Exec(ExecEnded { exec: exec(), servant: servant(), outcome: outcome() }.into()),
    ]
}

pub fn event(fact: Fact) -> Event {
    Event {
        id: 42,
        at: Timestamp(1_795_171_626_000),
        actor: "kingctl:ada".parse().unwrap(),
        cause: Cause::Command(id()),
        domain: DomainName::default_domain(),
        fact,
    }
}

pub fn orders_of_every_kind() -> Vec<Order> {
    let spec = VersionSpec { version: version(), commit: commit(), archive: digest(), manifest: manifest() };
    let push = PushApp { app: app(), refs: refs(), bundle: Some(bundle()), versions: vec![spec] };
    let publish = PublishVersion { app: app(), version: version(), archive: digest(), manifest: manifest() };
    let values = BTreeMap::from([("COLOUR".into(), "green".into())]);
    let plan = PlanMail {
        mail: mail(),
        incident: "servant-lost/alpha".into(),
        phase: MailPhase::Resolved,
        subject: "[King] RESOLVED alpha is back".into(),
        body: "It is back.\n".into(),
    };
    vec![
        Order::App(CreateApp { app: app() }.into()),
        Order::App(push.into()),
        Order::App(DeployApp { app: app(), version: version(), count: Some(2), process: Some(web()) }.into()),
        Order::App(ScaleApp { app: app(), process: None, count: 5 }.into()),
        Order::App(StopApp { app: app(), process: None }.into()),
        Order::App(RemoveApp { app: app() }.into()),
        Order::App(AddImage { app: app(), image: image(), archive: digest(), bytes: 4096 }.into()),
        Order::Version(publish.into()),
        Order::Config(SetConfig { app: None, process: None, values }.into()),
        Order::Config(
            UnsetConfig { app: Some(app()), process: None, keys: BTreeSet::from(["A".into()]) }.into(),
        ),
        Order::Servant(RemoveServant { servant: "alpha".parse().unwrap() }.into()),
        Order::Instance(RestartInstance { instance: instance() }.into()),
        Order::Alert(plan.into()),
        Order::Alert(RecordMail { mail: mail(), result: MailResult::Sent { via: "file".into() } }.into()),
        Order::King(RecordCheckpoint { king: king(), checkpoint: checkpoint() }.into()),
        Order::Exec(request().into()),
        Order::Exec(CancelExec { exec: exec() }.into()),
    ]
}

fn request() -> RequestExec {
    let size = TerminalSize { rows: 24, columns: 80 };
    RequestExec {
        exec: exec(),
        servants: vec!["alpha".parse().unwrap()],
        selector: None,
        instance: None,
        command: vec!["top".into()],
        stdio: Stdio::Terminal(Terminal { size, term: "xterm-256color".into() }),
        limits: Limits { time_ms: 60_000, output_bytes: 1 << 20 },
    }
}

pub fn news_of_every_kind() -> Vec<News> {
    let instance = instance();
    let exited = report::Exited {
        instance,
        pid: 4711,
        code: None,
        signal: Some(9),
        uptime_ms: 812,
        restart_in_ms: Some(0),
        out_of_memory: None,
        slot: None,
    };
    vec![
        News::Servant(facts().into()),
        News::Servant(report::LoseServant { servant: servant(), silent_ms: 3000 }.into()),
        News::Servant(report::ReturnServant { servant: servant() }.into()),
        News::Servant(report::MeasureDisk { servant: servant(), disk: disk() }.into()),
        News::Servant(report::CleanDisk { servant: servant(), cleaned: cleaned() }.into()),
        News::Instance(report::Started { instance, pid: 4711, slot: None }.into()),
        News::Instance(report::Ready { instance }.into()),
        News::Instance(report::Unhealthy { instance, reason: "timed out".into(), slot: None }.into()),
        News::Instance(exited.into()),
        News::Instance(report::Looping { instance, crashes: 5, window_ms: 60_000, slot: None }.into()),
        News::Instance(report::Steady { instance }.into()),
        News::Instance(report::Failed { instance, stage: Stage::Unpack, reason: "../up".into() }.into()),
        News::Instance(report::PortTaken { instance, port: 20_000 }.into()),
        News::Instance(
            report::ImageBuilt { instance, dockerfile: "Dockerfile".into(), image: digest(), bytes: 4096 }
                .into(),
        ),
        News::Instance(report::Stopped { instance }.into()),
        News::Instance(report::Emitted { instance, name: event_name(), fields: fields(), dropped: 0 }.into()),
        News::Exec(report::EndedExec { exec: exec(), outcome: outcome() }.into()),
        News::Instance(
            report::Erred {
                instance,
                output: Output::Stdout,
                number: 12,
                at: Timestamp(1_795_171_620_123),
                pattern: "error-word".into(),
                fingerprint: "00c0ffee00c0ffee".into(),
                headline: "ERROR no route to host".into(),
                lines: vec!["ERROR no route to host".into()],
                repeats: 3,
                others: 0,
            }
            .into(),
        ),
        News::Instance(report::Scaled { instance, from: 2, to: 3, cpu: Some(81) }.into()),
    ]
}

pub fn report(news: News) -> Report {
    Report {
        id: ReportId { sender: servant().0, epoch: 1_795_171_626_000, number: 7 },
        at: Timestamp(1_795_171_626_000),
        actor: "servant:alpha".parse().unwrap(),
        domain: DomainName::default_domain(),
        news,
    }
}
