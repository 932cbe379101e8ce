//! Servants that die, come back, and are lost: what they run does not notice, and never runs twice.

use events::subject::Output;
use kingdom_tests::apps::{C_APP, COUNTER_APP};
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
