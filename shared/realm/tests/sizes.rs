//! Sizes: however large an input is, what it leads to fits into a commit, and refusals stay short.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use events::command::{CreateApp, DeployApp, PublishVersion, PushApp, RefChange};
use events::limits::BYTES_PER_INPUT;
use events::report::{News, PortRange, RegisterServant};
use events::*;
use realm::{Context, Decision, Input, Response, State, step};
use std::collections::BTreeMap;
use uuid::Uuid;

fn take(state: &mut State, order: impl Into<Order>) -> Decision {
    let id = format!("c{}", state.last).parse().unwrap();
    let command = Command { id, actor: Actor::anonymous(), order: order.into(), plan: None };
    step(state, &Input::Command(command), &Context { at: Timestamp(1), entropy: u128::from(state.last) })
}

fn app() -> AppName {
    "a".repeat(63).parse().unwrap()
}

fn refusal(decision: Decision) -> Refusal {
    match decision.response {
        Response::Decided(Outcome::Refused { refusal, .. }) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn a_version_of_any_length_is_refused_in_few_words() {
    let mut state = State::default();
    take(&mut state, command::AppCommand::from(CreateApp { app: app() }));
    let version = format!("1.0.0-{}", "a".repeat(300_000)).parse().unwrap();
    let deploy = DeployApp { app: app(), version, count: None, process: None };
    let decision = take(&mut state, command::AppCommand::from(deploy));
    assert!(decision.encoded.len() < 2048, "{} bytes", decision.encoded.len());
    assert_eq!(refusal(decision).field, "version");
}

#[test]
fn a_push_of_more_references_than_fit_is_refused_whole() {
    let mut state = State::default();
    let change = |n| RefChange {
        name: format!("refs/heads/{n:0>200}"),
        old: None,
        new: Some(CommitHash::from_bytes([7; 20])),
    };
    let push =
        PushApp { app: app(), refs: (0..5000).map(change).collect(), bundle: None, versions: Vec::new() };
    let decision = take(&mut state, command::AppCommand::from(push));
    assert!(refusal(decision).rule.contains("bytes of events"));
    assert!(state.apps.is_empty(), "nothing of it was done");
}

#[test]
fn thousands_of_wide_instances_are_placed_in_inputs_that_fit() {
    let mut state = State::default();
    let sender = Uuid::from_u128(1);
    let facts = RegisterServant {
        servant: ServantId(sender),
        name: "s".parse().unwrap(),
        capabilities: BTreeMap::new(),
        ports: PortRange { first: 1024, last: 65_535 },
        cpus: 1,
        memory_bytes: 1,
        boot: "b".into(),
        labels: events::Labels::new(),
    };
    let report = Report {
        id: ReportId { sender, epoch: 1, number: 1 },
        at: Timestamp(1),
        actor: Actor::anonymous(),
        domain: DomainName::default_domain(),
        news: News::Servant(facts.into()),
    };
    step(&mut state, &Input::Report(report), &Context { at: Timestamp(1), entropy: 1 });
    take(&mut state, command::AppCommand::from(CreateApp { app: app() }));
    let ports: Vec<String> = (0..8).map(|n| format!("\"{n}{}\"", "p".repeat(62))).collect();
    let web = format!(r#"{{"command":"x","ports":[{}]}}"#, ports.join(","));
    let manifest = format!(r#"{{"processes":{{"{}":{web}}}}}"#, "w".repeat(63));
    let publish = PublishVersion {
        app: app(),
        version: semver::Version::new(1, 0, 0),
        archive: Digest::ZERO,
        manifest: serde_json::from_str(&manifest).unwrap(),
    };
    take(&mut state, command::VersionCommand::from(publish));
    let deploy =
        DeployApp { app: app(), version: semver::Version::new(1, 0, 0), count: Some(900), process: None };
    let first = take(&mut state, command::AppCommand::from(deploy));
    assert!(first.encoded.len() <= BYTES_PER_INPUT && first.events.len() > 100);
    for tick in 0..10 {
        step(&mut state, &Input::Tick, &Context { at: Timestamp(2), entropy: 1000 + tick });
    }
    assert_eq!(state.instances.len(), 900);
}
