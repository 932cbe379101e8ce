//! Output on its way: a million lines of 100 bytes that an instance writes as fast as it can, from the first write to the
//! last line in the spool, beside the same writer with its output redirected to a file in the same folder, in turns. The
//! Servant stands still meanwhile, for it would only add to the load of two cores. Then it goes on, and the time until
//! everything is stored in `KING_LOGS` is taken, and what is stored is counted line by line.
#![allow(
    clippy::disallowed_methods,
    reason = "it watches files and processes, which tell nobody of a change"
)]

use crate::row::{Row, Target};
use crate::samples::Samples;
use crate::spew::{self, Done, Manner, Order};
use crate::stage::Stage;
use anyhow::{Context, ensure};
use events::log::LogBatch;
use events::subject::LOGS_STREAM;
use events::wire;
use kingdom_tests::command::run;
use kingdom_tests::strays;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const LINES: u64 = 1_000_000;
const ROUNDS: usize = 3;
const MANNERS: [Manner; 2] = [Manner::Flushed, Manner::Blocks];
const LEAST_RATIO: f64 = 0.6;
const MOST_HELD_UP_MS: f64 = 1000.0;
const LEAST_STORED: f64 = 100_000.0;
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at the end of the spool.
const LOOK: Duration = Duration::from_micros(500);

/// What the rounds of one manner gave.
#[derive(Default)]
struct Figures {
    captured: Vec<f64>,
    redirected: Vec<f64>,
    held_up_ms: Vec<f64>,
}

/// Measures.
///
/// # Errors
/// When the kingdom does not run, or lines do not arrive.
pub async fn measure() -> anyhow::Result<Vec<Row>> {
    let stage = Stage::start("log_capture", 1).await?;
    let folder = stage.data().join("spew");
    std::fs::create_dir_all(&folder)?;
    let instance = deploy(&stage, &folder).await?;
    let servant = servant_of(stage.data())?;
    let (mut figures, mut stored, mut round) = ([Figures::default(), Figures::default()], Vec::new(), 0);
    for _ in 0..ROUNDS {
        for manner in MANNERS {
            let figures = &mut figures[manner as usize];
            figures.redirected.push(redirected(stage.data(), manner)?);
            kill_process(servant, Signal::STOP)?;
            let captured = captured(&folder, &instance, round, manner);
            kill_process(servant, Signal::CONT)?;
            let (rate, done) = captured?;
            figures.captured.push(rate);
            figures.held_up_ms.push(done.held_up as f64 / 1e6);
            round += 1;
            stored.push(shipped(&instance, LINES * round as u64)?);
        }
    }
    let lost = lost(&stage, LINES * round as u64).await?;
    stage.stop().await;
    Ok(rows(figures, stored, lost))
}

fn rows([flushed, blocks]: [Figures; 2], stored: Vec<f64>, lost: f64) -> Vec<Row> {
    let held_up = Samples::new([flushed.held_up_ms.clone(), blocks.held_up_ms.clone()].concat());
    let row = |name, figures: Figures| {
        let target = Target::RatioAtLeast(LEAST_RATIO);
        let beside = Samples::new(figures.redirected).median();
        Row::of(name, &Samples::new(figures.captured), "lines/s", target)
            .beside("redirect to a file", Some(beside))
    };
    let longest = Row {
        value: held_up.max(),
        ..Row::of("log_capture_held_up", &held_up, "ms", Target::AtMost(MOST_HELD_UP_MS))
    };
    vec![
        row("log_capture_lines", flushed),
        row("log_capture_blocks", blocks),
        longest.beside("none", None),
        Row::of("log_capture_lost", &Samples::new(vec![lost]), "lines", Target::AtMost(0.0))
            .beside("none", None),
        Row::of("log_lines_stored", &Samples::new(stored), "lines/s", Target::AtLeast(LEAST_STORED))
            .beside("none", None),
    ]
}

/// Deploys the writer; gives the folder of its instance.
async fn deploy(stage: &Stage, folder: &Path) -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let rounds = (ROUNDS * MANNERS.len()).to_string();
    let command = serde_json::json!([program, spew::MODE, folder, rounds]);
    let manifest =
        format!("processes:\n  spew: {{ command: {command}, restart: never }}\nerrors: {{ off: false }}\n");
    stage.repository("spew", &[("king.yaml", &manifest)]).await.publish("v1.0.0").await;
    run(stage.kingctl(&["app", "deploy", "spew@1.0.0", "--wait"])?).await.success();
    let mut found = Vec::new();
    find_folders(stage.data(), &mut found)?;
    ensure!(found.len() == 1, "one instance has one folder: {found:?}");
    Ok(found.remove(0))
}

/// The folders of instances, by what only they hold.
fn find_folders(folder: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if entry.file_name() == "runs" && kind.is_file() {
            found.push(folder.to_owned());
        } else if kind.is_dir() {
            find_folders(&entry.path(), found)?;
        }
    }
    Ok(())
}

fn servant_of(data: &Path) -> anyhow::Result<Pid> {
    let is_servant = |seen: &strays::Seen| {
        let program = seen.command_line.split(' ').next().unwrap_or_default();
        program.ends_with("/servant") && seen.instance.is_none()
    };
    let servant = strays::of_folder(data).into_iter().find(is_servant).context("a servant runs")?;
    Pid::from_raw(i32::try_from(servant.pid)?).context("it has a pid")
}

/// The writer with its output in a file; gives its rate.
fn redirected(data: &Path, manner: Manner) -> anyhow::Result<f64> {
    let folder = data.join("redirected");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    spew::leave(&spew::order_file(&folder, 0), &Order { lines: LINES, manner })?;
    let mut command = std::process::Command::new(std::env::current_exe()?);
    command.arg(spew::MODE).arg(&folder).arg("1").stdout(File::create(folder.join("out"))?);
    ensure!(command.status()?.success(), "the writer failed");
    let done: Done = serde_json::from_slice(&std::fs::read(spew::done_file(&folder, 0))?)?;
    let bytes = std::fs::metadata(folder.join("out"))?.len();
    ensure!(bytes == LINES * spew::LINE_BYTES as u64, "the file has {bytes} bytes");
    std::fs::remove_dir_all(&folder)?;
    Ok(rate(done.ended - done.began))
}

/// One round of the instance; gives its rate into the spool.
fn captured(folder: &Path, instance: &Path, round: usize, manner: Manner) -> anyhow::Result<(f64, Done)> {
    spew::leave(&spew::order_file(folder, round), &Order { lines: LINES, manner })?;
    let last = format!("\n{:010} ", LINES - 1).into_bytes();
    let began = Instant::now();
    // The last round ended with the same line: it counts only once this one has begun to write.
    let before = size(instance)?;
    let arrived = loop {
        let now = spew::now();
        if size(instance)? >= before + LINES * spew::LINE_BYTES as u64 && ends_with(instance, &last)? {
            break now;
        }
        ensure!(began.elapsed() < PATIENCE, "the lines are not in the spool within {PATIENCE:?}");
        std::thread::sleep(LOOK);
    };
    let done = loop {
        match std::fs::read(spew::done_file(folder, round)) {
            Ok(bytes) => break serde_json::from_slice::<Done>(&bytes)?,
            Err(_) if began.elapsed() < PATIENCE => std::thread::sleep(LOOK),
            Err(error) => return Err(error).context("the writer does not end"),
        }
    };
    Ok((rate(arrived.max(done.ended) - done.began), done))
}

/// The segments of standard output.
fn segments(instance: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(instance)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with("stdout-") && name.ends_with(".log") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn size(instance: &Path) -> anyhow::Result<u64> {
    Ok(segments(instance)?.iter().map(|path| path.metadata().map_or(0, |meta| meta.len())).sum())
}

fn ends_with(instance: &Path, last: &[u8]) -> anyhow::Result<bool> {
    let Some(path) = segments(instance)?.pop() else { return Ok(false) };
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let tail = length.min(4096);
    let mut bytes = vec![0; tail as usize];
    file.read_exact_at(&mut bytes, length - tail)?;
    Ok(bytes.windows(last.len()).any(|window| window == last))
}

/// Waits until so many lines are stored; gives the rate of this round since now.
fn shipped(instance: &Path, lines: u64) -> anyhow::Result<f64> {
    let began = Instant::now();
    loop {
        let text = std::fs::read_to_string(instance.join("shipped")).unwrap_or_default();
        let next: u64 = text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(1);
        if next > lines {
            return Ok(rate(u64::try_from(began.elapsed().as_nanos())?));
        }
        ensure!(began.elapsed() < PATIENCE, "{next} of {lines} lines are stored within {PATIENCE:?}");
        std::thread::sleep(LOOK);
    }
}

/// How many of so many lines are not stored, or not in their place.
async fn lost(stage: &Stage, lines: u64) -> anyhow::Result<f64> {
    let mut right = 0;
    let mut next = 1;
    for (_, _, bytes) in stage.client.messages(LOGS_STREAM).await {
        let batch: LogBatch = wire::decode(&bytes)?;
        ensure!(batch.gap.is_none(), "a gap is told: {:?}", batch.gap);
        for (number, line) in (batch.first..).zip(&batch.lines) {
            if number < next {
                continue;
            }
            ensure!(number == next, "line {number} follows {}", next - 1);
            right += u64::from(spew::number_of(&line.text) == Some((number - 1) % LINES));
            next += 1;
        }
    }
    Ok((lines - right) as f64)
}

fn rate(nanos: u64) -> f64 {
    LINES as f64 * 1e9 / nanos as f64
}
