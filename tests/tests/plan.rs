//! What-if on real processes: a plan does nothing, its token does what it showed, and the world may move meanwhile.

use kingdom_tests::apps::IDLE_APP;
use kingdom_tests::{Kingdom, wait};
use serde_json::{Value, json};

fn kinds(events: &Value) -> Vec<&str> {
    let events = events.as_array().expect("a list of events");
    events.iter().map(|event| event["kind"].as_str().expect("a kind")).collect()
}

fn link_kinds(links: &Value) -> Vec<&str> {
    let links = links.as_array().expect("a list of links");
    links.iter().map(|link| link["event"]["kind"].as_str().expect("a kind")).collect()
}

#[tokio::test]
async fn a_plan_is_shown_then_done_or_refused() {
    let kingdom = Kingdom::start().await;
    kingdom.deploy("good", IDLE_APP, 1).await;
    let (before, events) =
        (kingdom.client.king().await["state_hash"].clone(), kingdom.client.events().await.len());

    let shown = kingdom.kingctl(&["app", "scale", "good", "4", "--plan"]).await.success();
    for words in [
        "app.scaled",
        "instance.placed",
        "+ instance new-3",
        "counts.worker: 1 -> 4",
        "servant=s1",
        "--plan-token",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let plan = &kingdom.kingctl_json(&["app", "scale", "good", "4", "--plan"]).await[0];
    let removal = &kingdom.kingctl_json(&["app", "remove", "good", "--plan"]).await[0];
    assert_eq!(kinds(&removal["events"]), ["app.removed"]);
    assert_eq!(kingdom.client.king().await["state_hash"], before, "plans change nothing");
    assert_eq!(kingdom.client.events().await.len(), events, "plans are not recorded");

    let token = plan["token"].as_str().expect("a token");
    kingdom.kingctl(&["app", "scale", "good", "4", "--plan-token", token]).await.success();
    let done = kingdom.client.events().await.split_off(events);
    let done: Vec<&str> = done.iter().map(|event| event.fact.kind()).take(5).collect();
    assert_eq!(done, [kinds(&plan["events"]), vec!["command.accepted"]].concat());

    // The counts that the removal was planned on are others now.
    let token = removal["token"].as_str().expect("a token");
    let said = kingdom.kingctl(&["app", "remove", "good", "--yes", "--plan-token", token]).await.failure(4);
    assert!(said.contains("the world has moved"), "{said}");
    assert_eq!(kingdom.client.query("app.ls", json!({})).await.len(), 1, "nothing was removed");
}

#[tokio::test]
async fn explanations_come_from_the_scheduler() {
    let kingdom = Kingdom::start().await;
    kingdom.deploy("good", IDLE_APP, 1).await;
    let instance = kingdom.instances("good").await.remove(0);
    let (id, servant) = (instance["instance"].as_str().expect("an id"), instance["servant"].as_str());
    let why = kingdom.kingctl(&["why", "instance", id]).await.success();
    assert!(why.contains("release 1 of good shall run") && why.contains("WHY NOT"), "{why}");
    assert!(why.contains("because of") && why.contains("command.accepted app.deploy"), "{why}");
    let why = &kingdom.kingctl_json(&["why", "instance", id]).await[0];
    // Who began it is the last.
    assert_eq!(link_kinds(&why["causes"]).last(), Some(&"command.accepted"), "{why}");
    assert!(link_kinds(&why["causes"]).contains(&"instance.placed"), "{why}");
    let servant = servant.expect("a name");
    let standing = &kingdom.kingctl_json(&["why-not", "good", servant]).await[0];
    assert_eq!(standing["standing"], "runs", "{standing}");
    kingdom.kingctl(&["why-not", "good", "nobody"]).await.failure(3);
    kingdom.kingctl(&["why-not", "nobody", servant]).await.failure(3);
    kingdom.kingctl(&["app", "stop", "good", "--wait"]).await.success();
    let said = wait::until("the instance is gone", async || {
        let ended = kingdom.kingctl(&["why", "instance", id]).await;
        wait::holds(ended.code == 3, || format!("{ended:?}")).map(|()| ended.stderr)
    });
    let said = said.await;
    assert!(said.contains("is gone") && said.contains("kingctl event show"), "{said}");
    let said = kingdom.kingctl(&["why", "instance", "019a1c2e-6f0b-7c11-8f4e-3a5d1c9b7e10"]).await.failure(3);
    assert!(said.contains("never was"), "{said}");
}
