//! Any NATS client can be a citizen: here nats-py, which shares no line with the kingdom's own.

use kingdom_tests::apps::C_APP;
use kingdom_tests::command::run;
use kingdom_tests::{Kingdom, programs, wait};
use serde_json::Value;
use std::path::Path;
use tokio::process::Command;

async fn python(kingdom: &Kingdom, script: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/other_clients").join(script);
    let mut command = Command::new(programs::python());
    command.arg(path).arg(kingdom.nats_url());
    let printed = run(command).await.success();
    printed.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

#[tokio::test]
async fn a_python_client_deploys_by_request_and_by_queue_and_hears_the_events() {
    let kingdom = Kingdom::start().await;
    let repository = kingdom.repository("metal", C_APP).await;
    repository.publish("v1.0.0").await;

    let lines = python(&kingdom, "citizen.py").await;
    let by = |what: &str| -> Vec<&Value> { lines.iter().filter(|line| line["what"] == what).collect() };

    let answers = by("answer");
    assert_eq!(answers.len(), 3, "{lines:?}");
    assert_eq!(answers[0]["body"]["status"], "accepted", "{lines:?}");
    assert_eq!(answers[0]["body"]["release"], 1);
    assert_eq!(answers[1]["body"], answers[0]["body"], "the same id again has the same outcome");
    assert_eq!(answers[2]["body"]["status"], "refused", "{lines:?}");
    let refusal = answers[2]["body"]["refusal"].to_string();
    assert!(refusal.contains("9.9.9"), "{refusal}");

    let heard: Vec<&str> = by("event").iter().filter_map(|line| line["subject"].as_str()).collect();
    for verb in [".app.metal.deployed", ".became-healthy", ".app.metal.scaled", ".app.metal.settled"] {
        assert!(heard.iter().any(|subject| subject.contains(verb)), "{verb} is not in {heard:?}");
    }
    let numbers: Vec<u64> = by("event").iter().filter_map(|line| line["id"].as_str()?.parse().ok()).collect();
    assert!(numbers.len() > 5 && numbers.is_sorted_by(|one, next| one < next), "in order: {numbers:?}");
    let kinds =
        by("event").iter().all(|line| line["type"].as_str().is_some_and(|kind| kind.starts_with("king.")));
    assert!(kinds, "CloudEvents headers: {lines:?}");

    wait::until("the queued deploy is done", async || {
        let instances = kingdom.instances("metal").await;
        wait::holds(instances.len() == 3, || format!("{instances:?}"))
    })
    .await;
}
