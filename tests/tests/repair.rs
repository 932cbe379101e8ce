//! `kingctl king repair` where no server can help another: three servers whose copies of the log are all damaged, and journals
//! that are behind each other and behind the log. Nothing that was acknowledged may be lost, or the plan says what is.

use events::subject::LOG_STREAM;
use kingdom_tests::chaos::mend;
use kingdom_tests::chaos::site::{ALERTER, KINGS, Site};
use kingdom_tests::cluster::SERVERS;
use kingdom_tests::load::{self, Answered, Load};
use kingdom_tests::{files, replay, wait};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Every King notices within this time, once the servers serve.
const NOTICED: Duration = Duration::from_secs(10);
/// Commands in a second.
const PER_SECOND: u32 = 50;

const ALL: [usize; SERVERS] = [0, 1, 2];

/// Sends commands until so many commits are stored, and gives what was answered.
async fn commands(site: &Site, name: &str, commits: u64) -> Vec<Answered> {
    let before = last(site).await;
    let load = Load::start(&site.client, name, PER_SECOND);
    wait::until("the log has grown", async || {
        let now = last(site).await;
        wait::holds(now >= before + commits, || format!("from {before} to {now}"))
    })
    .await;
    load.stop().await
}

async fn last(site: &Site) -> u64 {
    site.client.stream(LOG_STREAM).await.cached_info().state.last_sequence
}

/// Waits until every journal has the whole log.
async fn journals_have_all(site: &Site) {
    wait::until("every journal has the whole log", async || {
        let last = last(site).await;
        for king in KINGS {
            let witnessed = witnessed(site, king);
            wait::holds(witnessed >= last, || format!("{king}: {witnessed} of {last}"))?;
        }
        Ok::<_, String>(())
    })
    .await;
}

fn witnessed(site: &Site, king: &str) -> u64 {
    let journal = mend::journal(site, king);
    bus::journal::witnessed_in(&journal).expect("it can be looked at").unwrap_or(0)
}

async fn servers_end(site: &mut Site) {
    ALL.iter().for_each(|server| site.cluster.kill9(*server));
}

async fn servers_begin(site: &mut Site) {
    site.cluster.restart_all(&ALL).await;
    site.cluster.works().await;
    wait::until("the servers have elected who leads the log", async || {
        site.cluster.leader_of(&site.client, LOG_STREAM).await
    })
    .await;
}

fn copy(from: &Path, to: &Path) {
    for file in files::below(from) {
        let place = to.join(file.strip_prefix(from).expect("it is below"));
        std::fs::create_dir_all(place.parent().expect("it has one")).expect("the disk is the test's");
        std::fs::copy(&file, &place).expect("the disk is the test's");
    }
}

async fn is_mailed(site: &Site, words: &str) {
    let folder = site.path().join(ALERTER).join("alerter/mail");
    wait::until(&format!("a mail says {words:?}"), async || {
        let mails = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        let mails: Vec<_> = mails.filter_map(|mail| std::fs::read_to_string(mail.path()).ok()).collect();
        wait::holds(mails.iter().any(|mail| mail.contains(words)), || format!("{mails:?}"))
    })
    .await;
}

/// Every King stops in time, nobody writes, a mail goes out, and `verify` names the first bad commit.
async fn is_noticed(site: &mut Site, first_bad: u64) {
    mend::all_are_alarmed(site, NOTICED).await;
    let refused =
        site.client.request("king.cmd.config.set", None, b"{\"values\":{\"A\":\"b\"}}".to_vec()).await;
    refused.expect_err("nobody takes a command");
    is_mailed(site, "log is damaged").await;
    for king in KINGS {
        let journal = mend::journal(site, king).display().to_string();
        let verified = mend::kingctl(site, &["king", "verify", "--journal", &journal, "-o", "json"]).await;
        assert_eq!(verified.code, 1, "{verified:?}");
        let parts: serde_json::Value = serde_json::from_str(&verified.stdout).expect("JSON");
        let log = parts.as_array().into_iter().flatten().find(|part| part["part"] == "log");
        assert_eq!(log.expect("the log was compared")["first_bad"], first_bad, "{parts}");
    }
    let kings = mend::kingctl(site, &["king", "ls"]).await.success();
    assert_eq!(kings.matches("stopped").count(), KINGS.len(), "each says what it has seen: {kings}");
}

/// The log is the same on every server, holds all that was told, and goes on.
async fn goes_on(site: &mut Site, told: &[Answered]) {
    for king in KINGS {
        site.is_ready(king).await;
    }
    site.cluster.is_current().await;
    site.client.command_until_answered("after", "config.set", &json!({ "values": { "AFTER": "x" } })).await;
    wait::until("every server has the whole log", async || mend::each_copy_is_whole(site).await).await;
    load::each_has_one_outcome(&site.client, told).await;
    replay::public_events_are_the_log(&site.client).await;
    journals_have_all(site).await;
    is_mailed(site, "whole again").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_servers_with_old_disks_are_noticed_and_the_log_is_rebuilt() {
    let mut site = Site::start().await;
    let mut told = commands(&site, "kept", 10).await;
    servers_end(&mut site).await;
    let old = ALL.map(|server| site.path().join(format!("old-{server}")));
    ALL.iter().for_each(|server| copy(site.cluster.store(*server), &old[*server]));
    servers_begin(&mut site).await;
    told.extend(commands(&site, "cut", 10).await);
    journals_have_all(&site).await;
    servers_end(&mut site).await;
    for server in ALL {
        site.cluster.wipe(server);
        copy(&old[server], site.cluster.store(server));
    }
    servers_begin(&mut site).await;
    let kept = last(&site).await;
    is_noticed(&mut site, kept + 1).await;
    assert_eq!(last(&site).await, kept, "nobody appends");
    mend::is_repaired(&mut site).await;
    goes_on(&mut site, &told).await;
}

/// Flips a bit in the middle of a commit wherever a server keeps it: in the log, and in what the servers have agreed on, from
/// which one heals the other.
fn flip_commit(store: &Path, payload: &[u8]) {
    let is_block = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "blk");
    let mut flipped = 0;
    for path in files::below(store).into_iter().filter(is_block) {
        let mut bytes = std::fs::read(&path).expect("the disk is the test's");
        if let Some(at) = bytes.windows(payload.len()).position(|window| window == payload) {
            bytes[at + payload.len() / 2] ^= 0x10;
            std::fs::write(&path, bytes).expect("the disk is the test's");
            flipped += 1;
        }
    }
    assert!(flipped > 0, "no file below {} holds the commit", store.display());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_rots_on_all_three_servers_is_noticed_and_the_log_is_rebuilt() {
    let mut site = Site::start().await;
    let told = commands(&site, "told", 30).await;
    journals_have_all(&site).await;
    let commits = site.client.messages(LOG_STREAM).await;
    let (bad, _, payload) = commits[commits.len() / 2].clone();
    servers_end(&mut site).await;
    ALL.iter().for_each(|server| flip_commit(site.cluster.store(*server), &payload));
    servers_begin(&mut site).await;
    is_noticed(&mut site, bad).await;
    mend::is_repaired(&mut site).await;
    goes_on(&mut site, &told).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_deleted_under_load_loses_nothing_that_was_told() {
    let mut site = Site::start().await;
    let mut told = commands(&site, "before", 10).await;
    let load = Load::start(&site.client, "under", PER_SECOND);
    let before = last(&site).await;
    wait::until("the load is under way", async || {
        let now = last(&site).await;
        wait::holds(now > before + 20, || format!("{now}"))
    })
    .await;
    site.client.jetstream.delete_stream(LOG_STREAM).await.expect("JetStream deletes whatever it is told to");
    load.hold();
    is_noticed(&mut site, 1).await;
    mend::is_repaired(&mut site).await;
    for king in KINGS {
        site.is_ready(king).await;
    }
    told.extend(load.stop().await);
    goes_on(&mut site, &told).await;
}
