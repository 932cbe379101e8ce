//! The past of a million events: the state at any moment (target: 200 ms), and the first page of any filter (100 ms), from a
//! backup file. Beside them what a fold of everything from the beginning costs.

use crate::past::{EVENTS, Past};
use crate::row::{Row, Target};
use crate::samples::Samples;
use crate::stage;
use audit::backup::{Backup, Writer};
use audit::history::History;
use audit::{Index, StoredCommit, find, travel};
use events::query::{EventQuestion, Moment};
use events::{Timestamp, wire};
use realm::State;
use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::time::{Duration, Instant};

/// How many moments are asked for, spread over the whole log.
const MOMENTS: u64 = 50;
const STATE_MS: f64 = 200.0;
const PAGE_MS: f64 = 100.0;
const BESIDE: &str = "fold from the beginning, ms";

type Log = Backup<BufReader<File>>;

/// The log as a backup file.
fn log(name: &str) -> anyhow::Result<Log> {
    let path = stage::fresh(name)?.join("million.backup");
    let file = BufWriter::new(File::create(&path)?);
    let mut writer = Writer::new(file, Timestamp(0), "bench");
    for (sequence, commit) in (1..).zip(Past::new()) {
        writer.commit(&StoredCommit { sequence, bytes: wire::encode(&commit).into() })?;
    }
    writer.commits_end()?;
    writer.finish(None)?.1.into_inner()?.sync_all()?;
    Ok(Backup::open(BufReader::new(File::open(path)?))?)
}

/// The whole log folded; its state and the time that it took in milliseconds.
fn fold(log: &Log) -> anyhow::Result<(State, f64)> {
    let began = Instant::now();
    let mut state = State::default();
    for stored in log.commits(0)? {
        realm::apply_commit(&mut state, &stored?.read()?)?;
    }
    Ok((state, began.elapsed().as_secs_f64() * 1000.0))
}

fn timed<T>(took: &mut Vec<Duration>, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let began = Instant::now();
    let done = work()?;
    took.push(began.elapsed());
    Ok(done)
}

/// The state at moments all over the log; the slowest counts.
///
/// # Errors
/// When the log cannot be made or read.
pub fn measure_states() -> anyhow::Result<Vec<Row>> {
    let log = log("state_at")?;
    let (whole, beside) = fold(&log)?;
    let mut took = Vec::new();
    for number in 1..=MOMENTS {
        let event = whole.last * number / MOMENTS - 17;
        let state = timed(&mut took, || Ok(travel::state_at(&log, Moment::Event(event))?))?;
        anyhow::ensure!(
            state.last == event,
            "the state of event {} is asked for, not of {event}",
            state.last
        );
    }
    Ok(vec![slowest("state_at", &took, STATE_MS).beside(BESIDE, Some(beside))])
}

/// The first page of filters alone and together; the slowest counts.
///
/// # Errors
/// When the log cannot be made or read.
pub fn measure_pages() -> anyhow::Result<Vec<Row>> {
    let log = log("event_ls")?;
    let mut index = Index::default();
    let began = Instant::now();
    for stored in log.commits(0)? {
        stored?.read()?.events.iter().for_each(|event| index.note(event));
    }
    eprintln!("bench: the index of {EVENTS} events took {:?}", began.elapsed());
    let (_, beside) = fold(&log)?;
    let mut took = Vec::new();
    for question in questions()? {
        let (events, _) = timed(&mut took, || Ok(find::page(&log, &index, &question)?))?;
        eprintln!(
            "bench: {} events in {:?} for {}",
            events.len(),
            took.last(),
            serde_json::to_string(&question)?
        );
    }
    Ok(vec![slowest("event_ls", &took, PAGE_MS).beside(BESIDE, Some(beside))])
}

fn slowest(name: &'static str, took: &[Duration], most: f64) -> Row {
    let samples = Samples::millis(took);
    Row { value: samples.max(), ..Row::of(name, &samples, "ms (slowest)", Target::AtMost(most)) }
}

fn questions() -> anyhow::Result<Vec<EventQuestion>> {
    let filters = [
        r#"{"limit":100}"#,
        r#"{"limit":100,"noun":"instance"}"#,
        r#"{"limit":100,"noun":"servant"}"#,
        r#"{"limit":100,"noun":"command"}"#,
        r#"{"limit":100,"actor":"ops"}"#,
        r#"{"limit":100,"actor":"host-7"}"#,
        r#"{"limit":100,"app":"shop"}"#,
        r#"{"limit":100,"servant":"host-5"}"#,
        r#"{"limit":100,"app":"shop","servant":"host-5","actor":"host-6"}"#,
        r#"{"limit":100,"app":"shop","until":{"event":500000}}"#,
        r#"{"limit":100,"since":{"event":400000},"until":{"event":600000},"servant":"host-9"}"#,
        r#"{"limit":100,"until":{"time":1700000300000},"noun":"instance"}"#,
    ];
    filters.into_iter().map(|filter| Ok(serde_json::from_str(filter)?)).collect()
}
