//! Journals are synced in the background, so each may be behind what was acknowledged. A repair loses nothing of that which
//! any journal or the readable part of the stream holds, and does nothing without being told where it would.

use async_nats::jetstream::stream::Config;
use events::subject::LOG_STREAM;
use kingdom_tests::kingdom::king_name;
use kingdom_tests::load::{self, Answered, Load};
use kingdom_tests::{Kingdom, Plan, files, http, replay, wait};
use serde_json::json;
use std::path::PathBuf;

const KINGS: u16 = 3;
/// Commands in a second.
const PER_SECOND: u32 = 200;
/// The commit that is changed: one that every journal has, however far behind it is.
const CHANGED: u64 = 2;
/// How often Kings are killed until their journals are behind the log: usually once.
const KILLS: u32 = 5;

async fn kings() -> Kingdom {
    let kingdom = Kingdom::with(Plan { kings: KINGS, servants: 1, ..Plan::default() }).await;
    kingdom.one_writes(usize::from(KINGS) - 1).await;
    kingdom
}

fn journal(kingdom: &Kingdom, index: u16) -> PathBuf {
    let data = match index {
        0 => kingdom.path().to_owned(),
        _ => kingdom.path().join("kings").join(king_name(index)),
    };
    data.join("king/journal")
}

fn witnessed(kingdom: &Kingdom, index: u16) -> u64 {
    bus::journal::witnessed_in(&journal(kingdom, index)).expect("it can be looked at").unwrap_or(0)
}

async fn last(kingdom: &Kingdom) -> u64 {
    kingdom.client.stream(LOG_STREAM).await.cached_info().state.last_sequence
}

/// Sends commands until so many commits are stored, and gives what was answered.
async fn commands(kingdom: &Kingdom, name: &str, commits: u64) -> Vec<Answered> {
    let before = last(kingdom).await;
    let load = Load::start(&kingdom.client, name, PER_SECOND);
    has_grown(kingdom, before + commits).await;
    load.stop().await
}

async fn has_grown(kingdom: &Kingdom, to: u64) {
    wait::until("the log has grown", async || {
        let now = last(kingdom).await;
        wait::holds(now >= to, || format!("{now} of {to}"))
    })
    .await;
}

/// The words of a repair from these Kings' journals.
fn repair(kingdom: &Kingdom, kings: &[u16], more: &[&str]) -> Vec<String> {
    let named =
        kings.iter().flat_map(|king| ["--journal".to_owned(), journal(kingdom, *king).display().to_string()]);
    let words = ["king", "repair"].map(str::to_owned).into_iter().chain(named);
    words.chain(more.iter().map(|word| (*word).to_owned())).collect()
}

async fn kingctl(kingdom: &Kingdom, words: &[String]) -> kingdom_tests::command::Ended {
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    kingdom.kingctl(&words).await
}

async fn is_alarmed(kingdom: &Kingdom, king: &str) {
    wait::until(&format!("{king} stops"), async || {
        let answer = http::get(kingdom.http_of(king), "/readyz").await.map_err(|error| error.to_string())?;
        wait::holds(answer.status == 503 && answer.body.contains("log-disaster"), || answer.body.clone())
    })
    .await;
}

async fn all_are_alarmed(kingdom: &Kingdom) {
    for index in 0..KINGS {
        is_alarmed(kingdom, &king_name(index)).await;
    }
}

/// Makes the log anew with another byte in one commit.
async fn replace_a_commit(kingdom: &Kingdom) {
    let commits = kingdom.client.messages(LOG_STREAM).await;
    let config: Config = kingdom.client.stream(LOG_STREAM).await.cached_info().config.clone();
    delete_the_log(kingdom).await;
    kingdom.client.jetstream.create_stream(config).await.expect("another program makes it anew");
    for (sequence, subject, bytes) in commits {
        let mut bytes = bytes.to_vec();
        if sequence == CHANGED {
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
        }
        let stored = kingdom.client.jetstream.publish(subject, bytes.into()).await.expect("it is sent");
        stored.await.expect("it is stored");
    }
}

async fn delete_the_log(kingdom: &Kingdom) {
    let deleted = kingdom.client.jetstream.delete_stream(LOG_STREAM).await;
    deleted.expect("JetStream deletes whatever it is told to");
}

/// Kills all Kings at once while they work, until something that is stored is in no journal.
async fn kill_all_while_they_are_behind(kingdom: &mut Kingdom) -> Vec<Load> {
    let mut loads = Vec::new();
    for kill in 0..KILLS {
        let from = last(kingdom).await;
        let load = Load::start(&kingdom.client, &format!("killed-{kill}"), PER_SECOND);
        has_grown(kingdom, from + 40).await;
        load.hold();
        (0..KINGS).for_each(|index| kingdom.kill9(&king_name(index)));
        loads.push(load);
        let (last, best) =
            (last(kingdom).await, (0..KINGS).map(|index| witnessed(kingdom, index)).max().unwrap_or(0));
        if best < last {
            println!("the best journal has {best} of {last} commits");
            return loads;
        }
        (0..KINGS).for_each(|index| kingdom.start_service(&king_name(index)));
        kingdom.one_writes(usize::from(KINGS) - 1).await;
    }
    panic!("a journal had everything each of {KILLS} times");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_when_all_kings_were_killed_survives_a_repair_from_journals_that_are_behind() {
    let mut kingdom = kings().await;
    let loads = kill_all_while_they_are_behind(&mut kingdom).await;
    let stored = last(&kingdom).await;
    replace_a_commit(&kingdom).await;
    (0..KINGS).for_each(|index| kingdom.start_service(&king_name(index)));
    all_are_alarmed(&kingdom).await;
    let plan = kingctl(&kingdom, &repair(&kingdom, &[1], &[])).await;
    assert_eq!(plan.code, 1, "{plan:?}");
    assert!(plan.stdout.contains("rescue") && !plan.stdout.contains("lose"), "{plan:?}");
    assert!(plan.stdout.contains(&format!("the log ends with commit {stored},")), "{plan:?}");
    kingctl(&kingdom, &repair(&kingdom, &[1], &["--yes"])).await.success();
    kingdom.one_writes(usize::from(KINGS) - 1).await;
    for load in loads {
        load::each_has_one_outcome(&kingdom.client, &load.stop().await).await;
    }
    replay::public_events_are_the_log(&kingdom.client).await;
}

/// Two Kings whose journals end early, while the third went on; then the log is deleted.
async fn with_one_journal_ahead() -> (Kingdom, Vec<Answered>, u64) {
    let mut kingdom = kings().await;
    let mut answered = commands(&kingdom, "early", 10).await;
    let writer = kingdom.one_writes(usize::from(KINGS) - 1).await;
    assert_eq!(writer, king_name(0), "the one that was started first writes");
    (1..KINGS).for_each(|index| kingdom.kill9(&king_name(index)));
    let behind = (1..KINGS).map(|index| witnessed(&kingdom, index)).max().unwrap_or(0);
    answered.extend(commands(&kingdom, "late", 10).await);
    delete_the_log(&kingdom).await;
    is_alarmed(&kingdom, &king_name(0)).await;
    (kingdom, answered, behind)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_is_behind_another_repairs_nothing_in_silence() {
    let (mut kingdom, answered, behind) = with_one_journal_ahead().await;
    let seen = wait::until("the King that has stopped says what it has seen", async || {
        let kings = kingdom.kings().await;
        let seen = kings.get("king").filter(|king| king["role"] == "stopped");
        seen.and_then(|king| king["sequence"].as_u64()).ok_or_else(|| format!("{kings:?}"))
    })
    .await;
    let refused = kingctl(&kingdom, &repair(&kingdom, &[1, 2], &["--yes"])).await;
    assert_eq!(refused.code, 1, "{refused:?}");
    let lost = format!("commits {} to {seen}, events ", behind + 1);
    assert!(refused.stdout.contains(&lost) && refused.stderr.contains(&lost), "it names what: {refused:?}");
    assert!(refused.stderr.contains("seen by king at "), "and who has it: {refused:?}");
    let streams = kingdom.client.stream_names().await.expect("the server lives");
    assert!(!streams.contains(&LOG_STREAM.to_owned()), "nothing was done: {streams:?}");
    kingctl(&kingdom, &repair(&kingdom, &[2, 0, 1], &["--yes"])).await.success();
    (1..KINGS).for_each(|index| kingdom.start_service(&king_name(index)));
    kingdom.one_writes(usize::from(KINGS) - 1).await;
    load::each_has_one_outcome(&kingdom.client, &answered).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loss_that_is_accepted_leaves_a_kingdom_that_goes_on() {
    let (mut kingdom, _, behind) = with_one_journal_ahead().await;
    // The store of the journal that is ahead is gone; what its witness has seen is all that is left.
    kingdom.kill9("king");
    let ahead = journal(&kingdom, 0);
    let witness = ahead.join("witness");
    let own = files::below(&ahead).into_iter().filter(|path| !path.starts_with(&witness));
    own.for_each(|path| std::fs::remove_file(path).expect("the journal is the test's"));
    kingdom.start_service("king");
    is_alarmed(&kingdom, "king").await;
    let epoch = 1_000_000_000;
    kingctl(&kingdom, &repair(&kingdom, &[0, 1, 2], &["--yes"])).await.failure(1);
    kingctl(&kingdom, &repair(&kingdom, &[0, 1, 2], &["--yes", "--accept-loss"])).await.success();
    (1..KINGS).for_each(|index| kingdom.start_service(&king_name(index)));
    kingdom.one_writes(usize::from(KINGS) - 1).await;
    kingdom.client.accepted("config.set", json!({ "values": { "AFTER": "x" } })).await;
    let after = replay::equals_live(&kingdom.client).await;
    assert!(after.state.epoch > epoch, "above every epoch that was: {}", after.state.epoch);
    let commits = kingdom.client.messages(LOG_STREAM).await.len() as u64;
    assert!(commits > behind, "{commits} after {behind}");
    replay::public_events_are_the_log(&kingdom.client).await;
    for index in 0..KINGS {
        wait::until("every journal is one of this log", async || {
            let path = journal(&kingdom, index).display().to_string();
            let verified = kingdom.kingctl(&["king", "verify", "--journal", &path]).await;
            wait::holds(verified.code == 0, || format!("{verified:?}"))
        })
        .await;
    }
}
