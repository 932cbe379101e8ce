//! Events per second through decide, commit and apply in a real King; beside bare commits of the same size.
//!
//! A servant sends batches of 1,000 reports straight to the King, eight in flight. Each report is decided on its own and
//! gives at least one event; the King collects events while a commit is in flight, appends them as the next one, fenced,
//! and after the acknowledgement applies them to the state that readers see and answers the batch. Counted are the
//! events by their numbers, from the first batch sent after a warm-up to the last one answered: the batches' way through the server,
//! their decoding and the King's own publishing of public events meanwhile are all in it.
//!
//! The limit: as many commits of the mean size that the King's had, fenced, one in flight, on the same server; their
//! rate times the mean number of events in the King's commits.

use crate::bare::Appender;
use crate::reports::Talker;
use crate::row::{Row, Target};
use crate::samples::Samples;
use crate::stage::Stage;
use anyhow::{Context, ensure};
use bytes::Bytes;
use events::InstanceId;
use events::subject::LOG_STREAM;
use futures_util::{StreamExt, TryStreamExt, stream};
use kingdom_tests::apps::IDLE_APP;
use kingdom_tests::command::run;
use serde_json::json;
use std::time::Instant;

const ROUNDS: usize = 5;
/// What is sent before it counts, as for the commands per second: the King touches memory that it never had before.
const WARM_UP_BATCHES: usize = 300;
const BATCHES: usize = 900;
const IN_FLIGHT: usize = 8;
const INSTANCES: usize = 10;
const LEAST: f64 = 0.5;

/// Measures.
///
/// # Errors
/// When the kingdom does not run, or does not take a report.
pub async fn measure() -> anyhow::Result<Vec<Row>> {
    // The first round warms up, and tells the size of commits.
    let mut made = round(None).await?.made;
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let round = round(Some(&made)).await?;
        ours.push(round.made.events / round.seconds);
        bare.push(made.events / round.bare_seconds);
        made = round.made;
    }
    let beside = format!(
        "bare fenced commits of {:.0} kB with {:.0} events",
        made.bytes / made.commits / 1e3,
        made.events / made.commits
    );
    let row = Row::of("events_per_second", &Samples::new(ours), "events/s", Target::RatioAtLeast(LEAST));
    Ok(vec![row.beside(beside, Some(Samples::new(bare).median()))])
}

/// What one round took.
struct Round {
    bare_seconds: f64,
    seconds: f64,
    made: Log,
}

/// A round on a fresh kingdom. The limit comes first, so that it has the server to itself; the King does not: it
/// publishes events meanwhile.
async fn round(like: Option<&Log>) -> anyhow::Result<Round> {
    let stage = Stage::start("events_per_second", 0).await?;
    let bare_seconds = match like {
        Some(like) => bare_seconds(&mut Appender::create(&stage.client).await?, like).await?,
        None => 0.0,
    };
    let mut talker = Talker::join(stage.client.clone()).await?;
    let instances = place(&stage).await?;
    let warm_up: Vec<Bytes> = (0..WARM_UP_BATCHES).map(|_| talker.batch(&instances)).collect();
    let batches: Vec<Bytes> = (0..BATCHES).map(|_| talker.batch(&instances)).collect();
    stage.is_quiet().await;
    send_all(&talker, warm_up).await?;
    let before = Log::look(&stage).await?;
    let began = Instant::now();
    send_all(&talker, batches).await?;
    let seconds = began.elapsed().as_secs_f64();
    let made = Log::look(&stage).await?.since(&before);
    stage.stop().await;
    Ok(Round { bare_seconds, seconds, made })
}

async fn send_all(talker: &Talker, batches: Vec<Bytes>) -> anyhow::Result<()> {
    stream::iter(batches).map(|batch| talker.send(batch)).buffered(IN_FLIGHT).try_collect().await
}

/// An app whose instances are all given to the servant that only talks.
async fn place(stage: &Stage) -> anyhow::Result<Vec<InstanceId>> {
    stage.repository("idle", IDLE_APP).await.publish("v1.0.0").await;
    let deploy = ["app", "deploy", "idle@1.0.0", "--count", &INSTANCES.to_string(), "--detach"];
    run(stage.kingctl(&deploy)?).await.success();
    let placed = stage.client.query("instance.ls", json!({ "app": "idle" })).await;
    ensure!(placed.len() == INSTANCES, "not every instance has a place: {placed:?}");
    placed
        .iter()
        .map(|item| Ok(item["instance"].as_str().context("an instance has an id")?.parse()?))
        .collect()
}

async fn bare_seconds(appender: &mut Appender, made: &Log) -> anyhow::Result<f64> {
    let payload = Bytes::from(vec![0x5a; (made.bytes / made.commits) as usize]);
    let began = Instant::now();
    for _ in 0..made.commits as u64 {
        appender.append(payload.clone()).await?;
    }
    Ok(began.elapsed().as_secs_f64())
}

/// How long the log is.
struct Log {
    commits: f64,
    bytes: f64,
    events: f64,
}

impl Log {
    async fn look(stage: &Stage) -> anyhow::Result<Self> {
        let state = stage.client.stream(LOG_STREAM).await.cached_info().state.clone();
        let events = stage.client.king().await["event"].as_u64().context("a King names its last event")?;
        Ok(Self { commits: state.messages as f64, bytes: state.bytes as f64, events: events as f64 })
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            commits: self.commits - before.commits,
            bytes: self.bytes - before.bytes,
            events: self.events - before.events,
        }
    }
}
