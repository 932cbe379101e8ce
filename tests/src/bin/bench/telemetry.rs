//! What a servant of 200 idle instances costs: its processor time over 30 s, with telemetry on, as a part of one processor;
//! and of that the part of measuring, by its own account.

use crate::row::{Row, Target};
use crate::samples::Samples;
use crate::stage::Stage;
use anyhow::Context;
use kingdom_tests::apps::IDLE_APP;
use kingdom_tests::command::run;
use kingdom_tests::strays;
use serde_json::json;
use std::time::Duration;

const INSTANCES: u32 = 200;
const SPAN: Duration = Duration::from_secs(30);
/// Of one processor.
const MOST_PERCENT: f64 = 1.0;
/// A tick of the times in `/proc`, as every Linux has it for programs.
const TICKS_PER_SECOND: f64 = 100.0;

/// Measures.
///
/// # Errors
/// When the kingdom does not run.
pub async fn measure() -> anyhow::Result<Vec<Row>> {
    let stage = Stage::start("telemetry_cost_200", 1).await?;
    stage.repository("idle", IDLE_APP).await.publish("v1.0.0").await;
    let deploy = ["app", "deploy", "idle@1.0.0", "--count", &INSTANCES.to_string(), "--wait=5m"];
    run(stage.kingctl(&deploy)?).await.success();
    stage.is_quiet().await;
    let pid = servant(&stage)?;
    // What the start of so many left to be done is over by then.
    tokio::time::sleep(SPAN / 3).await;
    let (before, mut costs) = (ticks(pid)?, Vec::new());
    let began = tokio::time::Instant::now();
    while began.elapsed() < SPAN {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let metrics = stage.client.query("servant.metrics", json!({})).await;
        let cost_us = metrics[0]["cost_us"].as_f64().context("a frame tells its cost")?;
        costs.push(cost_us / 10_000.0);
    }
    let used = (ticks(pid)? - before) / TICKS_PER_SECOND / began.elapsed().as_secs_f64() * 100.0;
    stage.stop().await;
    let whole = Row::of(
        "telemetry_cost_200",
        &Samples::new(vec![used]),
        "% of one processor",
        Target::AtMost(MOST_PERCENT),
    );
    let measuring = Row::of(
        "telemetry_measuring_200",
        &Samples::new(costs),
        "% of one processor",
        Target::AtMost(MOST_PERCENT / 2.0),
    );
    Ok(vec![whole.beside("nothing", None), measuring.beside("nothing", None)])
}

fn servant(stage: &Stage) -> anyhow::Result<u32> {
    let processes = strays::of_folder(stage.data());
    let is_servant = |line: &str| {
        line.split_ascii_whitespace().next().is_some_and(|program| program.ends_with("/servant"))
    };
    let found =
        processes.iter().find(|process| process.instance.is_none() && is_servant(&process.command_line));
    found.map(|process| process.pid).context("the servant runs")
}

/// The processor time of a process.
fn ticks(pid: u32) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').context("a process has a name")?;
    let times = fields.split_ascii_whitespace().skip(11).take(2);
    times.map(|ticks| ticks.parse::<f64>().context("times are numbers")).sum()
}
