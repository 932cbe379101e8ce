//! The memory of a King of a large kingdom: 10,000 servants with 100,000 healthy instances.
//!
//! The log is written beforehand; a King takes it over, publishes every event and writes every assignment. Its resident
//! memory is read when all of it is done, and the journal has a snapshot.

use crate::crowd;
use crate::replay::{self, Ground};
use crate::row::{Row, Target};
use crate::samples::Samples;
use anyhow::Context;
use bytes::Bytes;
use events::wire;
use kingdom_tests::client::Client;
use kingdom_tests::wait;
use serde_json::json;
use std::time::Duration;

const MOST_MB: f64 = 500.0;
/// Every event of the log is published after the election.
const PATIENCE: Duration = Duration::from_secs(300);

/// Measures.
///
/// # Errors
/// When NATS or the King fails.
pub async fn measure() -> anyhow::Result<Vec<Row>> {
    let ground = Ground::prepare("memory_large").await?;
    for (sequence, commit) in (0..).zip(crowd::commits()) {
        ground.log.append(Bytes::from(wire::encode(&commit)), sequence).await?;
    }
    let mut king = ground.king()?;
    king.start();
    crate::stage::is_ready(&ground.ports).await;
    replay::has_snapshot(&ground.ports, crowd::EVENTS).await;
    let client = Client::connect(&ground.server.url()).await;
    wait::within(PATIENCE, "all events are published", async || {
        let king = client.ask("king.show", json!({})).await?.remove(0);
        wait::holds(king["event"] == king["published"], || king.to_string())
    })
    .await;
    let resident = resident_mb(king.pid())?;
    king.kill9();
    let row = Row::of("memory_large", &Samples::new(vec![resident]), "MB", Target::AtMost(MOST_MB));
    Ok(vec![row.beside("nothing", None)])
}

/// How much memory a process has, in MB (10^6 bytes).
fn resident_mb(pid: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("a process has VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib * 1024.0 / 1e6)
}
