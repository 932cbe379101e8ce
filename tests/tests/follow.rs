//! `kingctl` that follows: output, events and deploys, each once and in order, although services die meanwhile.

use kingdom_tests::apps::COUNTER_APP;
use kingdom_tests::process::Process;
use kingdom_tests::{Kingdom, wait};
use rustix::process::Signal;
use serde_json::{Value, json};

fn json_lines(process: &Process) -> Vec<Value> {
    let output = process.output();
    // The last line may not be whole yet.
    let whole = output.rfind('\n').map_or("", |end| &output[..end]);
    whole.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[tokio::test]
async fn followed_output_is_whole_although_servant_and_king_die() {
    let mut kingdom = Kingdom::start().await;
    kingdom.deploy("counter", COUNTER_APP, 1).await;
    let mut follower =
        kingdom.kingctl_process(&["logs", "counter", "--follow", "-n", "100000", "-o", "json"]);
    follower.start();
    let stdout = |follower: &Process| -> Vec<u64> {
        let lines = json_lines(follower).into_iter().filter(|line| line["output"] == "stdout");
        lines.filter_map(|line| line["number"].as_u64()).collect()
    };
    let reaches = async |follower: &Process, count: u64| {
        wait::until(&format!("line {count} is printed"), async || {
            let last = stdout(follower).last().copied().unwrap_or(0);
            wait::holds(last >= count, || {
                format!("{last}: {}", follower.output().lines().last().unwrap_or(""))
            })
        })
        .await;
    };
    reaches(&follower, 20).await;
    kingdom.kill9("s1");
    kingdom.restart("s1").await;
    reaches(&follower, 80).await;
    kingdom.kill9("king");
    kingdom.restart("king").await;
    reaches(&follower, 120).await;
    kingdom.kill9("nats");
    kingdom.restart("nats").await;
    reaches(&follower, 200).await;
    let numbers = stdout(&follower);
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "each line once, in order");
    follower.signal(Signal::TERM);
    follower.ended(wait::PATIENCE).await;
}

#[tokio::test]
async fn followed_events_are_whole_although_king_and_server_die() {
    let mut kingdom = Kingdom::start().await;
    let mut follower = kingdom.kingctl_process(&["event", "tail", "--since", "1", "-o", "json"]);
    follower.start();
    for (round, victim) in ["king", "nats", "king", "nats"].into_iter().enumerate() {
        for number in 0..10 {
            let (id, body) =
                (format!("event-{round}-{number}"), json!({ "app": format!("app-{round}-{number}") }));
            kingdom.client.command_until_answered(&id, "app.create", &body).await;
        }
        kingdom.kill9(victim);
        kingdom.restart(victim).await;
    }
    let answer = kingdom.client.command_until_answered("last", "app.create", &json!({ "app": "last" })).await;
    let last = answer["event"].as_u64().expect("it is accepted");
    let numbers = wait::until("the last event is printed", async || {
        let numbers: Vec<u64> =
            json_lines(&follower).iter().filter_map(|event| event["id"].as_u64()).collect();
        wait::holds(numbers.last() >= Some(&last), || format!("{:?}", numbers.last())).map(|()| numbers)
    })
    .await;
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "each once, in order");
    follower.signal(Signal::TERM);
    follower.ended(wait::PATIENCE).await;
}

const SLOW: &str = "processes:\n  web: {command: \"sleep 2; exec python3 -m http.server $PORT --bind 127.0.0.1\", \
                    ports: [http], stop_grace: 1s}\n";

#[tokio::test]
async fn a_deploy_that_is_waited_for_outlives_its_king() {
    let mut kingdom = Kingdom::start().await;
    let repository = kingdom.repository("slow", &[("king.yaml", SLOW)]).await;
    repository.publish("v1.0.0").await;
    let mut waiting = kingdom.kingctl_process(&["app", "deploy", "slow@1.0.0", "--count", "2", "--wait"]);
    waiting.start();
    wait::until("it is being deployed", async || {
        let instances = kingdom.client.ask("instance.ls", json!({})).await?;
        wait::holds(instances.len() == 2, || format!("{instances:?}"))
    })
    .await;
    assert!(!waiting.has_ended(), "it is not done before its instances are healthy: {}", waiting.output());
    kingdom.kill9("king");
    kingdom.restart("king").await;
    let status = waiting.ended(wait::PATIENCE).await;
    assert!(status.success(), "{status}: {}", waiting.output());
    let instances = kingdom.instances("slow").await;
    assert!(instances.iter().all(|item| item["phase"] == "healthy"), "{instances:?}");
    assert!(waiting.output().contains("http://127.0.0.1:"), "{}", waiting.output());
}

#[tokio::test]
async fn without_a_king_a_command_says_so_and_is_not_done_later() {
    let mut kingdom = Kingdom::start().await;
    kingdom.kill9("king");
    let said = kingdom.kingctl(&["--timeout", "1s", "app", "create", "late"]).await.failure(1);
    assert!(said.to_lowercase().contains("king"), "{said}");
    kingdom.restart("king").await;
    kingdom.client.accepted("app.create", json!({ "app": "after" })).await;
    let apps = kingdom.client.query("app.ls", json!({})).await;
    assert_eq!(apps.len(), 1, "{apps:?}");
}
