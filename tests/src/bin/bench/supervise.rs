//! Two hundred instances on one servant: how soon all of them run, and what they cost while they do nothing.
//!
//! The start is measured end to end: from `kingctl app scale` to the moment at which the last holder has recorded that its
//! child runs its program. Beside it stands a bare fork and exec of as many pairs of processes, in the same run, and what
//! other supervisors need: from the script `01_supervise.py` in the folder that `KING_PEERS` names, else as published for
//! the reference machine.

use crate::peers::{self, Peer};
use crate::row::{Row, Target};
use crate::samples::Samples;
use crate::stage::Stage;
use anyhow::{Context, ensure};
use kingdom_tests::apps::IDLE_APP;
use kingdom_tests::command::run;
use kingdom_tests::{strays, wait};
use rustix::time::{ClockId, clock_gettime};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const INSTANCES: usize = 200;
const ROUNDS: usize = 3;
const IDLE: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_secs(120);
/// At least so much of the rate of a bare fork and exec.
const LEAST_OF_BARE: f64 = 0.5;
/// At most so much of the time that pm2 needs.
const MOST_OF_PM2: f64 = 0.2;
const SERVANT_MB: f64 = 20.0;
const HOLDER_MB: f64 = 0.4;
const IDLE_PERCENT: f64 = 1.0;

/// Measures the start, the memory and the idle load.
///
/// # Errors
/// When the kingdom does not run, or a peer's script fails.
pub async fn measure() -> anyhow::Result<Vec<Row>> {
    let [runit, pm2] = peers::start_200([Peer::Runit, Peer::Pm2]).await?;
    let stage = Stage::start("supervise", 1).await?;
    stage.repository("idle", IDLE_APP).await.publish("v1.0.0").await;
    run(stage.kingctl(&["app", "deploy", "idle@1.0.0", "--count", "1", "--wait"])?).await.success();
    let (mut took, mut bare) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        stage.is_quiet().await;
        bare.push(start_bare()?);
        took.push(start_all(&stage, round).await?);
    }
    let rates = |times: &[Duration]| {
        Samples::new(times.iter().map(|time| INSTANCES as f64 / time.as_secs_f64()).collect())
    };
    let (own, bare) = (rates(&took), rates(&bare).median());
    let ms = Row::of("start_200_instances", &Samples::millis(&took), "ms", Target::RatioAtMost(1.0));
    let quick = Row { target: Target::RatioAtMost(MOST_OF_PM2), ..ms.clone() };
    let rate = Row::of("start_200_rate", &own, "1/s", Target::RatioAtLeast(LEAST_OF_BARE));
    let mut rows = vec![
        ms.beside(runit.0, Some(runit.1)),
        quick.beside(pm2.0, Some(pm2.1)),
        rate.beside("bare fork and exec of two processes each", Some(bare)),
    ];
    rows.extend(cost(stage.data()).await?);
    stage.stop().await;
    Ok(rows)
}

/// Scales from one instance to all of them and one more, and back.
async fn start_all(stage: &Stage, round: usize) -> anyhow::Result<Duration> {
    let count = (INSTANCES + 1).to_string();
    let began = wall_ms();
    run(stage.kingctl(&["app", "scale", "idle", &count, "--wait"])?).await.success();
    let last = started(stage.data())?.into_iter().max().context("instances are recorded")?;
    if round + 1 < ROUNDS {
        run(stage.kingctl(&["app", "scale", "idle", "1", "--wait"])?).await.success();
        wait::within(PATIENCE, "the others are gone", async || {
            let left = folders(stage.data()).len();
            wait::holds(left == 1, || left.to_string())
        })
        .await;
    }
    Ok(Duration::from_millis(last.saturating_sub(began)))
}

fn wall_ms() -> u64 {
    let now = clock_gettime(ClockId::Realtime);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1000 + u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000_000
}

/// The folders of instances of the first servant.
pub fn folders(data: &Path) -> Vec<PathBuf> {
    let inside =
        |path: PathBuf| std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    inside(data.to_owned())
        .flat_map(|path| inside(path.join("instances")))
        .flat_map(inside)
        .filter(|path| path.is_dir())
        .collect()
}

/// When each instance was started, by the record of its holder.
fn started(data: &Path) -> anyhow::Result<Vec<u64>> {
    let folders = folders(data);
    ensure!(folders.len() == INSTANCES + 1, "{} instances are here", folders.len());
    let first = |folder: &PathBuf| {
        let text = std::fs::read_to_string(folder.join("runs"))?;
        let line = text.lines().find(|line| line.contains("start_ticks")).context("a start is recorded")?;
        let run: serde_json::Value = serde_json::from_str(line)?;
        run["at"].as_u64().context("with its time")
    };
    folders.iter().map(first).collect()
}

/// The limit: as many pairs of processes, each started and running its program.
fn start_bare() -> anyhow::Result<Duration> {
    let began = Instant::now();
    let mut started = Vec::new();
    for _ in 0..2 * INSTANCES {
        started.push(Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn()?);
    }
    let took = began.elapsed();
    let end = |mut child: Child| child.kill().and_then(|()| child.wait().map(drop));
    started.into_iter().try_for_each(end)?;
    Ok(took)
}

/// What the Servant and its holders cost while nothing happens.
async fn cost(data: &Path) -> anyhow::Result<Vec<Row>> {
    let (servants, holders) = (of(data, "servant"), of(data, "king-holder"));
    let stems = of(data, "king-stem");
    ensure!(
        servants.len() == 1 && holders.len() > INSTANCES,
        "{} servants, {} holders",
        servants.len(),
        holders.len()
    );
    let servant: f64 = servants.iter().chain(&stems).map(|pid| pss_mb(*pid)).sum();
    let each: f64 = holders.iter().map(|pid| pss_mb(*pid)).sum::<f64>() / holders.len() as f64;
    let all: Vec<u32> = [servants, stems, holders].concat();
    let (before, began) = (cpu_seconds(&all), Instant::now());
    tokio::time::sleep(IDLE).await;
    let percent = (cpu_seconds(&all) - before) / began.elapsed().as_secs_f64() * 100.0;
    let one = |value| Samples::new(vec![value]);
    Ok(vec![
        Row::of("servant_memory_200", &one(servant), "MB", Target::AtMost(SERVANT_MB))
            .beside("nothing", None),
        Row::of("holder_memory_200", &one(each), "MB", Target::AtMost(HOLDER_MB)).beside("nothing", None),
        Row::of("servant_idle_cpu_200", &one(percent), "%", Target::AtMost(IDLE_PERCENT))
            .beside("nothing", None),
    ])
}

/// The processes of a kingdom that have this name.
pub fn of(data: &Path, name: &str) -> Vec<u32> {
    let has_name = |pid: &u32| {
        std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim_end() == name)
    };
    strays::of_folder(data).into_iter().map(|seen| seen.pid).filter(has_name).collect()
}

/// The memory that is a process's own, with its share of what it shares, in MB (10^6 bytes).
pub fn pss_mb(pid: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let kib = text
        .lines()
        .find_map(|line| line.strip_prefix("Pss:")?.trim().strip_suffix("kB")?.trim().parse::<f64>().ok());
    kib.unwrap_or(0.0) * 1024.0 / 1e6
}

/// How long all threads of these have run, in seconds.
fn cpu_seconds(pids: &[u32]) -> f64 {
    let threads = pids
        .iter()
        .flat_map(|pid| std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten());
    let nanos = threads.filter_map(|thread| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_ascii_whitespace().next()?.parse::<f64>().ok()
    });
    nanos.sum::<f64>() / 1e9
}
