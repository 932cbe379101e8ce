//! Several Kings: one writes, the others follow it and take over, whatever happens to the one that writes.

use async_nats::HeaderMap;
use events::subject::{LOG_STREAM, LOG_SUBJECT};
use events::{Commit, Digest, KingId, wire};
use kingdom_tests::apps::IDLE_APP;
use kingdom_tests::load::{self, Load};
use kingdom_tests::replay::Replay;
use kingdom_tests::{Kingdom, Plan, http, replay, wait};
use realm::{Candidate, Context, Input};
use rustix::process::Signal;
use serde_json::json;

const PER_SECOND: u32 = 200;

async fn kings(count: u16) -> Kingdom {
    let kingdom = Kingdom::with(Plan { kings: count, servants: 1, ..Plan::default() }).await;
    kingdom.one_writes(usize::from(count) - 1).await;
    kingdom
}

/// Waits until a command is answered, so that a stream is under way.
async fn answers(kingdom: &Kingdom, id: &str) {
    kingdom.client.command_until_answered(id, "config.set", &json!({ "values": { "SEEN": id } })).await;
}

#[tokio::test]
async fn a_king_that_is_killed_is_followed_by_a_backup() {
    let mut kingdom = kings(3).await;
    let load = Load::start(&kingdom.client, "killed", PER_SECOND);
    for round in 0..4 {
        let writer = kingdom.one_writes(2).await;
        answers(&kingdom, &format!("before-{round}")).await;
        kingdom.kill9(&writer);
        kingdom.another_writes(&writer).await;
        answers(&kingdom, &format!("after-{round}")).await;
        kingdom.start_service(&writer);
    }
    kingdom.one_writes(2).await;
    let answered = load.stop().await;
    let replay = load::each_has_one_outcome(&kingdom.client, &answered).await;
    assert!(replay.state.epoch >= 5, "each death is followed by an election: {}", replay.state.epoch);
    replay::public_events_are_the_log(&kingdom.client).await;
}

#[tokio::test]
async fn only_the_king_that_writes_signs() {
    let kingdom = kings(3).await;
    let held = kingdom.path().join("held.json");
    let path = held.to_str().expect("a text");
    // Any of the three answers other questions: after so many, each would have been asked.
    for _ in 0..8 {
        let signed = kingdom.kingctl(&["audit", "checkpoint"]).await.success();
        std::fs::write(&held, signed).expect("written");
        let told = kingdom.kingctl(&["audit", "verify", "--checkpoint", path]).await.success();
        assert!(told.contains("1 beside it fit"), "{told}");
    }
    let file = kingdom.path().join("the.backup");
    let file = file.to_str().expect("a text");
    kingdom.kingctl(&["backup", "create", file]).await.success();
    let told = kingdom.kingctl(&["audit", "verify", "--file", file]).await.success();
    assert!(told.contains("1 beside it fit"), "a backup has a signature of its own: {told}");
}

#[tokio::test]
async fn a_king_that_was_paused_writes_nothing_and_follows() {
    let mut kingdom = kings(2).await;
    let load = Load::start(&kingdom.client, "paused", PER_SECOND);
    let writer = kingdom.one_writes(1).await;
    answers(&kingdom, "before").await;
    kingdom.signal(&writer, Signal::STOP);
    let next = kingdom.another_writes(&writer).await;
    answers(&kingdom, "meanwhile").await;
    kingdom.signal(&writer, Signal::CONT);
    assert_eq!(kingdom.one_writes(1).await, next, "the one that was paused is a backup now");
    assert!(!kingdom.has_ended(&writer), "in the same process");
    answers(&kingdom, "after").await;
    let answered = load.stop().await;
    load::each_has_one_outcome(&kingdom.client, &answered).await;
    let mut epoch = 0;
    for (_, _, bytes) in kingdom.client.messages(LOG_STREAM).await {
        let commit: Commit = wire::decode(&bytes).expect("a commit");
        assert!(commit.epoch >= epoch, "nothing of an epoch is written after the next");
        epoch = commit.epoch;
    }
}

/// Appends the election of a King that is no more: one that was on its way when its King died.
async fn an_election_lands_late(kingdom: &Kingdom) -> anyhow::Result<u64> {
    let log = kingdom.client.messages(LOG_STREAM).await;
    let (sequence, _, last) = log.last().expect("a kingdom that is ready has a log");
    let mut state = Replay::of(&kingdom.client, u64::MAX).await.state;
    let (first, inbox) = (state.last + 1, state.inbox);
    let candidate = Candidate::from(KingId(uuid::Uuid::from_u128(1)));
    let context = Context { at: state.at, entropy: 1 };
    let decision = realm::step(&mut state, &Input::Election(candidate), &context);
    let previous = Digest::of(last);
    let commit = Commit { epoch: state.epoch, first, previous, inbox, events: decision.events };
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Expected-Last-Sequence", sequence.to_string().as_str());
    let bytes = wire::encode(&commit).into();
    kingdom.client.jetstream.publish_with_headers(LOG_SUBJECT, headers, bytes).await?.await?;
    Ok(state.epoch)
}

#[tokio::test]
async fn an_idle_king_notices_an_election_that_lands_late() {
    let kingdom = kings(1).await;
    kingdom.all_servants_live().await;
    let late =
        wait::until("nobody else writes in between", async || an_election_lands_late(&kingdom).await).await;
    wait::until("the King has noticed it and was elected again", async || {
        let king = kingdom.client.ask("king.show", json!({})).await?.remove(0);
        wait::holds(king["epoch"].as_u64() > Some(late), || king.to_string())
    })
    .await;
    replay::equals_live(&kingdom.client).await;
}

#[tokio::test]
async fn a_transfer_under_load_loses_and_doubles_nothing() {
    let kingdom = kings(2).await;
    let load = Load::start_patient(&kingdom.client, "transfer", PER_SECOND);
    let mut anonymous = Vec::new();
    for round in 0..4 {
        let writer = kingdom.one_writes(1).await;
        let heir = if writer == "king" { "king-2" } else { "king" };
        let said = kingdom.kingctl(&["king", "transfer", heir]).await.success();
        assert!(said.contains(heir), "{said}");
        assert_eq!(kingdom.one_writes(1).await, heir);
        // Without an id a command that two Kings took would be done twice.
        anonymous.push(kingdom.client.accepted("app.create", json!({ "app": format!("app-{round}") })).await);
    }
    let answered = load.stop().await;
    let replay = load::each_has_one_outcome(&kingdom.client, &answered).await;
    let done = replay.outcomes().len();
    assert_eq!(done, answered.len() + anonymous.len(), "no command is done twice under two ids");
    let lost: Vec<_> = answered.iter().filter(|answered| answered.unanswered > 0).collect();
    assert!(lost.is_empty(), "nothing that was sent meanwhile is lost and sent again: {lost:?}");
    let kings = kingdom.kingctl_json(&["king", "ls"]).await;
    assert_eq!(kings.as_array().map(Vec::len), Some(2), "{kings}");
}

#[tokio::test]
async fn a_king_that_is_told_to_end_hands_over() {
    let mut kingdom = kings(2).await;
    let load = Load::start(&kingdom.client, "ended", PER_SECOND);
    let writer = kingdom.one_writes(1).await;
    answers(&kingdom, "before").await;
    kingdom.signal(&writer, Signal::TERM);
    let next = kingdom.another_writes(&writer).await;
    assert_ne!(next, writer);
    answers(&kingdom, "after").await;
    let answered = load.stop().await;
    load::each_has_one_outcome(&kingdom.client, &answered).await;
    assert!(kingdom.said(&next).contains("told to write"), "it was called, and has not waited for the lease");
}

#[tokio::test]
async fn a_backup_takes_pushes_and_serves_them_after_a_failover() {
    let mut kingdom = kings(2).await;
    let writer = kingdom.one_writes(1).await;
    let backup = if writer == "king" { "king-2" } else { "king" };
    let repository = kingdom.repository("shop", IDLE_APP).await;
    let address = kingdom.http_of(backup);
    let remote = format!("http://{address}/git/shop.git");
    repository.git(&["remote", "set-url", "king", &remote]).await.success();
    let ready = http::get(address, "/readyz").await.expect("an answer");
    assert!(ready.status == 200 && ready.body.contains("backup"), "{}", ready.body);
    repository.publish("v1.0.0").await;
    repository.git(&["fetch", "king"]).await.success();
    kingdom.kill9(&writer);
    kingdom.another_writes(&writer).await;
    let copy = kingdom.path().join("copy");
    let place = copy.display().to_string();
    repository.git(&["clone", "--quiet", &remote, &place]).await.success();
    assert!(copy.join("king.yaml").exists() || copy.join("Procfile").exists(), "the clone has the files");
    kingdom.kingctl(&["app", "deploy", "shop@1.0.0", "--count", "1", "--wait"]).await.success();
}

#[tokio::test]
async fn a_lease_that_is_lost_is_made_anew() {
    let kingdom = kings(2).await;
    let load = Load::start(&kingdom.client, "lease", PER_SECOND);
    let deleted = kingdom.client.jetstream.delete_stream("KV_KING_LEASE").await;
    assert!(deleted.expect("the stream was there").success);
    wait::until("there is a lease again", async || {
        kingdom
            .client
            .jetstream
            .get_stream("KV_KING_LEASE")
            .await
            .map(|_| ())
            .map_err(|error| error.to_string())
    })
    .await;
    kingdom.one_writes(1).await;
    answers(&kingdom, "after").await;
    let answered = load.stop().await;
    load::each_has_one_outcome(&kingdom.client, &answered).await;
}

#[tokio::test]
async fn kings_outlive_the_death_of_their_nats_server() {
    let mut kingdom = kings(2).await;
    let load = Load::start(&kingdom.client, "nats", PER_SECOND);
    answers(&kingdom, "before").await;
    kingdom.kill9("nats");
    kingdom.restart("nats").await;
    kingdom.one_writes(1).await;
    answers(&kingdom, "after").await;
    let answered = load.stop().await;
    load::each_has_one_outcome(&kingdom.client, &answered).await;
    for name in ["king", "king-2"] {
        assert!(!kingdom.has_ended(name), "{name} lives on");
    }
}
