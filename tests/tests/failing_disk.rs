//! A sync that the disk refuses, with EIO: nothing that was written before it is counted on, although every later sync says
//! that all is well. Who has lost its own copy makes it anew; nobody else notices.

use kingdom_tests::apps::IDLE_APP;
use kingdom_tests::failing::{Failing, Fails, leads_to};
use kingdom_tests::load::{self, Load};
use kingdom_tests::{Kingdom, Plan, http, replay, strays, wait};
use serde_json::json;
use std::path::{Path, PathBuf};

const WITNESS: &str = "witness/00000000000000000001.witness";
const COMMITS: &str = "commits-00000000000000000001/db";
const PER_SECOND: u32 = 50;

fn journal(kingdom: &Kingdom) -> PathBuf {
    kingdom.path().join("king/journal")
}

async fn set(kingdom: &Kingdom, number: u32) {
    let body = json!({ "values": { format!("KEY_{number}"): "x" } });
    let answer = kingdom.client.command_until_answered(&format!("key-{number}"), "config.set", &body).await;
    assert_eq!(answer["status"], "accepted", "{answer}");
}

/// Waits until the witness has the whole log: 72 bytes a commit.
async fn journal_has_all(kingdom: &Kingdom) {
    wait::until("the journal has the whole log", async || {
        let last = kingdom.client.stream("KING_LOG").await.get_info().await?.state.last_sequence;
        let known = std::fs::metadata(journal(kingdom).join(WITNESS)).map_or(0, |file| file.len() / 72);
        wait::holds(known >= last, || format!("{known} of {last}")).map_err(anyhow::Error::msg)
    })
    .await;
}

/// Whether a folder has an entry that is set aside.
fn has_set_aside(folder: &Path) -> bool {
    let entries = std::fs::read_dir(folder).expect("a folder").flatten();
    entries.map(|entry| entry.file_name()).any(|name| name.to_string_lossy().contains(".damaged-"))
}

async fn metric(kingdom: &Kingdom, name: &str) -> f64 {
    let numbers = http::get(kingdom.ports.http(), "/metrics").await.expect("the King shows its numbers");
    http::metric(&numbers.body, name).unwrap_or_else(|| panic!("no {name}: {}", numbers.body))
}

/// One sync of a file of the journal fails: the King ends and says why, and makes its journal anew from the log.
async fn a_file_of_the_journal_fails(file: &str, said: &[&str]) {
    let mut kingdom = Kingdom::start().await;
    kingdom.deploy("idle", IDLE_APP, 1).await;
    journal_has_all(&kingdom).await;
    let (runs, path) = (kingdom.runs(), journal(&kingdom));
    let failing = Failing::syncs(kingdom.pid("king"), &path.join(file), Fails::Once).await;
    set(&kingdom, 0).await;
    leads_to("the King ends", || kingdom.has_ended("king")).await;
    drop(failing);
    let log = kingdom.said("king");
    for words in ["Input/output error", "look at the disk", "start"].iter().chain(said) {
        assert!(log.contains(words), "it says {words:?}:\n{log}");
    }
    assert!(!path.join(file).exists(), "nobody takes {file} for whole");

    kingdom.restart("king").await;
    set(&kingdom, 1).await;
    journal_has_all(&kingdom).await;
    assert!(metric(&kingdom, "king_journal_set_aside_total").await >= 1.0);
    let replay = replay::equals_live(&kingdom.client).await;
    assert_eq!(replay.events.iter().filter(|event| event.fact.kind() == "config.set").count(), 2);
    assert_eq!(kingdom.runs(), runs, "the apps do not care");
    kingdom.kill9("king");
    let journal = path.display().to_string();
    let proof = kingdom.kingctl(&["king", "verify", "--journal", &journal, "--offline"]).await.success();
    assert!(proof.contains("journal"), "it is whole by itself: {proof}");
}

#[tokio::test]
async fn a_witness_that_cannot_be_synced_is_written_anew() {
    a_file_of_the_journal_fails(WITNESS, &["the witness", WITNESS]).await;
}

#[tokio::test]
async fn commits_that_cannot_be_synced_are_taken_from_the_log() {
    a_file_of_the_journal_fails(COMMITS, &["cannot be flushed"]).await;
}

#[tokio::test]
async fn a_disk_that_goes_on_failing_ends_its_king_and_no_other() {
    let mut kingdom = Kingdom::with(Plan { kings: 2, ..Plan::default() }).await;
    kingdom.deploy("idle", IDLE_APP, 1).await;
    kingdom.one_writes(1).await;
    let (runs, load) = (kingdom.runs(), Load::start(&kingdom.client, "failing", PER_SECOND));
    let writer = kingdom.one_writes(1).await;
    let data =
        if writer == "king" { kingdom.path().to_owned() } else { kingdom.path().join("kings").join(&writer) };
    let file = data.join("king/journal").join(WITNESS);
    let failing = Failing::syncs(kingdom.pid(&writer), &file, Fails::Always).await;
    leads_to("the King ends", || kingdom.has_ended(&writer)).await;
    drop(failing);
    let next = kingdom.another_writes(&writer).await;
    kingdom.start_service(&writer);
    assert_eq!(kingdom.one_writes(1).await, next, "it is back as a backup");
    let answered = load.stop().await;
    load::each_has_one_outcome(&kingdom.client, &answered).await;
    assert!(has_set_aside(file.parent().expect("it has one")), "what was doubtful can still be looked at");
    assert_eq!(kingdom.runs(), runs, "the apps do not care");
}

/// One sync of a store of the Servant fails: it ends, what it holds is written anew, and nothing is lost or done twice.
async fn a_store_of_the_servant_fails(store: &str) {
    let mut kingdom = Kingdom::start().await;
    kingdom.deploy("idle", IDLE_APP, 2).await;
    let folder = kingdom.path().join("servant-s1").join(store);
    let failing = Failing::syncs(kingdom.pid("s1"), &folder.join("store/db"), Fails::Once).await;
    let before = kingdom.runs();
    let (_, pids) = before.first_key_value().expect("two run");
    strays::kill9(pids[0]);
    leads_to("the Servant ends", || kingdom.has_ended("s1")).await;
    drop(failing);
    let log = kingdom.said("s1");
    for words in ["the disk has failed a local store", "Input/output error", "start this program again"] {
        assert!(log.contains(words), "it says {words:?}:\n{log}");
    }
    assert!(!folder.join("store").exists(), "nobody takes it for whole");
    assert_eq!(
        kingdom.runs().len(),
        2,
        "what runs goes on, and what crashed is started by its holder or later"
    );

    kingdom.restart("s1").await;
    kingdom.all_servants_live().await;
    wait::until("the crash is told", async || {
        let events = kingdom.client.events().await;
        let count = |kind: &str| events.iter().filter(|event| event.fact.kind() == kind).count();
        wait::holds(count("instance.crashed") == 1, || format!("{} crashes", count("instance.crashed")))
    })
    .await;
    kingdom.settled("idle").await;
    wait::until("two run", async || {
        wait::holds(kingdom.runs().len() == 2, || format!("{:?}", kingdom.runs()))
    })
    .await;
    assert!(has_set_aside(&folder), "what was doubtful can still be looked at");
    let same = kingdom.runs().into_iter().filter(|run| before.get(&run.0) == Some(&run.1)).count();
    assert_eq!(same, 1, "the one that was not killed is the same process");
    assert!(kingdom.said("s1").contains("was written anew"));
}

#[tokio::test]
async fn an_outbox_that_cannot_be_synced_loses_no_report() {
    a_store_of_the_servant_fails("outbox").await;
}

#[tokio::test]
async fn a_table_of_instances_that_cannot_be_synced_forgets_none() {
    a_store_of_the_servant_fails("table").await;
}
