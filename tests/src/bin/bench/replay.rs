//! How fast a King has its state again: the same million events folded from its journal and from JetStream on one core, beside
//! a bare consumer of the same commits; and the start of a King that has a snapshot of nearly all of them.
//!
//! The events are what a busy kingdom says: instances that crash, start and become healthy, and commands that are accepted.

use crate::past::{COMMITS, EVENTS, Past};
use crate::row::{Row, Target};
use crate::samples::Samples;
use crate::stage;
use anyhow::ensure;
use bus::connect::Options;
use bus::journal::{Entry, Journal};
use bus::log::Log;
use bus::{Bus, provision};
use bytes::Bytes;
use events::{Commit, Digest, wire};
use kingdom_tests::http;
use kingdom_tests::nats::{Server, Syncing};
use kingdom_tests::ports::Ports;
use kingdom_tests::process::Process;
use kingdom_tests::wait;
use realm::{State, apply_commit};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const RUNS: usize = 3;
/// Events a second on one core.
const LEAST: f64 = 1_000_000.0;
/// Of the journal's rate.
const JETSTREAM_SHARE: f64 = 0.8;
const START_MOST_MS: f64 = 1000.0;
const SNAPSHOT_PATIENCE: Duration = Duration::from_secs(120);

/// Measures.
///
/// # Errors
/// When NATS, the journal or the King fails.
pub async fn measure() -> anyhow::Result<Vec<Row>> {
    let ground = Ground::prepare("replay").await?;
    let (log, folder) = (&ground.log, &ground.folder);
    fill(log, &folder.join("journal")).await?;

    let journal = Journal::open(folder.join("journal"))?;
    let (mut from_journal, mut from_stream, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        bare.push(consume(log).await?);
        from_journal.push(replay_journal(&journal)?);
        from_stream.push(replay_stream(log).await?);
    }
    let bare = Samples::new(bare).median();
    let (from_journal, from_stream) = (Samples::new(from_journal), Samples::new(from_stream));
    let journal_rate = from_journal.median();
    let mut rows = vec![
        Row::of("replay_journal", &from_journal, "events/s", Target::AtLeast(LEAST))
            .beside("bare consumer of the same commits", Some(bare)),
        Row::of("replay_jetstream", &from_stream, "events/s", Target::RatioAtLeast(JETSTREAM_SHARE))
            .beside("the journal", Some(journal_rate)),
    ];
    drop(journal);
    rows.push(start_of_a_king(&ground).await?);
    Ok(rows)
}

/// The same commits in the stream and in a journal.
async fn fill(log: &Log, folder: &Path) -> anyhow::Result<()> {
    let journal = Journal::open(folder)?;
    for (sequence, commit) in (1..).zip(Past::new()) {
        let bytes = Bytes::from(wire::encode(&commit));
        log.append(bytes.clone(), sequence - 1).await?;
        journal.append(&[Entry::of(sequence, &commit, Digest::of(&bytes), bytes)])?;
    }
    journal.sync()?;
    Ok(())
}

fn replay_journal(journal: &Journal) -> anyhow::Result<f64> {
    let (mut fold, began) = (Fold::default(), Instant::now());
    for commit in journal.commits(0) {
        fold.take(&commit?.1)?;
    }
    fold.rate(began)
}

async fn replay_stream(log: &Log) -> anyhow::Result<f64> {
    let (mut fold, mut tail, began) = (Fold::default(), log.tail(0), Instant::now());
    for _ in 0..COMMITS {
        fold.take(&tail.next().await?.payload)?;
    }
    fold.rate(began)
}

/// Takes the commits and does nothing with them.
async fn consume(log: &Log) -> anyhow::Result<f64> {
    let (mut tail, began) = (log.tail(0), Instant::now());
    for _ in 0..COMMITS {
        tail.next().await?;
    }
    Ok(EVENTS as f64 / began.elapsed().as_secs_f64())
}

/// What a King does with each commit when it starts: decode, prove the chain, apply.
#[derive(Default)]
struct Fold {
    state: State,
    hash: Option<Digest>,
}

impl Fold {
    fn take(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let commit: Commit = wire::decode(bytes)?;
        ensure!(commit.previous == self.hash.unwrap_or(Digest::ZERO), "the chain is broken");
        apply_commit(&mut self.state, &commit)?;
        self.hash = Some(Digest::of(bytes));
        Ok(())
    }

    fn rate(&self, began: Instant) -> anyhow::Result<f64> {
        let took = began.elapsed().as_secs_f64();
        ensure!(self.state.last == EVENTS, "{} of {EVENTS} events are folded", self.state.last);
        Ok(EVENTS as f64 / took)
    }
}

/// A NATS server with an empty log, and a place for a King.
pub struct Ground {
    pub folder: PathBuf,
    pub ports: Ports,
    pub server: Server,
    pub log: Log,
    bus: Bus,
}

impl Ground {
    /// Starts one in a fresh folder.
    ///
    /// # Errors
    /// When NATS fails.
    pub async fn prepare(name: &str) -> anyhow::Result<Self> {
        let (folder, ports) = (stage::fresh(name)?, Ports::reserve());
        let mut server = Server::prepare(&folder, &folder, ports.nats(), Syncing::Always);
        server.start().await;
        let bus =
            bus::connect(&Options { url: server.url(), name: "bench".into(), credentials: None }).await?;
        provision::provision(&bus, &provision::Limits::default()).await?;
        let log = Log::open(&bus).await?;
        Ok(Self { folder, ports, server, log, bus })
    }

    /// A King that is not started yet.
    ///
    /// # Errors
    /// When it is not built.
    pub fn king(&self) -> anyhow::Result<Process> {
        let flags = [
            OsString::from("--nats"),
            self.server.url().into(),
            "--data".into(),
            self.folder.clone().into(),
            "--http".into(),
            self.ports.http().to_string().into(),
            "--nats-system-password-file".into(),
            self.server.password_file.clone().into(),
        ];
        Ok(Process::new("king", &self.folder, stage::program("king")?, flags))
    }
}

/// Waits until the journal of the King has a snapshot of nearly all events.
pub async fn has_snapshot(ports: &Ports, events: u64) {
    wait::within(SNAPSHOT_PATIENCE, "the journal has a snapshot", async || {
        let metrics = http::get(ports.http(), "/metrics").await.map_err(|error| error.to_string())?;
        let event = metrics.body.lines().find_map(|line| line.strip_prefix("king_snapshot_event_number "));
        let taken = event.and_then(|event| event.parse::<u64>().ok()).unwrap_or(0);
        wait::holds(taken + 100_000 > events, || format!("event {taken}"))
    })
    .await;
}

/// A King whose journal has it all, from its start until `/readyz` says 200.
async fn start_of_a_king(ground: &Ground) -> anyhow::Result<Row> {
    let mut king = ground.king()?;
    king.start();
    has_snapshot(&ground.ports, EVENTS).await;
    ground.bus.flush().await?;
    let mut took = Vec::new();
    for _ in 0..RUNS {
        king.kill9();
        let began = Instant::now();
        king.start();
        stage::is_ready(&ground.ports).await;
        took.push(began.elapsed());
    }
    king.kill9();
    let row = Row::of("start_with_million", &Samples::millis(&took), "ms", Target::AtMost(START_MOST_MS));
    Ok(row.beside("nothing", None))
}
