//! The past of a real kingdom: found, explained, shown as it was, replayed, proved, kept in a file, and brought back.

use futures_util::StreamExt;
use kingdom_tests::apps::IDLE_APP;
use kingdom_tests::cluster::{Cluster, SERVERS};
use kingdom_tests::command::run;
use kingdom_tests::process::clean_environment;
use kingdom_tests::{Kingdom, replay, wait};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use tokio::process::Command;

/// A kingdom in which an app was deployed, crashed once and was scaled; and the events before and after the scaling.
async fn lively() -> (Kingdom, u64, u64) {
    let kingdom = Kingdom::start().await;
    kingdom.deploy("idle", IDLE_APP, 1).await;
    let pid = kingdom.instances("idle").await[0]["pid"].as_u64().expect("it runs");
    kill9(pid);
    wait::until("the instance runs again", async || {
        let instance = kingdom.client.ask("instance.ls", json!({ "app": "idle" })).await?.remove(0);
        let again = instance["phase"] == "healthy" && instance["crashes"] == 1;
        wait::holds(again, || instance.to_string())
    })
    .await;
    kingdom.settled("idle").await;
    let before = newest(&kingdom).await;
    kingdom.kingctl(&["app", "scale", "idle", "2", "--wait"]).await.success();
    let after = newest(&kingdom).await;
    (kingdom, before, after)
}

fn kill9(pid: u64) {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it lives");
}

async fn newest(kingdom: &Kingdom) -> u64 {
    kingdom.client.king().await["event"].as_u64().expect("a number")
}

/// The lines of a call that prints one object a line.
async fn lines(kingdom: &Kingdom, arguments: &[&str]) -> Vec<Value> {
    let printed = kingdom.kingctl(arguments).await.success();
    printed.lines().map(|line| serde_json::from_str(line).expect("an object a line")).collect()
}

fn ids(events: &[Value]) -> Vec<u64> {
    events.iter().map(|event| event["id"].as_u64().expect("a number")).collect()
}

fn kinds(links: &Value) -> Vec<&str> {
    links
        .as_array()
        .expect("a list")
        .iter()
        .map(|link| link["event"]["kind"].as_str().expect("a kind"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_past_is_told_by_the_king_and_by_a_file_alike() {
    let (kingdom, before, after) = lively().await;
    let file = kingdom.path().join("the.backup");
    let file = file.to_str().expect("a text");
    kingdom.kingctl(&["backup", "create", file]).await.success();
    let (from, to) = (before.to_string(), after.to_string());
    events_are_found(&kingdom, &[]).await;
    events_are_found(&kingdom, &["--file", file]).await;
    a_crash_is_explained(&kingdom, &[]).await;
    a_crash_is_explained(&kingdom, &["--file", file]).await;
    the_scaling_is_seen(&kingdom, &from, &to, &[]).await;
    the_scaling_is_seen(&kingdom, &from, &to, &["--file", file]).await;
    everything_is_played_and_exported(&kingdom, &to, &[]).await;
    everything_is_played_and_exported(&kingdom, &to, &["--file", file]).await;
}

async fn events_are_found(kingdom: &Kingdom, source: &[&str]) {
    let ls = async |filter: &[&str]| {
        lines(kingdom, &[&["event", "ls", "-o", "json"], filter, source].concat()).await
    };
    let all = ls(&["-n", "1000"]).await;
    assert_eq!(ids(&all), (1..=all.len() as u64).collect::<Vec<_>>());
    let of_noun = ls(&["--noun", "instance"]).await;
    assert!(
        of_noun.iter().all(|event| event["kind"].as_str().is_some_and(|kind| kind.starts_with("instance.")))
    );
    let wanted =
        all.iter().filter(|event| event["kind"].as_str().is_some_and(|kind| kind.starts_with("instance.")));
    assert_eq!(of_noun.len(), wanted.count());
    let commands = ls(&["--actor", "tester", "--noun", "command"]).await;
    assert_eq!(commands.len(), 2, "a deploy and a scaling: {commands:?}");
    assert_eq!(ls(&["--app", "idle", "--servant", "s1", "--noun", "instance"]).await, of_noun);
    assert!(ls(&["--app", "other"]).await.is_empty());
    assert_eq!(ids(&ls(&["--since", "3", "--until", "7", "-n", "2"]).await), [6, 7]);
    // The mail that the crash is over may have come meanwhile.
    let lately = ls(&["--since", "1h ago", "-n", "1000"]).await;
    assert!(lately.starts_with(&all), "{lately:?} begins otherwise than {all:?}");
    assert!(ls(&["--until", "2001-01-01"]).await.is_empty());
}

async fn a_crash_is_explained(kingdom: &Kingdom, source: &[&str]) {
    let found =
        lines(kingdom, &[&["event", "ls", "--noun", "instance", "-o", "json"], source].concat()).await;
    let crash = found.iter().find(|event| event["kind"] == "instance.crashed").expect("it crashed");
    let number = crash["id"].to_string();
    let chain = kingdom.kingctl_json(&[&["event", "show", &number], source].concat()).await;
    assert_eq!(kinds(&chain["causes"]), ["instance.placed", "command.accepted"]);
    assert_eq!(chain["causes"][1]["event"]["actor"], "kingctl:tester");
    let deploy = chain["causes"][1]["event"]["id"].to_string();
    let chain = kingdom.kingctl_json(&[&["event", "show", &deploy], source].concat()).await;
    assert_eq!(chain["event"]["data"]["command"], "app.deploy");
    let placed = chain["consequences"].as_array().expect("a list");
    let placed =
        placed.iter().find(|link| link["event"]["kind"] == "instance.placed").expect("it was placed");
    let life = kinds(&placed["led_to"]);
    assert!(life.starts_with(&["instance.started", "instance.became-healthy"]), "{life:?}");
    assert!(life.contains(&"instance.crashed"), "{life:?}");
    let told = kingdom.kingctl(&[&["event", "show", &number], source].concat()).await.success();
    assert!(told.contains("because of") && told.contains("app.deploy"), "{told}");
    kingdom.kingctl(&[&["event", "show", "999999"], source].concat()).await.failure(3);
}

async fn the_scaling_is_seen(kingdom: &Kingdom, from: &str, to: &str, source: &[&str]) {
    let wanted = async |at: &str| {
        let apps = kingdom.kingctl_json(&[&["state", "show", "--at", at, "app"], source].concat()).await;
        apps[0]["processes"][0]["wanted"].as_u64()
    };
    assert_eq!((wanted(from).await, wanted(to).await), (Some(1), Some(2)));
    let whole = kingdom.kingctl_json(&[&["state", "show", "--at", to], source].concat()).await;
    assert_eq!(
        (&whole[0]["apps"], &whole[0]["instances"], &whole[0]["servants"]),
        (&json!(1), &json!(2), &json!(1))
    );
    let changes = kingdom.kingctl_json(&[&["state", "diff", from, to], source].concat()).await;
    let changes = changes.as_array().expect("a list");
    let of = |noun: &str| changes.iter().filter(|change| change["noun"] == noun).collect::<Vec<_>>();
    assert_eq!(of("app")[0]["fields"], json!([{ "field": "counts.worker", "before": 1, "after": 2 }]));
    assert_eq!((of("instance").len(), &of("instance")[0]["change"]), (1, &json!("added")));
    let told =
        kingdom.kingctl(&[&["state", "diff", from, to, "--noun", "app"], source].concat()).await.success();
    assert_eq!(told, "~ app idle\n    counts.worker: 1 → 2\n");
    kingdom.kingctl(&[&["state", "show", "--at", "999999"], source].concat()).await.failure(3);
}

async fn everything_is_played_and_exported(kingdom: &Kingdom, to: &str, source: &[&str]) {
    let last: u64 = to.parse().expect("a number");
    let played = lines(kingdom, &[&["replay", "--speed", "max", "--to", to], source].concat()).await;
    assert_eq!(ids(&played), (1..=last).collect::<Vec<_>>());
    let exported = lines(kingdom, &[&["audit", "export", "--until", to], source].concat()).await;
    assert_eq!(exported, played);
    let some = ["audit", "export", "--format", "csv", "--since", "2", "--until", "4"];
    let csv = kingdom.kingctl(&[&some, source].concat()).await.success();
    assert_eq!(csv.lines().count(), 4, "{csv}");
    kingdom.kingctl(&[&["replay", "--to-subject", "king.event.x"], source].concat()).await.failure(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_replayed_to_a_subject_of_others() {
    let kingdom = Kingdom::start().await;
    let mut heard = kingdom.client.nats.subscribe("audit.replay").await.expect("the server lives");
    kingdom.client.nats.flush().await.expect("the server knows of it");
    kingdom
        .kingctl(&["replay", "--speed", "max", "--to", "2", "--to-subject", "audit.replay"])
        .await
        .success();
    for number in 1..=2 {
        let message = heard.next().await.expect("it was published");
        let headers = message.headers.expect("it has headers");
        let header = |name: &str| headers.get(name).map(|value| value.as_str().to_owned());
        assert_eq!(header("ce-id"), Some(number.to_string()));
        let event: events::Event = events::wire::decode(&message.payload).expect("an event");
        assert_eq!(header("ce-type"), Some(format!("king.{}", event.fact.kind())));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_signed_and_proved() {
    let (kingdom, ..) = lively().await;
    let keys = kingdom.kingctl_json(&["audit", "key"]).await;
    assert_eq!((keys.as_array().map(Vec::len), &keys[0]["answers"]), (Some(1), &json!(true)));
    let signed = kingdom.kingctl(&["audit", "checkpoint"]).await.success();
    let held = kingdom.path().join("held.json");
    std::fs::write(&held, &signed).expect("written");
    let (held, key) = (held.to_str().expect("a text"), keys[0]["key"].as_str().expect("a key"));
    let told = kingdom.kingctl(&["audit", "verify", "--checkpoint", held, "--key", key]).await.success();
    assert!(told.contains("1 beside it fit"), "{told}");
    let stranger = "00".repeat(32);
    let told = kingdom.kingctl(&["audit", "verify", "--key", &stranger]).await.failure(4);
    assert!(told.contains("commit 1 is the first"), "{told}");
    std::fs::write(held, signed.replacen("\"event\": ", "\"event\": 1", 1)).expect("written");
    let told = kingdom.kingctl(&["audit", "verify", "--checkpoint", held]).await.failure(1);
    assert!(told.contains("the checkpoint was changed"), "{told}");
    a_signature_is_recorded(&kingdom, &signed).await;
}

/// What a King signed can be handed in by anybody, once.
async fn a_signature_is_recorded(kingdom: &Kingdom, signed: &str) {
    let checkpoint: Value = serde_json::from_str(signed).expect("a checkpoint");
    let order = json!({ "king": kingdom.client.king().await["king"], "checkpoint": checkpoint });
    let answer = kingdom.client.command("king.checkpoint", order.clone()).await;
    assert_eq!(answer["status"], "accepted", "{answer}");
    let answer = kingdom.client.command("king.checkpoint", order).await;
    assert_eq!(answer["refusal"]["code"], "conflict", "{answer}");
    let told = kingdom.kingctl(&["audit", "verify"]).await.success();
    assert!(told.contains("signed: 1 checkpoints in the log"), "{told}");
    replay::equals_live(&kingdom.client).await;
}

/// Removes what a King and a NATS server keep: the site is empty then.
fn empty_the_site(folder: &Path) {
    for part in ["jetstream", "king"] {
        let path: PathBuf = folder.join(part);
        std::fs::remove_dir_all(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_brought_back_and_what_runs_goes_on() {
    let (mut kingdom, _, _) = lively().await;
    let file = kingdom.path().join("the.backup");
    let file = file.to_str().expect("a text").to_owned();
    let made = kingdom.kingctl_json(&["backup", "create", &file]).await;
    kingdom.kingctl(&["backup", "create", &file]).await.failure(4);
    kingdom.kingctl(&["audit", "verify", "--file", &file]).await.success();
    // Nothing has happened since, so the log is that of the backup; but a King lives.
    let epoch = kingdom.client.king().await["epoch"].clone();
    let told = kingdom.kingctl(&["backup", "restore", &file]).await.failure(4);
    assert!(told.contains("lives there") && told.contains("nothing was restored"), "{told}");
    assert_eq!(kingdom.client.king().await["epoch"], epoch);
    // What happens after the backup is lost with the site, and the servant must believe the older log all the same.
    kingdom.kill9("king");
    kingdom.restart("king").await;
    kingdom.kingctl(&["config", "set", "COLOUR=green"]).await.success();
    let ran: BTreeSet<u64> = pids(&kingdom).await;
    kingdom.kill9("king");
    let told = kingdom.kingctl(&["backup", "restore", &file]).await.failure(4);
    assert!(told.contains("is not empty") && told.contains("nothing was restored"), "{told}");
    kingdom.kill9("nats");
    empty_the_site(kingdom.path());
    kingdom.restart("nats").await;
    let restored = kingdom.kingctl_json(&["backup", "restore", &file]).await;
    assert_eq!(restored, made);
    kingdom.kingctl(&["backup", "restore", &file]).await.failure(4);
    kingdom.restart("king").await;
    let state = kingdom.kingctl_json(&["state", "show", "--at", &made[0]["event"].to_string()]).await;
    assert_eq!(state[0]["state_hash"], made[0]["state_hash"]);
    kingdom.all_servants_live().await;
    kingdom.settled("idle").await;
    assert_eq!(pids(&kingdom).await, ran, "the instances went on");
    kingdom.kingctl(&["app", "scale", "idle", "3", "--wait"]).await.success();
    assert!(pids(&kingdom).await.is_superset(&ran));
    kingdom.kingctl(&["audit", "verify"]).await.success();
    replay::equals_live(&kingdom.client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kingdom_goes_from_one_server_to_three_and_what_runs_goes_on() {
    let (mut kingdom, _, _) = lively().await;
    let ran: BTreeSet<u64> = pids(&kingdom).await;
    let file = kingdom.path().join("the.backup");
    let file = file.to_str().expect("a text").to_owned();
    for service in ["king", "foreman", "alerter"] {
        kingdom.kill9(service);
    }
    // Nobody writes any more: what is in the backup is all there ever was.
    let made = kingdom.kingctl_json(&["backup", "create", &file]).await;
    kingdom.kill9("s1");
    kingdom.kill9("nats");
    let cluster = Cluster::start(&kingdom.path().join("three"), &kingdom.path().join("log")).await;
    kingdom.move_to(&cluster).await;
    let restored = kingdom.kingctl_json(&["backup", "restore", &file]).await;
    assert_eq!(restored, made);
    std::fs::remove_dir_all(kingdom.path().join("king")).expect("a King of the new site begins anew");
    kingdom.restart("king").await;
    let state = kingdom.kingctl_json(&["state", "show", "--at", &made[0]["event"].to_string()]).await;
    assert_eq!(state[0]["state_hash"], made[0]["state_hash"]);
    for service in ["foreman", "alerter", "s1"] {
        kingdom.start_service(service);
    }
    kingdom.all_servants_live().await;
    kingdom.settled("idle").await;
    assert_eq!(pids(&kingdom).await, ran, "the instances went on");
    for stream in kingdom.client.stream_names().await.expect("the servers answer") {
        let copies = kingdom.client.stream(&stream).await.cached_info().config.num_replicas;
        assert_eq!(copies, SERVERS, "{stream} is on every server");
    }
    kingdom.kingctl(&["app", "scale", "idle", "3", "--wait"]).await.success();
    kingdom.kingctl(&["audit", "verify"]).await.success();
    replay::equals_live(&kingdom.client).await;
}

async fn pids(kingdom: &Kingdom) -> BTreeSet<u64> {
    kingdom.instances("idle").await.iter().filter_map(|instance| instance["pid"].as_u64()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_refused_when_it_was_changed() {
    let kingdom = Kingdom::start().await;
    let file = kingdom.path().join("the.backup");
    let path = file.to_str().expect("a text");
    kingdom.kingctl(&["backup", "create", path]).await.success();
    kingdom.kingctl(&["backup", "show", path]).await.success();
    let mut bytes = std::fs::read(&file).expect("it was made");
    bytes[600] ^= 1;
    std::fs::write(&file, bytes).expect("written");
    let told = kingdom.kingctl(&["backup", "show", path]).await.failure(1);
    assert!(told.contains("damaged"), "{told}");
    let mut tar = Command::new("tar");
    tar.arg("tf").arg(&file).env_clear().envs(clean_environment());
    assert!(run(tar).await.success().contains("manifest.json"));
}
