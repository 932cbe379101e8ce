//! One command at a time, from the request to the answer after its commit is on the disk; beside the sum of a bare
//! request/reply and a bare fenced append of a commit's size, p50 to p50 and p99 to p99.
//!
//! The three take turns in rounds, on the same server. Before each round of a bare limit all public events are out, so
//! the limits have the server to themselves; the commands do not: the King publishes while it serves.

use crate::bare::{self, Appender, Responder};
use crate::commands::{self, Commands};
use crate::row::{Row, Target};
use crate::samples::Samples;
use crate::stage::Stage;
use anyhow::ensure;
use bytes::Bytes;
use events::subject::LOG_STREAM;
use std::time::{Duration, Instant};

const ROUNDS: usize = 12;
const CALLS_PER_ROUND: usize = 250;
const WARM_UP: usize = 200;
const MOST: f64 = 1.5;
const BESIDE: &str = "bare request/reply + bare fenced append";

/// Measures.
///
/// # Errors
/// When the kingdom does not run or a call fails.
pub async fn measure() -> anyhow::Result<Vec<Row>> {
    let stage = Stage::start("command_round_trip", 1).await?;
    let _responder = Responder::start(&stage.client, &stage.nats_url()).await?;
    let mut bench =
        Bench { appender: Appender::create(&stage.client).await?, commands: Commands::new(), stage };
    bench.command(WARM_UP).await?;
    let commit = bench.newest_commit().await;
    let (mut ours, mut echo, mut append) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.extend(bench.command(CALLS_PER_ROUND).await?);
        bench.stage.is_quiet().await;
        echo.extend(bench.echo(CALLS_PER_ROUND).await?);
        append.extend(bench.append(CALLS_PER_ROUND, &commit).await?);
    }
    bench.stage.stop().await;
    let (ours, echo, append) = (Samples::micros(&ours), Samples::micros(&echo), Samples::micros(&append));
    Ok([("command_round_trip_p50", 50.0), ("command_round_trip_p99", 99.0)]
        .map(|(name, percent)| row(name, percent, &ours, &echo, &append))
        .to_vec())
}

fn row(name: &'static str, percent: f64, ours: &Samples, echo: &Samples, append: &Samples) -> Row {
    let (echo, append) = (echo.percentile(percent), append.percentile(percent));
    let beside = format!("{BESIDE} ({echo:.0} + {append:.0})");
    let row = Row::of(name, ours, "µs", Target::RatioAtMost(MOST));
    Row { value: ours.percentile(percent), ..row }.beside(beside, Some(echo + append))
}

struct Bench {
    appender: Appender,
    commands: Commands,
    stage: Stage,
}

impl Bench {
    async fn command(&self, calls: usize) -> anyhow::Result<Vec<Duration>> {
        self.call(&Commands::subject(), calls).await
    }

    async fn echo(&self, calls: usize) -> anyhow::Result<Vec<Duration>> {
        self.call(bare::ECHO, calls).await
    }

    async fn call(&self, subject: &str, calls: usize) -> anyhow::Result<Vec<Duration>> {
        let mut took = Vec::with_capacity(calls);
        for _ in 0..calls {
            let (headers, payload) = self.commands.next();
            let began = Instant::now();
            let answer = self.stage.client.nats.request_with_headers(subject.to_owned(), headers, payload);
            let answer = answer.await?;
            took.push(began.elapsed());
            ensure!(commands::is_accepted(&answer.payload), "{subject} answers {:?}", answer.payload);
        }
        Ok(took)
    }

    async fn append(&mut self, calls: usize, commit: &Bytes) -> anyhow::Result<Vec<Duration>> {
        let mut took = Vec::with_capacity(calls);
        for _ in 0..calls {
            let began = Instant::now();
            self.appender.append(commit.clone()).await?;
            took.push(began.elapsed());
        }
        Ok(took)
    }

    /// A commit as the King makes it for one such command.
    async fn newest_commit(&self) -> Bytes {
        let log = self.stage.client.stream(LOG_STREAM).await;
        let last = log.cached_info().state.last_sequence;
        log.get_raw_message(last).await.expect("the King has just written it").payload
    }
}
