//! Servants that die, come back, and are lost: what they run does not notice, and never runs twice.

use events::subject::Output;
use kingdom_tests::apps::{C_APP, COUNTER_APP, escaping_yaml};
use kingdom_tests::{Kingdom, Plan, http, output, strays, wait};
use serde_json::{Value, json};

/// The stored lines of the one instance of the counter, both streams counted without a gap.
async fn counted(kingdom: &Kingdom) -> Result<u64, String> {
    let stored = output::stored(&kingdom.client, "counter").await;
    assert!(stored.len() <= 2, "one instance has two streams");
    let mut least = u64::MAX;
    for ((_, stream), lines) in &stored {
        let word = match stream {
            Output::Stdout => "out",
            Output::Stderr => "err",
        };
        least = least.min(output::counts_without_a_gap(lines, word).unwrap_or_else(|gap| panic!("{gap}")));
    }
    if stored.len() == 2 { Ok(least) } else { Err("no line is stored yet".into()) }
}

async fn counted_beyond(kingdom: &Kingdom, count: u64) {
    wait::until(&format!("{count} lines are stored"), async || {
        let counted = counted(kingdom).await?;
        wait::holds(counted > count, || format!("{counted} lines"))
    })
    .await;
}

#[tokio::test]
async fn a_killed_servant_finds_its_instances_as_they_are() {
    let mut kingdom = Kingdom::start().await;
    kingdom.deploy("counter", COUNTER_APP, 1).await;
    kingdom.deploy("metal", C_APP, 2).await;
    counted_beyond(&kingdom, 20).await;
    let (runs, instances) = (kingdom.runs(), kingdom.client.query("instance.ls", json!({})).await);
    assert_eq!(runs.len(), 3);

    for round in 1..=2 {
        kingdom.kill9("s1");
        assert_eq!(kingdom.runs(), runs, "what runs does not need its servant");
        for item in instances.iter().filter(|item| item["app"] == "metal") {
            let port = item["ports"]["http"].as_u64().and_then(|port| u16::try_from(port).ok());
            http::page(port.expect("it has a port")).await.expect("it answers while its servant is dead");
        }
        kingdom.restart("s1").await;
        counted_beyond(&kingdom, 60 * round).await;
        assert_eq!(kingdom.runs(), runs, "the same processes, each once");
    }
    let pids = |items: &[Value]| -> Vec<Value> { items.iter().map(|item| item["pid"].clone()).collect() };
    let after = kingdom.client.query("instance.ls", json!({})).await;
    assert_eq!(pids(&after), pids(&instances));
    assert!(after.iter().all(|item| item["crashes"] == 0 && item["phase"] == "healthy"), "{after:?}");

    // The servant still is the one who cares for them.
    let victim = after.iter().find(|item| item["app"] == "metal").expect("it runs");
    let pid = victim["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).expect("a pid");
    strays::kill9(pid);
    wait::until("it is started again", async || {
        let instances = kingdom.client.ask("instance.ls", json!({ "app": "metal" })).await?;
        let back = |item: &Value| {
            item["instance"] == victim["instance"]
                && item["phase"] == "healthy"
                && item["pid"] != victim["pid"]
        };
        wait::holds(instances.iter().any(back), || format!("{instances:?}"))
    })
    .await;
}

#[tokio::test]
async fn no_line_is_lost_while_the_server_of_the_logs_is_away() {
    let mut kingdom = Kingdom::start().await;
    kingdom.deploy("counter", COUNTER_APP, 1).await;
    counted_beyond(&kingdom, 20).await;
    let runs = kingdom.runs();
    kingdom.kill9("nats");
    kingdom.kill9("s1");
    kingdom.restart("nats").await;
    kingdom.restart("s1").await;
    counted_beyond(&kingdom, 150).await;
    assert_eq!(kingdom.runs(), runs);
}

fn on<'a>(instances: &'a [Value], servant: &str) -> Vec<&'a Value> {
    instances.iter().filter(|item| item["servant"] == servant).collect()
}

#[tokio::test]
async fn the_instances_of_a_lost_servant_move_and_it_stops_them_when_it_is_back() {
    let mut kingdom = Kingdom::with(Plan { servants: 2, ..Plan::default() }).await;
    kingdom.deploy("metal", C_APP, 4).await;
    let before = kingdom.instances("metal").await;
    assert_eq!((on(&before, "s1").len(), on(&before, "s2").len()), (2, 2), "they are spread: {before:?}");
    let moved: Vec<Value> = on(&before, "s1").into_iter().map(|item| item["instance"].clone()).collect();

    kingdom.kill9("s1");
    wait::until("four run on the other", async || {
        let instances = kingdom.client.ask("instance.ls", json!({ "app": "metal" })).await?;
        let healthy = on(&instances, "s2").iter().filter(|item| item["phase"] == "healthy").count();
        wait::holds(healthy == 4, || format!("{instances:?}"))
    })
    .await;
    kingdom.mail_about(&["FIRING", "servant s1 is lost"]).await;
    let servants = kingdom.client.query("servant.ls", json!({})).await;
    assert_eq!(servants[0]["lost"], true, "{servants:?}");
    let still: Vec<String> = kingdom.runs().into_keys().collect();
    assert_eq!(still.len(), 6, "what a lost servant runs goes on, unseen: {still:?}");

    kingdom.restart("s1").await;
    wait::until("it has stopped what is no longer its own", async || {
        let runs = kingdom.runs();
        let left = moved.iter().filter(|id| runs.contains_key(id.as_str().unwrap_or_default())).count();
        wait::holds(left == 0 && runs.len() == 4, || format!("{runs:?}"))
    })
    .await;
    kingdom.settled("metal").await;
    let after = kingdom.instances("metal").await;
    assert_eq!(after.len(), 4, "{after:?}");
    assert!(after.iter().all(|item| item["phase"] == "healthy" && !moved.contains(&item["instance"])));
    kingdom.mail_about(&["RESOLVED", "servant s1"]).await;
    kingdom.all_servants_live().await;
}

/// Removes it as soon as it counts as lost.
async fn remove_s1(kingdom: &Kingdom) {
    wait::until("it can be removed", async || {
        let ended = kingdom.kingctl(&["servant", "remove", "s1", "--yes"]).await;
        wait::holds(ended.code == 0, || ended.stderr)
    })
    .await;
}

#[tokio::test]
async fn a_servant_that_was_removed_joins_anew_and_stops_what_it_ran() {
    let mut kingdom = Kingdom::with(Plan { servants: 2, ..Plan::default() }).await;
    kingdom.deploy("metal", C_APP, 2).await;
    kingdom.kingctl(&["servant", "remove", "s1", "--yes"]).await.failure(4);
    kingdom.kill9("s1");
    remove_s1(&kingdom).await;
    kingdom.settled("metal").await;
    let instances = kingdom.instances("metal").await;
    assert_eq!(on(&instances, "s2").len(), 2, "{instances:?}");
    assert_eq!(kingdom.client.query("servant.ls", json!({})).await.len(), 1);
    assert_eq!(kingdom.runs().len(), 3, "nobody could stop what it ran");

    kingdom.restart("s1").await;
    kingdom.all_servants_live().await;
    wait::until("two run in all", async || {
        wait::holds(kingdom.runs().len() == 2, || format!("{:?}", kingdom.runs()))
    })
    .await;
    kingdom.client.accepted("app.scale", json!({ "app": "metal", "count": 4 })).await;
    kingdom.settled("metal").await;
    assert_eq!(on(&kingdom.instances("metal").await, "s1").len(), 2, "it gets new ones");
}

#[tokio::test]
async fn a_servant_that_lost_its_folder_is_somebody_new_under_another_name() {
    let mut kingdom = Kingdom::start().await;
    let before = kingdom.client.query("servant.ls", json!({})).await;
    kingdom.kill9("s1");
    std::fs::remove_dir_all(kingdom.path().join("servant-s1")).expect("it had a folder");
    kingdom.start_service("s1");
    wait::until("it is refused", async || {
        wait::holds(kingdom.has_ended("s1"), || "it still runs".to_owned())
    })
    .await;
    let said = kingdom.said("s1");
    assert!(said.contains("is held by") && said.contains("servant remove"), "it says what to do: {said}");
    let after = kingdom.client.query("servant.ls", json!({})).await;
    assert_eq!((after.len(), &after[0]["servant"]), (1, &before[0]["servant"]));
    remove_s1(&kingdom).await;
    kingdom.restart("s1").await;
    kingdom.all_servants_live().await;
    let new = kingdom.client.query("servant.ls", json!({})).await;
    assert_ne!(new[0]["servant"], before[0]["servant"]);
    kingdom.deploy("metal", C_APP, 1).await;
}

#[tokio::test]
async fn nothing_is_left_of_instances_that_come_and_go_although_their_children_flee() {
    let kingdom = Kingdom::start().await;
    // By its name its processes are known when they have ended, too.
    let name = format!("flees{}", std::process::id());
    let program = kingdom.path().join(&name);
    std::os::unix::fs::symlink("/bin/sleep", &program).expect("the test's folder can be written");
    let yaml: &str = escaping_yaml(&program).leak();
    kingdom.deploy("flees", &[("king.yaml", yaml)], 3).await;
    let has_name = |seen: &strays::Seen| seen.command_line.contains(&name);
    let running = || strays::of_folder(kingdom.path()).into_iter().filter(has_name).count();
    let servant = kingdom.pid("s1");
    let mut open = None;
    for _ in 0..5 {
        wait::until("all of them run", async || {
            let running = running();
            wait::holds(running == 3 * 4, || format!("{running} run"))
        })
        .await;
        kingdom.kingctl(&["app", "scale", "flees", "0", "--wait"]).await.success();
        wait::until("nothing is left of them", async || {
            let (running, zombies) = (running(), strays::zombies(&name));
            let open = *open.get_or_insert_with(|| strays::descriptors(servant));
            let now = strays::descriptors(servant);
            wait::holds(running == 0 && zombies.is_empty() && now <= open, || {
                format!("{running} run, {zombies:?} are not reaped, {now} of {open} are open")
            })
        })
        .await;
        kingdom.kingctl(&["app", "scale", "flees", "3", "--wait"]).await.success();
    }
}
