//! From `kill -9` of an instance to its successor's process: after the kill, the children of the holder are looked at
//! without a pause until one of them runs the program. Every instance is killed once, so that no backoff counts.

use crate::row::{Row, Target};
use crate::samples::Samples;
use crate::stage::Stage;
use anyhow::{Context, ensure};
use kingdom_tests::apps::IDLE_APP;
use kingdom_tests::command::run;
use kingdom_tests::strays::kill9;
use serde_json::json;
use std::time::{Duration, Instant};

const INSTANCES: u32 = 25;
const PROGRAM: &str = "sleep";
const MOST_P50_MS: f64 = 3.0;
const MOST_P99_MS: f64 = 15.0;
const PATIENCE: Duration = Duration::from_secs(20);
/// runit's figure on the reference machine, published: the quickest of the supervisors.
const RUNIT_MS: f64 = 3.8;

/// Measures.
///
/// # Errors
/// When the kingdom does not run or a successor does not come.
pub async fn measure() -> anyhow::Result<Vec<Row>> {
    let stage = Stage::start("crash_to_successor", 1).await?;
    stage.repository("idle", IDLE_APP).await.publish("v1.0.0").await;
    let deploy = ["app", "deploy", "idle@1.0.0", "--count", &INSTANCES.to_string(), "--wait"];
    run(stage.kingctl(&deploy)?).await.success();
    stage.is_quiet().await;
    let instances = stage.client.query("instance.ls", json!({ "app": "idle" })).await;
    let pids =
        instances.iter().map(|instance| instance["pid"].as_u64().context("a healthy instance has a pid"));
    let mut took = Vec::new();
    for pid in pids {
        took.push(successor_of(u32::try_from(pid?)?)?);
    }
    stage.stop().await;
    let samples = Samples::millis(&took);
    let beside = "runit (published)";
    let p50 = Row::of("crash_to_successor_p50", &samples, "ms", Target::AtMost(MOST_P50_MS));
    let (name, target) = ("crash_to_successor_p99", Target::AtMost(MOST_P99_MS));
    let p99 = Row { name, value: samples.percentile(99.0), target, ..p50.clone() };
    Ok(vec![p50.beside(beside, Some(RUNIT_MS)), p99.beside(beside, Some(RUNIT_MS))])
}

/// Kills a process and gives the time until its parent has another child that runs the program.
fn successor_of(pid: u32) -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_ascii_whitespace().nth(1));
    let parent = parent.context("the kernel names the parent")?;
    let children = format!("/proc/{parent}/task/{parent}/children");
    let began = Instant::now();
    kill9(pid);
    loop {
        let listed = std::fs::read_to_string(&children)?;
        let successor = listed.split_ascii_whitespace().find(|child| runs_program(child, pid));
        if successor.is_some() {
            return Ok(began.elapsed());
        }
        ensure!(began.elapsed() < PATIENCE, "no successor of {pid} within {PATIENCE:?}");
        std::thread::yield_now();
    }
}

fn runs_program(child: &str, killed: u32) -> bool {
    let name = std::fs::read_to_string(format!("/proc/{child}/comm")).unwrap_or_default();
    child != killed.to_string() && name.trim_end() == PROGRAM
}
