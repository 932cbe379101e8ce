//! From the last answer of a King to the first of the next, under a steady stream of commands: when the King that writes
//! is killed (`failover_kill`), when the NATS server that leads the log is killed with it (`failover_with_leader`, beside
//! the time in which the other servers elect another, which takes 4 to 9 s whatever a King does), and when it hands over
//! (`transfer`). Each command is sent under one id until it is answered; afterwards the log is read, and holds each once.
//! `KING_BENCH_FAILOVERS` sets how often; 50 is the long form.

use crate::row::{Row, Target};
use crate::samples::Samples;
use anyhow::ensure;
use events::subject::LOG_STREAM;
use kingdom_tests::chaos::site::Site;
use kingdom_tests::client::Client;
use kingdom_tests::load::{self, Answered, Load};
use kingdom_tests::{Kingdom, Plan, wait};
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::time::timeout;

const PER_SECOND: u32 = 200;
const ROUNDS: usize = 10;
const KILL_P50_MS: f64 = 500.0;
const KILL_MOST_MS: f64 = 1000.0;
const TRANSFER_MS: f64 = 50.0;
/// How often the King and the server that leads the log are killed together.
const LEADER_ROUNDS: usize = 4;
/// How long the servers are waited for when they are asked who leads.
const ASKED: Duration = Duration::from_millis(250);
/// No more than so often the time in which the servers elect another leader of the log.
const ELECTION_RATIO: f64 = 1.5;
/// etcd's figure on the reference machine, published.
const ETCD_MS: f64 = 1400.0;

/// Measures how long nobody answers when the King that writes is killed.
///
/// # Errors
/// When nobody takes over, or something acknowledged is lost or done twice.
pub async fn killed() -> anyhow::Result<Vec<Row>> {
    let mut kingdom = start().await;
    let load = Load::start(&kingdom.client, "kill", PER_SECOND);
    for round in 0..rounds() {
        let writer = kingdom.one_writes(1).await;
        answers(&kingdom.client, round).await;
        kingdom.kill9(&writer);
        kingdom.another_writes(&writer).await;
        kingdom.start_service(&writer);
    }
    kingdom.one_writes(1).await;
    answers(&kingdom.client, rounds()).await;
    let samples = gaps(&kingdom.client, load.stop().await, rounds()).await?;
    let beside = "etcd (published)";
    let p50 = Row::of("failover_kill_p50", &samples, "ms", Target::AtMost(KILL_P50_MS));
    let most = Row {
        name: "failover_kill_max",
        value: samples.max(),
        target: Target::AtMost(KILL_MOST_MS),
        ..p50.clone()
    };
    Ok(vec![p50.beside(beside, Some(ETCD_MS)), most.beside(beside, Some(ETCD_MS))])
}

/// Measures how long nobody answers when the server that leads the log is killed with the King that writes.
///
/// # Errors
/// As [`killed`].
pub async fn killed_with_leader() -> anyhow::Result<Vec<Row>> {
    let mut site = Site::start().await;
    let load = Load::start(&site.client, "leader", PER_SECOND);
    let mut elections = Vec::new();
    for round in 0..LEADER_ROUNDS {
        let writer = site.writer().await;
        let leader = wait::until("the log has a leader", async || {
            site.cluster.leader_of(&site.client, LOG_STREAM).await
        })
        .await;
        answers(&site.client, round).await;
        let killed = Instant::now();
        site.cluster.kill9(leader);
        site.kill9(writer);
        wait::until("the log has another leader", async || {
            let asked = timeout(ASKED, site.cluster.leader_of(&site.client, LOG_STREAM)).await;
            let next = asked.map_err(|_| "nobody answers".to_owned())??;
            wait::holds(next != leader, || format!("{next} led it and is dead"))
        })
        .await;
        elections.push(killed.elapsed());
        answers(&site.client, LEADER_ROUNDS + round).await;
        site.cluster.restart(leader).await;
        site.start_again(writer);
        site.is_ready(writer).await;
        site.cluster.is_current().await;
    }
    let samples = gaps(&site.client, load.stop().await, LEADER_ROUNDS).await?;
    let elections = Samples::millis(&elections);
    let target = Target::RatioAtMost(ELECTION_RATIO);
    let p50 = Row::of("failover_with_leader_p50", &samples, "ms", target);
    let most = Row { name: "failover_with_leader_max", value: samples.max(), ..p50.clone() };
    let beside = "the servers' election of another leader of the log, same rounds";
    Ok(vec![p50.beside(beside, Some(elections.median())), most.beside(beside, Some(elections.max()))])
}

/// Measures how long nobody answers when a King hands over.
///
/// # Errors
/// As [`killed`].
pub async fn transferred() -> anyhow::Result<Vec<Row>> {
    let kingdom = start().await;
    let load = Load::start(&kingdom.client, "transfer", PER_SECOND);
    for round in 0..rounds() {
        let writer = kingdom.one_writes(1).await;
        answers(&kingdom.client, round).await;
        kingdom.kingctl(&["king", "transfer"]).await.success();
        kingdom.another_writes(&writer).await;
    }
    answers(&kingdom.client, rounds()).await;
    let samples = gaps(&kingdom.client, load.stop().await, rounds()).await?;
    let row = Row::of("transfer_max", &samples, "ms", Target::AtMost(TRANSFER_MS));
    let row = Row { value: samples.max(), ..row };
    Ok(vec![row.beside("a stream of 200 commands/s, a gap of", Some(1000.0 / f64::from(PER_SECOND)))])
}

async fn start() -> Kingdom {
    let kingdom = Kingdom::with(Plan { kings: 2, servants: 0, ..Plan::default() }).await;
    kingdom.one_writes(1).await;
    kingdom
}

fn rounds() -> usize {
    #[allow(clippy::disallowed_methods, reason = "a benchmark has no flags of its own")]
    let asked = std::env::var("KING_BENCH_FAILOVERS").ok();
    asked.and_then(|count| count.parse().ok()).unwrap_or(ROUNDS)
}

async fn answers(client: &Client, round: usize) {
    let body = json!({ "values": { "ROUND": round.to_string() } });
    client.command_until_answered(&format!("round-{round}"), "config.set", &body).await;
}

/// The gaps, but for that before the first King.
async fn gaps(client: &Client, answered: Vec<Answered>, rounds: usize) -> anyhow::Result<Samples> {
    let replay = load::each_has_one_outcome(client, &answered).await;
    let gaps: Vec<Duration> = load::gaps(&answered, &replay).into_values().collect();
    ensure!(gaps.len() >= rounds, "{} elections in {rounds} rounds", gaps.len());
    Ok(Samples::millis(&gaps))
}
