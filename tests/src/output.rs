//! The output of instances as it is stored in `KING_LOGS`, read by a client that is not the kingdom's own.

use crate::client::Client;
use events::log::LogBatch;
use events::subject::{self, Output};
use events::wire;
use std::collections::BTreeMap;

/// The lines of one stream of one instance by their numbers, from 1.
pub type Lines = BTreeMap<u64, String>;

/// Everything that is stored of an app, by instance and stream.
///
/// # Panics
/// When a message is no batch of lines, or two batches give different lines under one number.
pub async fn stored(client: &Client, app: &str) -> BTreeMap<(String, Output), Lines> {
    let mut all: BTreeMap<_, Lines> = BTreeMap::new();
    for (_, place, bytes) in client.messages(subject::LOGS_STREAM).await {
        let (_, from, instance, output) = subject::parse_log(&place).expect("a subject of the log stream");
        if from.as_str() != app {
            continue;
        }
        let batch: LogBatch = wire::decode(&bytes).expect("a batch of lines");
        let lines = all.entry((instance.to_string(), output)).or_default();
        for (number, line) in (batch.first..).zip(batch.lines) {
            let text = String::from_utf8_lossy(&line.text).into_owned();
            let before = lines.insert(number, text.clone());
            assert!(before.is_none_or(|before| before == text), "line {number} of {place} has two texts");
        }
    }
    all
}

/// The batches of an instance's standard output by their first lines, with what they say is missing.
///
/// # Panics
/// When a message is no batch of lines.
pub async fn batches(client: &Client, instance: &str) -> BTreeMap<u64, LogBatch> {
    let mut all = BTreeMap::new();
    for (_, place, bytes) in client.messages(subject::LOGS_STREAM).await {
        let (_, _, from, output) = subject::parse_log(&place).expect("a subject of the log stream");
        if from.to_string() == instance && output == Output::Stdout {
            let batch: LogBatch = wire::decode(&bytes).expect("a batch of lines");
            all.insert(batch.first, batch);
        }
    }
    all
}

/// Why the lines are not all of those that a counter (`out 1`, `out 2`, …) has printed so far.
///
/// # Errors
/// The first that is missing or wrong.
pub fn counts_without_a_gap(lines: &Lines, word: &str) -> Result<u64, String> {
    let mut wanted = 1;
    for (number, text) in lines {
        if *number != wanted || *text != format!("{word} {wanted}") {
            return Err(format!("where `{word} {wanted}` should be stands line {number}: {text:?}"));
        }
        wanted += 1;
    }
    Ok(wanted - 1)
}
