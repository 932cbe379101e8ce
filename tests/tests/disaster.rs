//! The log is lost, shortened, altered or replaced: every time the King notices it, writes nothing more, says so to everybody,
//! and goes on when the log was rebuilt from its journal. And the other way round: the journal is lost or damaged.

use async_nats::jetstream::stream::Config;
use kingdom_tests::process::Process;
use kingdom_tests::proxy::{Proxy, Weather};
use kingdom_tests::{Kingdom, files, http, programs, replay, wait};
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Every King notices within this time.
const NOTICED: Duration = Duration::from_secs(10);

fn journal(kingdom: &Kingdom) -> PathBuf {
    kingdom.path().join("king/journal")
}

async fn set_keys(kingdom: &Kingdom, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let body = json!({ "values": { format!("KEY_{number}"): "x" } });
        // A King that says it is ready may be about to notice that its server was another.
        let answer =
            kingdom.client.command_until_answered(&format!("key-{number}"), "config.set", &body).await;
        assert_eq!(answer["status"], "accepted", "{answer}");
    }
}

/// Waits until the journal's witness has the whole log: 72 bytes a commit.
async fn journal_has_all(kingdom: &Kingdom) {
    wait::until("the journal has the whole log", async || {
        let last = kingdom.client.stream("KING_LOG").await.get_info().await?.state.last_sequence;
        let path = journal(kingdom).join("witness/00000000000000000001.witness");
        let known = std::fs::metadata(&path).map_or(0, |file| file.len() / 72);
        wait::holds(known >= last, || format!("{known} of {last}")).map_err(anyhow::Error::msg)
    })
    .await;
}

async fn is_alarmed(kingdom: &Kingdom, words: &str) {
    wait::within(NOTICED, "the King notices the disaster", async || {
        let answer = http::get(kingdom.ports.http(), "/readyz").await.map_err(|error| error.to_string())?;
        let alarmed =
            answer.status == 503 && answer.body.contains("log-disaster") && answer.body.contains(words);
        wait::holds(alarmed, || format!("{} {}", answer.status, answer.body))
    })
    .await;
    let metrics = http::get(kingdom.ports.http(), "/metrics").await.expect("the King shows its numbers");
    assert!(metrics.body.contains("king_log_disaster 1"), "{}", metrics.body);
    kingdom.mail_about(&["log is damaged"]).await;
    let refused =
        kingdom.client.request("king.cmd.config.set", None, b"{\"values\":{\"A\":\"b\"}}".to_vec()).await;
    refused.expect_err("nobody takes a command");
}

/// The plan is shown and nothing done; then it is done, and the kingdom is as it was.
async fn is_repaired(kingdom: &Kingdom, before: &Value) {
    let path = journal(kingdom).display().to_string();
    let verify = kingdom.kingctl(&["king", "verify", "--journal", &path]).await;
    assert_eq!(verify.code, 1, "{verify:?}");
    let plan = kingdom.kingctl(&["king", "repair", "--journal", &path]).await;
    assert!(plan.code == 1 && plan.stdout.contains("append"), "{plan:?}");
    kingdom.kingctl(&["king", "repair", "--journal", &path, "--yes"]).await.success();
    kingdom.is_ready().await;
    let after = replay::equals_live(&kingdom.client).await;
    assert_eq!(after.events.iter().filter(|event| event.fact.kind() == "config.set").count(), 20);
    assert!(after.state.last > before["event"].as_u64().expect("a number"));
    kingdom.kingctl(&["king", "verify", "--journal", &path]).await.success();
    kingdom.client.accepted("config.set", json!({ "values": { "AFTER": "x" } })).await;
    kingdom.mail_about(&["whole again"]).await;
}

async fn with_twenty_keys() -> (Kingdom, Value) {
    let kingdom = Kingdom::start().await;
    set_keys(&kingdom, 0..20).await;
    journal_has_all(&kingdom).await;
    let king = kingdom.client.king().await;
    (kingdom, king)
}

#[tokio::test]
async fn a_deleted_log_is_noticed_not_made_anew_and_rebuilt() {
    let (mut kingdom, before) = with_twenty_keys().await;
    kingdom
        .client
        .jetstream
        .delete_stream("KING_LOG")
        .await
        .expect("JetStream deletes whatever it is told to");
    is_alarmed(&kingdom, "is gone").await;
    kingdom.kill9("king");
    kingdom.start_service("king");
    is_alarmed(&kingdom, "is gone").await;
    let streams = kingdom.client.stream_names().await.expect("the server lives");
    assert!(!streams.contains(&"KING_LOG".to_owned()), "nobody makes an empty log in silence: {streams:?}");
    is_repaired(&kingdom, &before).await;
}

#[tokio::test]
async fn a_log_cannot_be_purged_and_nothing_happens() {
    let (kingdom, _) = with_twenty_keys().await;
    kingdom.client.stream("KING_LOG").await.purge().await.expect_err("the stream denies it");
    set_keys(&kingdom, 20..21).await;
    replay::equals_live(&kingdom.client).await;
}

#[tokio::test]
async fn a_server_with_an_old_disk_is_noticed() {
    let mut kingdom = Kingdom::start().await;
    set_keys(&kingdom, 0..10).await;
    kingdom.kill9("nats");
    let (disk, old) = (kingdom.path().join("jetstream"), kingdom.path().join("old-disk"));
    copy(&disk, &old);
    kingdom.restart("nats").await;
    kingdom.is_ready().await;
    set_keys(&kingdom, 10..20).await;
    journal_has_all(&kingdom).await;
    let before = kingdom.client.king().await;
    kingdom.kill9("nats");
    std::fs::remove_dir_all(&disk).expect("the disk is the test's");
    copy(&old, &disk);
    kingdom.restart("nats").await;
    is_alarmed(&kingdom, "are lost").await;
    is_repaired(&kingdom, &before).await;
}

/// Flips one bit in the only block of the log, at so many thousandths of it.
fn flip_in_the_log(disk: &Path, place: usize) {
    let is_of_log = |path: &PathBuf| path.components().any(|part| part.as_os_str() == "KING_LOG");
    let is_block = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "blk");
    let blocks: Vec<_> = files::below(disk).into_iter().filter(is_of_log).filter(is_block).collect();
    let [block] = blocks.as_slice() else { panic!("one block: {blocks:?}") };
    let mut bytes = std::fs::read(block).expect("the block can be read");
    let at = bytes.len() * place / 1000;
    bytes[at] ^= 0x10;
    std::fs::write(block, bytes).expect("the disk is the test's");
}

#[tokio::test]
async fn a_flipped_bit_on_the_disk_of_the_server_is_noticed() {
    for place in [20, 300, 700, 980] {
        let (mut kingdom, before) = with_twenty_keys().await;
        kingdom.kill9("nats");
        flip_in_the_log(&kingdom.path().join("jetstream"), place);
        kingdom.restart("nats").await;
        is_alarmed(&kingdom, "commit").await;
        is_repaired(&kingdom, &before).await;
    }
}

/// Makes the log anew with another byte in commit 7.
async fn replace_a_commit(kingdom: &Kingdom) {
    let (stream, commits) =
        (kingdom.client.stream("KING_LOG").await, kingdom.client.messages("KING_LOG").await);
    let config: Config = stream.cached_info().config.clone();
    kingdom
        .client
        .jetstream
        .delete_stream("KING_LOG")
        .await
        .expect("JetStream deletes whatever it is told to");
    kingdom.client.jetstream.create_stream(config).await.expect("another program makes it anew");
    for (sequence, subject, bytes) in commits {
        let mut bytes = bytes.to_vec();
        if sequence == 7 {
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
        }
        let stored = kingdom.client.jetstream.publish(subject, bytes.into()).await.expect("it is sent");
        stored.await.expect("it is stored");
    }
}

#[tokio::test]
async fn a_replaced_commit_is_noticed_and_named() {
    let (kingdom, before) = with_twenty_keys().await;
    replace_a_commit(&kingdom).await;
    is_alarmed(&kingdom, "commit").await;
    let path = journal(&kingdom).display().to_string();
    let verify = kingdom.kingctl(&["king", "verify", "--journal", &path]).await.failure(1);
    assert!(verify.contains("commit 7 "), "it names the first bad one: {verify}");
    is_repaired(&kingdom, &before).await;
}

/// How many commits the log has; none when there is no log.
async fn commits(kingdom: &Kingdom) -> Option<u64> {
    let mut log = kingdom.client.jetstream.get_stream("KING_LOG").await.ok()?;
    Some(log.info().await.ok()?.state.last_sequence)
}

/// Lets a repair run until the log is as it is waited for, and kills it.
async fn kill_a_repair_when(
    kingdom: &Kingdom,
    network: &Proxy,
    what: &str,
    is_time: impl Fn(Option<u64>) -> bool,
) {
    let (nats, journal) = (format!("nats://127.0.0.1:{}", network.port()), journal(kingdom));
    let words = ["--nats", &nats, "king", "repair", "--yes", "--journal"].map(OsStr::new);
    let arguments = words.into_iter().chain([journal.as_os_str()]);
    let mut repair =
        Process::new("repair", &kingdom.path().join("log"), programs::kingdom("kingctl"), arguments);
    repair.start();
    wait::until(what, async || {
        let there = commits(kingdom).await;
        let said = if repair.has_ended() { repair.output() } else { "it goes on".to_owned() };
        wait::holds(is_time(there), || format!("{there:?} commits; {said}"))
    })
    .await;
    repair.kill9();
}

/// Nothing of a log that is half there is believed, not even by a King that starts.
async fn is_still_alarmed(kingdom: &mut Kingdom) {
    let half = commits(kingdom).await;
    kingdom.kill9("king");
    kingdom.start_service("king");
    is_alarmed(kingdom, "").await;
    assert_eq!(commits(kingdom).await, half, "nobody writes a log that is half there");
}

#[tokio::test]
async fn a_repair_that_is_killed_half_way_is_taken_up() {
    let (mut kingdom, before) = with_twenty_keys().await;
    let all = commits(&kingdom).await.expect("there is a log");
    let network = Proxy::to(kingdom.ports.nats()).await;
    replace_a_commit(&kingdom).await;
    is_alarmed(&kingdom, "commit").await;
    // Slow enough that each step can be seen.
    network.set(Weather::Slow(Duration::from_millis(40)));
    let is_gone = |there: Option<u64>| there.is_none_or(|commits| commits < 2);
    kill_a_repair_when(&kingdom, &network, "the old log is deleted", is_gone).await;
    is_still_alarmed(&mut kingdom).await;
    let is_half = |there: Option<u64>| there.is_some_and(|commits| commits > all / 2);
    kill_a_repair_when(&kingdom, &network, "half of the log is there", is_half).await;
    assert!(commits(&kingdom).await < Some(all), "the repair was killed before its end");
    is_still_alarmed(&mut kingdom).await;
    is_repaired(&kingdom, &before).await;
}

#[tokio::test]
async fn a_journal_that_is_lost_damaged_or_half_written_is_made_anew() {
    let (mut kingdom, _) = with_twenty_keys().await;
    let path = journal(&kingdom);
    for damage in [remove as fn(&Path), cut, flip] {
        kingdom.kill9("king");
        damage(&path);
        kingdom.restart("king").await;
        journal_has_all(&kingdom).await;
        replay::equals_live(&kingdom.client).await;
        kingdom.kingctl(&["king", "verify", "--journal", &path.display().to_string()]).await.success();
    }
}

#[tokio::test]
async fn a_king_starts_from_its_journal() {
    let (mut kingdom, before) = with_twenty_keys().await;
    kingdom.kill9("king");
    kingdom.restart("king").await;
    let said = kingdom.said("king");
    let line = said.lines().rfind(|line| line.contains("has read the journal")).expect("it says so");
    assert!(!line.contains("event=0"), "{line}");
    let after = replay::equals_live(&kingdom.client).await;
    assert_eq!(after.state.epoch, before["epoch"].as_u64().expect("a number") + 1);
}

#[tokio::test]
async fn a_journal_of_another_kingdom_is_not_believed() {
    let (mut kingdom, _) = with_twenty_keys().await;
    let other = Kingdom::start().await;
    set_keys(&other, 100..140).await;
    journal_has_all(&other).await;
    kingdom.kill9("king");
    let path = journal(&kingdom);
    std::fs::remove_dir_all(&path).expect("the journal is the test's");
    // sled's files are whole at rest only: the other King is stopped first.
    let mut other = other;
    other.kill9("king");
    copy(&journal(&other), &path);
    let commits = kingdom.client.messages("KING_LOG").await.len();
    kingdom.start_service("king");
    is_alarmed(&kingdom, "commit").await;
    assert_eq!(kingdom.client.messages("KING_LOG").await.len(), commits, "nothing was written");
}

fn remove(journal: &Path) {
    std::fs::remove_dir_all(journal).expect("the journal is the test's");
}

fn cut(journal: &Path) {
    for file in files::below(journal) {
        let bytes = std::fs::read(&file).expect("a file of the journal");
        std::fs::write(&file, &bytes[..bytes.len() / 2]).expect("the journal is the test's");
    }
}

fn flip(journal: &Path) {
    for file in files::below(journal) {
        let mut bytes = std::fs::read(&file).expect("a file of the journal");
        for at in (0..bytes.len()).step_by(997) {
            bytes[at] ^= 4;
        }
        std::fs::write(&file, bytes).expect("the journal is the test's");
    }
}

fn copy(from: &Path, to: &Path) {
    for file in files::below(from) {
        let place = to.join(file.strip_prefix(from).expect("it is below"));
        std::fs::create_dir_all(place.parent().expect("it has one"))
            .expect("the test's folder can be written");
        std::fs::copy(&file, &place).expect("the test's folder can be written");
    }
}
