//! Killing the Servant again and again under load: two hundred instances write numbered lines, another app is scaled up
//! and down without a pause. After each kill its successor must have found every one of them within a second. At the end
//! nothing died, nothing ran twice, and every line that was written is in `KING_LOGS` under its own number.

use crate::row::{Row, Target};
use crate::samples::Samples;
use crate::stage::{self, Stage};
use crate::{count, peers, supervise};
use anyhow::{Context, ensure};
use async_nats::jetstream::consumer::pull::OrderedConfig;
use events::log::LogBatch;
use events::subject::{self, LOGS_STREAM, Output};
use events::wire;
use futures_util::StreamExt;
use kingdom_tests::apps::IDLE_APP;
use kingdom_tests::client::Client;
use kingdom_tests::command::run;
use kingdom_tests::kingdom::servant_flags;
use kingdom_tests::process::Process;
use kingdom_tests::{strays, wait};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const INSTANCES: usize = 200;
/// Kills in a short run, and in a long one (`KING_LONG=1`).
const KILLS: usize = 10;
const KILLS_LONG: usize = 100;
/// How many instances of the other app come and go.
const CHURN: [u32; 2] = [0, 10];
/// So many messages of output are stored between a successor's start and its end: it has shipped by then.
const STORED: u64 = 100;
const ADOPTED_MS: f64 = 1000.0;
const PATIENCE: Duration = Duration::from_secs(120);

/// Kills the Servant, and counts.
///
/// # Errors
/// When the kingdom does not run.
pub async fn measure() -> anyhow::Result<Vec<Row>> {
    let stage = Stage::start("servant_kills", 0).await?;
    let mut servant = Victim::start(&stage).await?;
    let folder = stage.data().join("counted");
    std::fs::create_dir_all(&folder)?;
    deploy(&stage, &folder).await?;
    servant.before = strays::runs(stage.data());
    let took = tokio::select! {
        took = kill_all(&mut servant, &stage) => took,
        never = churn(&stage.client) => match never {},
    };
    settle(&stage).await?;
    servant.note(&strays::runs(stage.data()));
    let lost = lost(&stage, &folder, servant.before.keys()).await?;
    let (died, doubled) = (servant.died.len(), servant.doubled.len());
    servant.process.kill9();
    stage.stop().await;
    Ok(rows(&took, died, doubled, lost))
}

fn rows(took: &[Duration], died: usize, doubled: usize, lost: u64) -> Vec<Row> {
    let samples = Samples::millis(took);
    let adopted = Row::of("servant_kills_adopted", &samples, "ms", Target::AtMost(ADOPTED_MS));
    let none = |name, count: f64, unit| {
        Row::of(name, &Samples::new(vec![count]), unit, Target::AtMost(0.0)).beside("none", None)
    };
    vec![
        Row { value: samples.max(), ..adopted }.beside("nothing", None),
        none("servant_kills_died", died as f64, "instances"),
        none("servant_kills_doubled", doubled as f64, "instances"),
        none("servant_kills_lost", lost as f64, "lines"),
    ]
}

/// The Servant, started by this program, so that nothing waits before its successor.
struct Victim {
    process: Process,
    /// Every counting instance, with its process.
    before: BTreeMap<String, Vec<u32>>,
    died: BTreeSet<String>,
    doubled: BTreeSet<String>,
}

impl Victim {
    async fn start(stage: &Stage) -> anyhow::Result<Self> {
        let mut flags = servant_flags("s1", stage.ports.of_servant(0, 1));
        let none = stage.data().join("no-engine.sock");
        flags.extend(["--docker-socket".into(), none.into(), "--nats".into(), stage.nats_url().into()]);
        flags.extend(["--data".into(), stage.data().into()]);
        let mut process = Process::new("s1", stage.data(), stage::program("servant")?, flags);
        process.start();
        stage.servants_live(1).await;
        let nothing = BTreeMap::new();
        Ok(Self { process, before: nothing, died: BTreeSet::new(), doubled: BTreeSet::new() })
    }

    /// From the start of its successor until that has found every counting instance running.
    async fn kill(&mut self, data: &Path) -> Duration {
        self.process.kill9();
        let said = self.process.output().len();
        self.note(&strays::runs(data));
        let began = Instant::now();
        self.process.start();
        wait::within(PATIENCE, "all are found", async || {
            let output = self.process.output();
            let found = found(&output[said..]);
            let missing = self.before.keys().filter(|id| !found.contains(id.as_str())).count();
            wait::holds(missing == 0, || format!("{missing} are not found yet"))
        })
        .await;
        began.elapsed()
    }

    fn note(&mut self, now: &BTreeMap<String, Vec<u32>>) {
        for (instance, pids) in &self.before {
            let found = now.get(instance).map_or(&[][..], Vec::as_slice);
            if !pids.iter().all(|pid| found.contains(pid)) {
                self.died.insert(instance.clone());
            }
        }
        let twice = now.iter().filter(|(_, pids)| pids.len() > 1).map(|(instance, _)| instance.clone());
        self.doubled.extend(twice);
    }
}

/// The instances that a Servant says to have found running.
fn found(output: &str) -> BTreeSet<&str> {
    let running = output.lines().filter(|line| line.contains(" found ") && line.contains("Running"));
    running.filter_map(|line| line.split("instance=").nth(1)?.split(' ').next()).collect()
}

async fn deploy(stage: &Stage, folder: &Path) -> anyhow::Result<()> {
    let command = json!([std::env::current_exe()?, count::MODE, folder]);
    let manifest = format!("processes:\n  count: {{ command: {command}, stop_grace: 1s }}\n");
    stage.repository("count", &[("king.yaml", &manifest)]).await.publish("v1.0.0").await;
    stage.repository("idle", IDLE_APP).await.publish("v1.0.0").await;
    let instances = INSTANCES.to_string();
    run(stage.kingctl(&["app", "deploy", "count@1.0.0", "--count", &instances, "--wait"])?).await.success();
    run(stage.kingctl(&["app", "deploy", "idle@1.0.0", "--count", "1", "--wait"])?).await.success();
    run(stage.kingctl(&["app", "scale", "idle", "0", "--wait"])?).await.success();
    let runs = strays::runs(stage.data());
    ensure!(runs.len() == INSTANCES && runs.values().all(|pids| pids.len() == 1), "each runs once: {runs:?}");
    Ok(())
}

async fn kill_all(servant: &mut Victim, stage: &Stage) -> Vec<Duration> {
    let mut took = Vec::new();
    for _ in 0..if peers::is_long() { KILLS_LONG } else { KILLS } {
        took.push(servant.kill(stage.data()).await);
        servant.note(&strays::runs(stage.data()));
        ships(&stage.client).await;
    }
    took
}

/// Scales the other app up and down as fast as it is answered and followed.
async fn churn(client: &Client) -> Infallible {
    loop {
        for count in CHURN {
            client.accepted("app.scale", json!({ "app": "idle", "count": count })).await;
            wait::within(PATIENCE, "the load is followed", async || {
                let there = client.ask("instance.ls", json!({ "app": "idle" })).await?.len();
                wait::holds(there == count as usize, || format!("{there} of {count} are there"))
            })
            .await;
        }
    }
}

/// Waits until output goes on to be stored.
async fn ships(client: &Client) {
    let sequence = async || client.stream(LOGS_STREAM).await.cached_info().state.last_sequence;
    let begin = sequence().await;
    wait::within(PATIENCE, "output is stored", async || {
        let stored = sequence().await - begin;
        wait::holds(stored >= STORED, || format!("{stored} messages"))
    })
    .await;
}

/// Ends the load, and waits until only what counts is left.
async fn settle(stage: &Stage) -> anyhow::Result<()> {
    run(stage.kingctl(&["app", "scale", "idle", "0", "--wait"])?).await.success();
    wait::within(PATIENCE, "nothing else runs", async || {
        let runs = strays::runs(stage.data()).len();
        wait::holds(runs == INSTANCES, || format!("{runs} run"))
    })
    .await;
    Ok(())
}

/// Stops the counting, waits until all of it is shipped, and counts what is stored.
async fn lost(stage: &Stage, folder: &Path, ids: impl Iterator<Item = &String>) -> anyhow::Result<u64> {
    std::fs::write(count::stop_file(folder), "")?;
    let folders: BTreeMap<String, PathBuf> =
        supervise::folders(stage.data()).into_iter().filter_map(named).collect();
    let mut written = BTreeMap::new();
    for id in ids {
        let spool = folders.get(id).with_context(|| format!("{id} has a folder"))?;
        let lines = wait::within(PATIENCE, "it stops", async || {
            count::written(folder, id).map_err(|error| format!("{error:#}"))
        })
        .await;
        wait::within(PATIENCE, "all is shipped", async || {
            let next = next_to_ship(spool);
            wait::holds(next > lines, || format!("{next} of {lines} lines of {id} are shipped"))
        })
        .await;
        written.insert(id.clone(), lines);
    }
    let right = right(&stage.client).await?;
    let lost = written.iter().map(|(id, lines)| lines.saturating_sub(*right.get(id).unwrap_or(&0)));
    eprintln!("bench: {} lines were written by {} instances", written.values().sum::<u64>(), written.len());
    Ok(lost.sum())
}

fn named(folder: PathBuf) -> Option<(String, PathBuf)> {
    Some((folder.file_name()?.to_str()?.to_owned(), folder))
}

/// The number of the next line of standard output that is to be shipped, as its Servant has noted it.
fn next_to_ship(folder: &Path) -> u64 {
    let text = std::fs::read_to_string(folder.join("shipped")).unwrap_or_default();
    text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(1)
}

/// How many lines of each instance are stored in their place, each with its own number.
async fn right(client: &Client) -> anyhow::Result<BTreeMap<String, u64>> {
    let stream = client.stream(LOGS_STREAM).await;
    let stored = stream.cached_info().state.messages;
    let consumer = stream.create_consumer(OrderedConfig::default()).await?;
    let mut messages = consumer.messages().await?;
    let mut right: BTreeMap<String, u64> = BTreeMap::new();
    for _ in 0..stored {
        let message = messages.next().await.context("the stream goes on")??;
        let (_, app, instance, output) =
            subject::parse_log(&message.subject).context("it is of an instance")?;
        if app.as_str() != "count" || output != Output::Stdout {
            continue;
        }
        let batch: LogBatch = wire::decode(&message.payload)?;
        ensure!(batch.gap.is_none(), "{instance}: a gap is told: {:?}", batch.gap);
        let last = right.entry(instance.to_string()).or_default();
        for (number, line) in (batch.first..).zip(&batch.lines) {
            // What was stored and not yet noted is stored again.
            let is_next = number == *last + 1 && count::number_of(&line.text) == Some(number);
            *last += u64::from(is_next);
        }
    }
    Ok(right)
}
