//! Trouble that is no single death: power loss, silence, a second King, a process that hangs, an app that cannot live.

use kingdom_tests::apps::{C_APP, IDLE_APP};
use kingdom_tests::kingdom::SERVICES;
use kingdom_tests::process::Process;
use kingdom_tests::{Kingdom, Plan, programs, replay, strays, wait};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

fn ids(instances: &[Value]) -> BTreeSet<String> {
    instances.iter().map(|item| item["instance"].as_str().expect("it has an id").to_owned()).collect()
}

async fn healthy(kingdom: &Kingdom, app: &str, count: usize) -> Vec<Value> {
    wait::until(&format!("{count} instances of {app} are healthy"), async || {
        let instances = kingdom.client.ask("instance.ls", json!({ "app": app })).await?;
        let all = instances.iter().filter(|item| item["phase"] == "healthy").count() == count;
        let runs = kingdom.runs();
        let run = |item: &Value| {
            let pids = runs.get(item["instance"].as_str().unwrap_or_default());
            pids.is_some_and(|pids| pids.len() == 1 && item["pid"] == pids[0])
        };
        let whole = all && instances.len() == count && instances.iter().all(run);
        wait::holds(whole, || format!("{instances:?} and {runs:?}")).map(|()| instances)
    })
    .await
}

#[tokio::test]
async fn after_a_power_loss_everything_is_as_it_was() {
    let mut kingdom = Kingdom::start().await;
    kingdom.deploy("metal", C_APP, 2).await;
    kingdom.deploy("idle", IDLE_APP, 1).await;
    for number in 0..50 {
        kingdom.client.accepted("config.set", json!({ "values": { format!("KEY_{number}"): "x" } })).await;
    }
    let (metal, idle) = (kingdom.instances("metal").await, kingdom.instances("idle").await);
    let before = replay::equals_live(&kingdom.client).await;

    for name in SERVICES {
        kingdom.kill9(name);
    }
    strays::kill_all(kingdom.path());
    assert!(kingdom.runs().is_empty());
    for name in SERVICES {
        kingdom.restart(name).await;
    }
    kingdom.all_servants_live().await;
    assert_eq!(ids(&healthy(&kingdom, "metal", 2).await), ids(&metal));
    assert_eq!(ids(&healthy(&kingdom, "idle", 1).await), ids(&idle));
    let after = replay::equals_live(&kingdom.client).await;
    assert_eq!(after.events[..before.events.len()], before.events, "what was said is not taken back");
    assert_eq!(after.state.epoch, before.state.epoch + 1);
}

#[tokio::test]
async fn a_silent_server_loses_no_servant_and_moves_nothing() {
    let mut kingdom = Kingdom::with(Plan { servants: 2, ..Plan::default() }).await;
    kingdom.deploy("metal", C_APP, 2).await;
    let (runs, begun) = (kingdom.runs(), Instant::now());
    kingdom.kill9("nats");
    wait::until("the silence is longer than a servant's may be", async || {
        wait::holds(begun.elapsed() > Duration::from_secs(5), || format!("{:?}", begun.elapsed()))
    })
    .await;
    kingdom.restart("nats").await;
    kingdom.is_ready().await;
    let event = kingdom.client.accepted("app.scale", json!({ "app": "metal", "count": 3 })).await;
    healthy(&kingdom, "metal", 3).await;
    let after = kingdom.runs();
    assert!(runs.iter().all(|run| after.get(run.0) == Some(run.1)), "{runs:?} {after:?}");
    let lost = |event: &&events::Event| event.fact.kind() == "servant.lost";
    let events = kingdom.client.events().await;
    assert!(events.len() as u64 >= event);
    assert_eq!(events.iter().filter(lost).count(), 0, "nobody was deaf but the server");
}

#[tokio::test]
async fn a_servant_that_hangs_is_lost_and_stops_what_moved_when_it_wakes() {
    let mut kingdom = Kingdom::with(Plan { servants: 2, ..Plan::default() }).await;
    kingdom.deploy("metal", C_APP, 2).await;
    let before = kingdom.instances("metal").await;
    let hung = before.iter().find(|item| item["servant"] == "s2").expect("they are spread").clone();
    kingdom.signal("s2", Signal::STOP);
    wait::until("both are healthy on the other", async || {
        let instances = kingdom.client.ask("instance.ls", json!({ "servant": "s1" })).await?;
        let count = instances.iter().filter(|item| item["phase"] == "healthy").count();
        wait::holds(count == 2, || format!("{instances:?}"))
    })
    .await;
    kingdom.signal("s2", Signal::CONT);
    let after = healthy(&kingdom, "metal", 2).await;
    assert!(!ids(&after).contains(hung["instance"].as_str().expect("it has an id")));
    wait::until("two run in all", async || {
        wait::holds(kingdom.runs().len() == 2, || format!("{:?}", kingdom.runs()))
    })
    .await;
    kingdom.all_servants_live().await;
}

#[tokio::test]
async fn what_was_accepted_happens_although_the_king_dies_at_once() {
    let mut kingdom = Kingdom::start().await;
    kingdom.deploy("idle", IDLE_APP, 1).await;
    for count in [3, 1, 2, 4, 2, 1, 3, 2] {
        kingdom.client.accepted("app.scale", json!({ "app": "idle", "count": count })).await;
        kingdom.kill9("king");
        kingdom.restart("king").await;
        healthy(&kingdom, "idle", count).await;
    }
    replay::equals_live(&kingdom.client).await;
}

const SLOW: &str = "processes:\n  web: {command: \"sleep 1; exec python3 -m http.server $PORT --bind 127.0.0.1\", ports: [http], stop_grace: 1s}\n";

#[tokio::test]
async fn a_rollout_goes_on_under_a_new_king() {
    let mut kingdom = Kingdom::start().await;
    let repository = kingdom.deploy("slow", &[("king.yaml", SLOW)], 2).await;
    let old = ids(&kingdom.instances("slow").await);
    repository.commit(&[("change", "1")]).await;
    repository.publish("v1.1.0").await;
    kingdom.client.accepted("app.deploy", json!({ "app": "slow", "version": "1.1.0" })).await;
    wait::until("the new ones start", async || {
        wait::holds(kingdom.runs().len() > 2, || format!("{:?}", kingdom.runs()))
    })
    .await;
    kingdom.kill9("king");
    let runs = kingdom.runs();
    assert!(old.iter().all(|id| runs.contains_key(id)), "without a King nothing old is stopped");
    kingdom.restart("king").await;
    kingdom.settled("slow").await;
    let new = healthy(&kingdom, "slow", 2).await;
    assert!(new.iter().all(|item| item["version"] == "1.1.0"), "{new:?}");
    assert!(ids(&new).is_disjoint(&old));
}

#[tokio::test]
async fn an_app_that_cannot_live_is_a_crash_loop_until_a_better_version_comes() {
    let kingdom = Kingdom::start().await;
    let manifest = "processes:\n  web: {command: \"echo no flux here; exit 7\", ports: [http]}\n";
    let repository = kingdom.repository("doomed", &[("king.yaml", manifest)]).await;
    repository.publish("v1.0.0").await;
    let said = kingdom.kingctl(&["app", "deploy", "doomed@1.0.0", "--wait"]).await.failure(1);
    assert!(said.contains("crashes again and again") && said.contains("no flux here"), "{said}");
    kingdom.mail_about(&["FIRING", "doomed/web", "crash-loops"]).await;
    let shown = kingdom.kingctl(&["app", "show", "doomed"]).await.success();
    assert!(shown.contains("failing"), "{shown}");

    repository.commit(C_APP).await;
    repository.publish("v1.0.1").await;
    kingdom.kingctl(&["app", "deploy", "doomed@1.0.1", "--wait"]).await.success();
    kingdom.mail_about(&["RESOLVED", "doomed/web"]).await;
    assert_eq!(kingdom.runs().len(), 1, "the doomed one is given up");
}

#[tokio::test]
async fn an_app_waits_for_the_servant_that_it_needs() {
    let mut kingdom = Kingdom::start().await;
    kingdom.kill9("s1");
    wait::until("it is lost", async || {
        let servants = kingdom.client.ask("servant.ls", json!({})).await?;
        wait::holds(servants[0]["lost"] == true, || format!("{servants:?}"))
    })
    .await;
    let repository = kingdom.repository("metal", C_APP).await;
    repository.publish("v1.0.0").await;
    let said = kingdom.kingctl(&["app", "deploy", "metal@1.0.0", "--wait=1s"]).await.failure(6);
    assert!(said.contains("s1") && said.contains("lost"), "{said}");
    kingdom.restart("s1").await;
    healthy(&kingdom, "metal", 1).await;
}

#[tokio::test]
async fn a_crash_is_mailed_once_by_smtp_although_the_alerter_dies() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ports = kingdom_tests::ports::Ports::reserve();
    let place = format!("127.0.0.1:{}", ports.spare());
    let mailbox = folder.path().join("mailbox");
    let arguments =
        ["-m", "aiosmtpd", "-n", "-l", &place, "-c", "aiosmtpd.handlers.Mailbox"].map(str::to_owned);
    let arguments = arguments.into_iter().chain([mailbox.display().to_string()]);
    let mut server = Process::new("smtp", folder.path(), programs::python(), arguments);
    server.start();
    let alerter =
        ["--smtp", &format!("smtp://{place}"), "--to", "ops@example.org", "--resolve-after-ms", "60000"];
    let alerter = alerter.map(str::to_owned).to_vec();
    let mut kingdom = Kingdom::with(Plan { alerter, ..Plan::default() }).await;
    kingdom.deploy("metal", C_APP, 1).await;
    let pid = kingdom.instances("metal").await[0]["pid"].as_u64().expect("it runs");

    kingdom.kill9("alerter");
    strays::kill9(u32::try_from(pid).expect("a pid"));
    kingdom.restart("alerter").await;
    let mails = || -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(mailbox.join("new")) else { return Vec::new() };
        entries.filter_map(|entry| std::fs::read_to_string(entry.ok()?.path()).ok()).collect()
    };
    wait::until("the mail is there and recorded", async || {
        let sent = kingdom.client.events().await;
        let sent = sent.iter().filter(|event| event.fact.kind() == "alert.sent").count();
        wait::holds(sent == 1 && mails().len() == 1, || format!("{sent} recorded, {} there", mails().len()))
    })
    .await;
    kingdom.kill9("alerter");
    kingdom.restart("alerter").await;
    // A second mail would be told of by a second record: the next thing that the Alerter does is another crash's mail.
    kingdom.deploy("snake", C_APP, 1).await;
    let pid = kingdom.instances("snake").await[0]["pid"].as_u64().expect("it runs");
    strays::kill9(u32::try_from(pid).expect("a pid"));
    wait::until("the second crash is mailed", async || {
        wait::holds(mails().len() >= 2, || format!("{} mails", mails().len()))
    })
    .await;
    let all = mails();
    assert_eq!(all.len(), 2, "{all:?}");
    for app in ["metal/web", "snake/web"] {
        assert_eq!(
            all.iter().filter(|mail| mail.contains("FIRING") && mail.contains(app)).count(),
            1,
            "{all:?}"
        );
    }
    assert!(
        all.iter().all(|mail| mail.contains("Message-ID: <") && mail.contains("ops@example.org")),
        "{all:?}"
    );
}

#[tokio::test]
async fn nothing_of_a_kingdom_outlives_its_removal() {
    let kingdom = Kingdom::start().await;
    kingdom.deploy("metal", C_APP, 1).await;
    kingdom.kingctl(&["app", "remove", "metal", "--yes"]).await.success();
    wait::until("neither instance nor holder is left", async || {
        let seen = strays::of_folder(kingdom.path());
        // The stem of holders is the Servant's own, and ends with it: it holds no instance, and names none.
        let is_holder = |line: &str| line.contains("holder") && !line.contains(&Uuid::nil().to_string());
        let left: Vec<_> = seen.iter().filter(|process| is_holder(&process.command_line)).collect();
        wait::holds(left.is_empty() && kingdom.runs().is_empty(), || format!("{left:?}"))
    })
    .await;
    // Its release stays for a while, as the policy of the disk says; nothing of what ran does.
    let folder = kingdom.path().join("servant-s1/instances");
    wait::until("its files are gone", async || {
        let drawers = std::fs::read_dir(&folder).map_err(|error| error.to_string())?.flatten();
        let files = drawers.flat_map(|drawer| std::fs::read_dir(drawer.path()).into_iter().flatten());
        let left: Vec<_> = files.flatten().map(|file| file.path()).collect();
        wait::holds(left.is_empty(), || format!("{left:?}"))
    })
    .await;
}
