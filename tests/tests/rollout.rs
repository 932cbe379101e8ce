//! From one version to the next: the new ones first, never nobody, and the old ones stay when the new ones fail.

use kingdom_tests::apps::{BROKEN_BUILD, C_APP, C_YAML};
use kingdom_tests::{Kingdom, http, wait};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What matters of a rollout from two instances to two, in its order.
const ROLLOUT: [&str; 4] =
    ["instance.became-healthy", "instance.became-healthy", "instance.retired", "instance.retired"];

/// What somebody sees who asks all ports of the servant again and again.
#[derive(Debug, Default)]
struct Watched {
    rounds: u32,
    /// Rounds in which nobody answered.
    silent: u32,
    answers: BTreeSet<String>,
}

/// Asks every port until told to stop.
async fn watch(ports: (u16, u16), stop: Arc<AtomicBool>) -> Watched {
    let mut watched = Watched::default();
    while !stop.load(Ordering::Relaxed) {
        let mut somebody = false;
        for port in ports.0..=ports.1 {
            if let Ok(page) = http::page(port).await {
                watched.answers.insert(page);
                somebody = true;
            }
        }
        watched.rounds += 1;
        watched.silent += u32::from(!somebody);
    }
    watched
}

#[tokio::test]
async fn new_instances_are_healthy_before_old_ones_go() {
    let kingdom = Kingdom::start().await;
    let repository = kingdom.deploy("metal", C_APP, 2).await;
    // The second version takes its time to serve.
    repository.commit(&[("king.yaml", &C_YAML.replace("./server\n", "sleep 1.5; exec ./server\n"))]).await;
    repository.publish("v1.1.0").await;

    let stop = Arc::new(AtomicBool::new(false));
    let watching = tokio::spawn(watch(kingdom.servant_ports(), stop.clone()));
    kingdom.kingctl(&["app", "deploy", "metal@1.1.0", "--wait"]).await.success();
    stop.store(true, Ordering::Relaxed);
    let watched = watching.await.expect("the watch does not panic");

    assert!(watched.rounds > 3, "{watched:?}");
    assert_eq!(watched.silent, 0, "somebody answered in every round: {watched:?}");
    let both = ["c 1.0.0 none\n", "c 1.1.0 none\n"].map(str::to_owned);
    assert!(watched.answers.is_subset(&BTreeSet::from(both)), "{watched:?}");
    let instances = kingdom.instances("metal").await;
    assert_eq!(instances.len(), 2, "the old ones are gone: {instances:?}");
    assert!(instances.iter().all(|item| item["version"] == "1.1.0" && item["phase"] == "healthy"));
    assert_eq!(kingdom.runs().len(), 2, "and not only in the lists");

    let events = kingdom.client.events().await;
    let kinds: Vec<&str> = events.iter().map(|event| event.fact.kind()).collect();
    let deployed = kinds.iter().rposition(|kind| *kind == "app.deployed").expect("it was deployed");
    let of_rollout: Vec<&str> =
        kinds[deployed..].iter().copied().filter(|kind| ROLLOUT.contains(kind)).collect();
    assert_eq!(of_rollout, ROLLOUT, "both new ones are healthy before the first old one is retired");
}

#[tokio::test]
async fn a_version_that_does_not_build_leaves_the_old_one_running() {
    let kingdom = Kingdom::start().await;
    let repository = kingdom.deploy("metal", C_APP, 2).await;
    let before = kingdom.runs();
    repository.commit(BROKEN_BUILD).await;
    repository.publish("v1.1.0").await;

    let said = kingdom.kingctl(&["app", "deploy", "metal@1.1.0", "--wait"]).await.failure(1);
    assert!(said.contains("the-flux-is-missing"), "the reason is the build's own: {said}");
    let after = kingdom.runs();
    assert!(before.iter().all(|run| after.get(run.0) == Some(run.1)), "{before:?} {after:?}");
    let mut answering = 0;
    for item in kingdom.instances("metal").await {
        let port = item["ports"]["http"].as_u64().and_then(|port| u16::try_from(port).ok()).expect("a port");
        answering += u32::from(http::page(port).await.is_ok_and(|page| page == "c 1.0.0 none\n"));
    }
    assert_eq!(answering, 2);
    kingdom.mail_about(&["FIRING", "metal/web"]).await;

    // The way back is a deploy of the version before.
    kingdom.kingctl(&["app", "deploy", "metal@1.0.0", "--wait"]).await.success();
    let instances = kingdom.instances("metal").await;
    assert!(instances.len() == 2 && instances.iter().all(|item| item["version"] == "1.0.0"), "{instances:?}");
}

#[tokio::test]
async fn shared_configuration_reaches_the_environment_with_the_next_deploy() {
    let kingdom = Kingdom::start().await;
    kingdom.deploy("metal", C_APP, 1).await;
    let page = async || {
        let instances = kingdom.instances("metal").await;
        assert_eq!(instances.len(), 1, "{instances:?}");
        let port = instances[0]["ports"]["http"].as_u64().expect("a port");
        http::page(u16::try_from(port).expect("a port")).await.expect("it answers")
    };
    kingdom.client.accepted("config.set", json!({ "values": { "GREETING": "everywhere" } })).await;
    assert_eq!(page().await, "c 1.0.0 none\n", "nothing changes under a running release");
    kingdom.kingctl(&["app", "deploy", "metal@1.0.0", "--wait"]).await.success();
    assert_eq!(page().await, "c 1.0.0 everywhere\n");

    kingdom.kingctl(&["config", "set", "--app", "metal", "GREETING=here"]).await.success();
    kingdom.kingctl(&["app", "deploy", "metal@1.0.0", "--wait"]).await.success();
    assert_eq!(page().await, "c 1.0.0 here\n", "the app's own value wins");
    let listed = kingdom.kingctl_json(&["config", "ls"]).await;
    assert_eq!(listed.as_array().map(Vec::len), Some(2), "{listed}");

    kingdom.kingctl(&["config", "unset", "--app", "metal", "GREETING"]).await.success();
    kingdom.kingctl(&["app", "deploy", "metal@1.0.0", "--wait"]).await.success();
    assert_eq!(page().await, "c 1.0.0 everywhere\n");
}

#[tokio::test]
async fn what_no_servant_has_is_said_and_nothing_is_started() {
    let kingdom = Kingdom::start().await;
    let manifest = "processes:\n  web: {command: sleep 1000, ports: [http], needs: {node: \">= 999\"}}\n";
    let repository = kingdom.repository("future", &[("king.yaml", manifest)]).await;
    repository.publish("v1.0.0").await;
    let said = kingdom.kingctl(&["app", "deploy", "future@1.0.0", "--wait=2s"]).await.failure(6);
    assert!(said.contains("node") && said.contains("999"), "{said}");
    let app: Value = kingdom.client.query("app.show", json!({ "app": "future" })).await.remove(0);
    assert!(app["obstacles"].to_string().contains("node"), "{app}");
    wait::holds(kingdom.runs().is_empty(), || format!("{:?}", kingdom.runs())).expect("nothing was started");
}
