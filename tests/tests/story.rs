//! What a user does, from `git push` to a living app and its end: the story of the README, on real programs.

use kingdom_tests::apps::{C_APP, NODE_APP, PYTHON_APP};
use kingdom_tests::{Kingdom, http, strays, wait};
use serde_json::{Value, json};

fn port(instance: &Value) -> u16 {
    instance["ports"]["http"].as_u64().and_then(|port| u16::try_from(port).ok()).expect("it has a port")
}

/// The pages of all instances of an app.
async fn pages(kingdom: &Kingdom, app: &str) -> Vec<String> {
    let mut pages = Vec::new();
    for instance in kingdom.instances(app).await {
        pages.push(http::page(port(&instance)).await.expect("a settled instance answers"));
    }
    pages
}

#[tokio::test]
async fn from_a_push_to_a_living_app() {
    let kingdom = Kingdom::start().await;
    let repository = kingdom.repository("hello", NODE_APP).await;
    repository.git(&["tag", "v1.0.0"]).await.success();
    repository.git(&["push", "king", "main", "v1.0.0"]).await.success();

    let printed =
        kingdom.kingctl(&["app", "deploy", "hello@1.0.0", "--count", "2", "--wait"]).await.success();
    let instances = kingdom.instances("hello").await;
    assert_eq!(instances.len(), 2, "{instances:?}");
    for instance in &instances {
        let address = format!("http://127.0.0.1:{}", port(instance));
        assert!(printed.contains(&address), "kingctl should print {address}: {printed}");
    }
    assert_eq!(pages(&kingdom, "hello").await, ["node 1.0.0 none\n", "node 1.0.0 none\n"]);

    let apps = kingdom.kingctl(&["app", "ls"]).await.success();
    assert!(apps.contains("hello") && apps.contains("1.0.0") && apps.contains("settled"), "{apps}");
    let list = kingdom.kingctl(&["instance", "ls"]).await.success();
    assert_eq!(list.matches("healthy").count(), 2, "{list}");
    let logs = wait::until("both instances have spoken", async || {
        let logs = kingdom.kingctl(&["logs", "hello"]).await.success();
        let both = logs.matches("node serves on").count() == 2;
        wait::holds(both, || logs.clone()).map(|()| logs)
    });
    logs.await;
    let events = kingdom.kingctl(&["event", "tail", "--since", "1", "--no-follow"]).await.success();
    for kind in ["app.created", "version.published", "app.deployed", "instance.became-healthy", "app.settled"]
    {
        assert!(events.contains(kind), "{kind} is missing in\n{events}");
    }
}

#[tokio::test]
async fn a_python_app_and_a_compiled_one_run_beside_each_other() {
    let kingdom = Kingdom::start().await;
    kingdom.deploy("snake", PYTHON_APP, 2).await;
    kingdom.deploy("metal", C_APP, 2).await;
    assert_eq!(pages(&kingdom, "snake").await, ["python 1.0.0 none\n", "python 1.0.0 none\n"]);
    assert_eq!(pages(&kingdom, "metal").await, ["c 1.0.0 none\n", "c 1.0.0 none\n"]);
    let mut ports: Vec<u16> = Vec::new();
    for app in ["snake", "metal"] {
        ports.extend(kingdom.instances(app).await.iter().map(port));
    }
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 4, "no port twice");
}

#[tokio::test]
async fn plain_json_scales_and_a_queued_command_survives_the_absence_of_the_king() {
    let mut kingdom = Kingdom::start().await;
    kingdom.deploy("metal", C_APP, 1).await;

    kingdom.client.accepted("app.scale", json!({ "app": "metal", "count": 3 })).await;
    kingdom.settled("metal").await;
    assert_eq!(pages(&kingdom, "metal").await.len(), 3);

    let before = kingdom.runs();
    kingdom.kill9("king");
    kingdom.client.queue("app.scale", json!({ "app": "metal", "count": 2 })).await;
    assert_eq!(kingdom.runs(), before, "what runs does not need a King");
    kingdom.restart("king").await;
    wait::until("the queued command is done", async || {
        let instances = kingdom.client.ask("instance.ls", json!({ "app": "metal" })).await?;
        wait::holds(instances.len() == 2, || format!("{instances:?}"))
    })
    .await;
    let after = kingdom.runs();
    assert_eq!(after.len(), 2);
    assert!(after.iter().all(|run| before.get(run.0) == Some(run.1)), "the others kept their processes");
}

#[tokio::test]
async fn a_killed_instance_is_back_at_once_and_a_mail_tells_of_it() {
    let kingdom = Kingdom::start().await;
    kingdom.deploy("metal", C_APP, 2).await;
    let before = kingdom.instances("metal").await;
    let (id, pid) = (before[0]["instance"].clone(), before[0]["pid"].as_u64().expect("it runs"));

    strays::kill9(u32::try_from(pid).expect("a pid"));
    wait::until("its successor is healthy", async || {
        let instances = kingdom.client.ask("instance.ls", json!({ "app": "metal" })).await?;
        let back = |item: &Value| {
            item["instance"] == id && item["phase"] == "healthy" && item["pid"] != pid && item["crashes"] == 1
        };
        wait::holds(instances.iter().any(back), || format!("{instances:?}"))
    })
    .await;
    assert_eq!(pages(&kingdom, "metal").await.len(), 2);
    let untouched = kingdom.instances("metal").await.into_iter().find(|item| item["instance"] != id);
    assert_eq!(untouched.expect("the other one")["pid"], before[1]["pid"], "its neighbour was left alone");

    let printed =
        kingdom.kingctl(&["event", "tail", "--since", "1", "--no-follow", "--app", "metal"]).await.success();
    let crashed = printed.find("instance.crashed").expect("the crash is an event");
    let again = printed[crashed..].contains("instance.started");
    assert!(again, "instance.started follows instance.crashed:\n{printed}");

    let firing = kingdom.mail_about(&["FIRING", "metal/web", "crashed"]).await;
    assert!(firing.contains("killed by SIGKILL"), "{firing}");
    kingdom.mail_about(&["RESOLVED", "metal/web"]).await;
}

#[tokio::test]
async fn an_app_is_stopped_started_again_and_removed() {
    let kingdom = Kingdom::start().await;
    let repository = kingdom.deploy("metal", C_APP, 2).await;

    kingdom.kingctl(&["app", "stop", "metal", "--wait"]).await.success();
    assert_eq!(kingdom.instances("metal").await, Vec::<Value>::new());
    assert!(kingdom.runs().is_empty(), "nothing runs: {:?}", kingdom.runs());

    kingdom.kingctl(&["app", "scale", "metal", "1", "--wait"]).await.success();
    assert_eq!(pages(&kingdom, "metal").await, ["c 1.0.0 none\n"]);

    kingdom.kingctl(&["app", "remove", "metal"]).await.failure(2);
    assert_eq!(kingdom.runs().len(), 1, "without --yes nothing is removed");
    kingdom.kingctl(&["app", "remove", "metal", "--yes"]).await.success();
    wait::until("nothing runs", async || {
        wait::holds(kingdom.runs().is_empty(), || format!("{:?}", kingdom.runs()))
    })
    .await;
    kingdom.kingctl(&["app", "show", "metal"]).await.failure(3);

    // The name is free again, and what is pushed to it is a new app.
    repository.git(&["push", "--quiet", "king", "main", "v1.0.0"]).await.success();
    kingdom.kingctl(&["app", "deploy", "metal@1.0.0", "--wait"]).await.success();
    assert_eq!(pages(&kingdom, "metal").await, ["c 1.0.0 none\n"]);
}
