//! What happened and which mails that calls for, as text: each `stories/*.txt` beside its golden answer.
//!
//! A line of a story is `<seconds> <what> <who> …`; `tick` is the passing of time, `plan` puts the plans of all mails
//! so far into the log, and `in full` shows whole mails from there on.

use super::{Incidents, Notice};
use events::command::alert::MailPhase;
use events::disk::{Disk, DiskLevel};
use events::event::*;
use events::report::{PortRange, RegisterServant, Stage};
use events::subject::Output;
use events::{Cause, Event, Fact, InstanceId, ServantId, Timestamp};
use std::fmt::Write;
use uuid::Uuid;

/// 2026-11-20T10:00:00Z.
const START: u64 = 1_795_168_800_000;

fn id(name: &str) -> Uuid {
    Uuid::new_v5(&Uuid::nil(), name.as_bytes())
}

pub(super) fn event(number: u64, at: Timestamp, fact: impl Into<Fact>) -> Event {
    let (actor, cause) = (events::Actor::king(), Cause::Tick);
    Event { id: number, at, actor, cause, domain: events::DomainName::default_domain(), fact: fact.into() }
}

/// One kind of event by its words.
pub(super) fn fact(words: &[&str]) -> Fact {
    let instance = InstanceId(id(words[1]));
    let servant = ServantId(id(words[1]));
    let name = || words[1].parse().expect("a name");
    let number = |place: usize| words.get(place).map_or(0, |word| word.parse().expect("a number"));
    let instance_event: InstanceEvent = match words[0] {
        "placed" => {
            let (app, process) = words[2].split_once('/').expect("app/process");
            let (app, process) = (app.parse().expect("a name"), process.parse().expect("a name"));
            let servant = ServantId(id(words[3]));
            InstancePlaced { instance, app, process, release: 1, servant, ports: Default::default() }.into()
        }
        "started" => InstanceStarted { instance, pid: 100, slot: None }.into(),
        "crashed" => {
            let exit = if words[2] == "signal" { Exit::Signal(number(3)) } else { Exit::Code(number(3)) };
            InstanceCrashed {
                instance,
                pid: 100,
                exit,
                uptime_ms: 3200,
                restart_in_ms: Some(0),
                out_of_memory: None,
                slot: None,
            }
            .into()
        }
        "healthy" => InstanceBecameHealthy { instance }.into(),
        "unhealthy" => {
            InstanceBecameUnhealthy { instance, reason: "no answer".to_owned(), slot: None }.into()
        }
        "finished" => InstanceFinished { instance, pid: 100 }.into(),
        "looped" => InstanceCrashLooped { instance, crashes: 5, window_ms: 60_000, slot: None }.into(),
        "steadied" => InstanceSteadied { instance }.into(),
        "failed" => InstanceFailed {
            instance,
            stage: Stage::Build,
            reason: "npm: not found\nexit code 127".to_owned(),
        }
        .into(),
        "erred" => {
            let headline = format!("ERROR {} failed", words[2]);
            InstanceErred {
                instance,
                output: Output::Stderr,
                number: 7,
                read_at: Timestamp(START),
                pattern: "error-word".to_owned(),
                fingerprint: words[2].to_owned(),
                lines: vec!["GET /".to_owned(), headline.clone(), "    at pay".to_owned()],
                headline,
                repeats: number(3).unsigned_abs().into(),
                others: 0,
            }
            .into()
        }
        "retired" => InstanceRetired { instance, reason: RetireReason::ScaledDown }.into(),
        "stopped" => InstanceStopped { instance }.into(),
        "joined" => {
            let ports = PortRange::DEFAULT;
            let (capabilities, boot) = (Default::default(), String::new());
            let facts = RegisterServant {
                servant,
                name: name(),
                capabilities,
                ports,
                cpus: 2,
                memory_bytes: 1,
                boot,
                labels: events::Labels::new(),
            };
            return Fact::Servant(
                ServantJoined { domain: events::DomainName::default_domain(), facts }.into(),
            );
        }
        "lost" => return Fact::Servant(ServantLost { servant, name: name(), silent_ms: 3000 }.into()),
        "returned" => return Fact::Servant(ServantReturned { servant, name: name() }.into()),
        "disk" => {
            let level = match words[2] {
                "critical" => DiskLevel::Critical,
                "high" => DiskLevel::High,
                _ => DiskLevel::Normal,
            };
            let used_percent = u8::try_from(number(3)).expect("a percentage");
            let disk = Disk { level, used_percent, free_bytes: 3 << 20 };
            return Fact::Servant(ServantDiskChanged { servant, name: name(), disk }.into());
        }
        "removed" => return Fact::Servant(ServantRemoved { servant, name: name() }.into()),
        other => panic!("no such line: {other}"),
    };
    Fact::Instance(instance_event)
}

pub(super) fn plan_of(notice: &Notice) -> Fact {
    let Notice { mail, incident, phase, subject, body, .. } = notice.clone();
    Fact::Alert(MailPlanned { mail, incident, phase, subject, body }.into())
}

pub(super) fn at(seconds: f64) -> Timestamp {
    Timestamp(START + (seconds * 1000.0) as u64)
}

fn tell(story: &str) -> String {
    let mut incidents = Incidents::new("king", 10_000, 20_000);
    let (mut told, mut number, mut in_full) = (String::new(), 0, false);
    let mut unplanned: Vec<Notice> = Vec::new();
    for line in story.lines() {
        writeln!(told, "{line}").expect("a String takes everything");
        let words: Vec<_> = line.split_whitespace().collect();
        if words.is_empty() || line.starts_with('#') {
            continue;
        }
        let time = at(words[0].parse().expect("seconds"));
        let notices = match &words[1..] {
            ["in", "full"] => {
                in_full = true;
                Vec::new()
            }
            ["tick"] => incidents.tick(time),
            ["plan"] => {
                let plans: Vec<_> = std::mem::take(&mut unplanned).iter().map(plan_of).collect();
                let mut apply = |fact| {
                    number += 1;
                    incidents.apply(&event(number, time, fact))
                };
                plans.into_iter().flat_map(&mut apply).collect()
            }
            words => {
                number += 1;
                incidents.apply(&event(number, time, fact(words)))
            }
        };
        for notice in &notices {
            let phase = match notice.phase {
                MailPhase::Firing => "begins",
                MailPhase::Resolved => "ends",
            };
            let kind = notice.incident.split('/').next().unwrap_or_default();
            writeln!(told, "    ✉ {kind} {phase} by event {}: {}", notice.event, notice.subject)
                .expect("text");
            if in_full {
                for line in notice.body.lines() {
                    writeln!(told, "    │ {line}").expect("text");
                }
            }
        }
        unplanned.extend(notices);
    }
    told
}

macro_rules! stories {
    ($($name:ident),* $(,)?) => {$(
        #[test]
        fn $name() {
            insta::assert_snapshot!(stringify!($name), tell(include_str!(concat!("stories/", stringify!($name), ".txt"))));
        }
    )*};
}

stories!(crash, crash_loop, failed, servant, disk, errors, end_by_plan, in_full);
