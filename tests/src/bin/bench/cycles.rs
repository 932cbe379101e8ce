//! A thousand times an instance is started and stopped whose children flee: orphans in sessions of their own. Afterwards
//! nothing of them runs, none waits to be reaped, and the Servant has no more files open and no more memory than after the
//! first tenth.

use crate::row::{Row, Target};
use crate::samples::Samples;
use crate::stage::Stage;
use crate::supervise::{folders, of, pss_mb};
use anyhow::{Context, ensure};
use kingdom_tests::apps::escaping_yaml;
use kingdom_tests::command::run;
use kingdom_tests::{strays, wait};
use std::path::Path;
use std::time::Duration;

const INSTANCES: usize = 20;
const ROUNDS: usize = 50;
/// After so many rounds the Servant has touched all that it ever needs.
const WARM: usize = 5;
/// Processes of each instance.
const PROCESSES: usize = 4;
/// A map that grew by a page is not what is looked for.
const FLAT: f64 = 1.1;
const PATIENCE: Duration = Duration::from_secs(60);

/// What a Servant holds while nothing runs.
#[derive(Clone, Copy)]
struct Held {
    descriptors: usize,
    memory_mb: f64,
}

/// Starts and stops.
///
/// # Errors
/// When the kingdom does not run.
pub async fn measure() -> anyhow::Result<Vec<Row>> {
    let stage = Stage::start("start_stop_cycles", 1).await?;
    // By its name its processes are known when they have ended, too.
    let name = format!("flees{}", std::process::id());
    let program = stage.data().join(&name);
    std::os::unix::fs::symlink("/bin/sleep", &program)?;
    let yaml = escaping_yaml(&program);
    stage.repository("flees", &[("king.yaml", &yaml)]).await.publish("v1.0.0").await;
    run(stage.kingctl(&["app", "deploy", "flees@1.0.0", "--count", "1", "--wait"])?).await.success();
    cycle(&stage, 0).await?;
    let servant = *of(stage.data(), "servant").first().context("a servant runs")?;
    let mut first = held(servant);
    for round in 1..=ROUNDS {
        cycle(&stage, INSTANCES).await?;
        cycle(&stage, 0).await?;
        if round == WARM {
            first = held(servant);
        }
    }
    let last = rests(servant, first).await;
    ensure!(of(stage.data(), "servant") == [servant], "the Servant was started anew");
    let left = (running(stage.data()), strays::zombies(&name).len());
    stage.stop().await;
    Ok(rows(first, last, left))
}

fn rows(first: Held, last: Held, (strays, zombies): (usize, usize)) -> Vec<Row> {
    let row = |name, value: f64, unit, target| Row::of(name, &Samples::new(vec![value]), unit, target);
    let none =
        |name, count: usize| row(name, count as f64, "processes", Target::AtMost(0.0)).beside("none", None);
    let flat = |name, first: f64, last: f64, unit| {
        row(name, last, unit, Target::RatioAtMost(FLAT)).beside("after the first tenth", Some(first))
    };
    let cycles = INSTANCES * ROUNDS;
    vec![
        row("start_stop_cycles", cycles as f64, "cycles", Target::AtLeast(1000.0)).beside("nothing", None),
        none("start_stop_strays", strays),
        none("start_stop_zombies", zombies),
        flat("start_stop_descriptors", first.descriptors as f64, last.descriptors as f64, "open"),
        flat("start_stop_memory", first.memory_mb, last.memory_mb, "MB"),
    ]
}

/// Scales, and waits until so many instances run with all of their children, or nothing of any of them is left.
async fn cycle(stage: &Stage, count: usize) -> anyhow::Result<()> {
    run(stage.kingctl(&["app", "scale", "flees", &count.to_string(), "--wait"])?).await.success();
    wait::within(PATIENCE, "as many run as shall", async || {
        let (processes, folders) = (running(stage.data()), folders(stage.data()).len());
        wait::holds(processes == count * PROCESSES && folders == count, || {
            format!("{processes} processes, {folders} folders")
        })
    })
    .await;
    Ok(())
}

/// The processes of instances.
fn running(data: &Path) -> usize {
    strays::of_folder(data).iter().filter(|seen| seen.instance.is_some()).count()
}

fn held(servant: u32) -> Held {
    Held { descriptors: strays::descriptors(servant), memory_mb: pss_mb(servant) }
}

/// What it holds as soon as that is no more than before, or after a while: what is closed last may be open for a moment.
async fn rests(servant: u32, before: Held) -> Held {
    for _ in 0..200 {
        if strays::descriptors(servant) <= before.descriptors {
            break;
        }
        wait::pause().await;
    }
    held(servant)
}
