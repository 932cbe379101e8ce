//! What `servant top` and `instance top` share: asking, sorting, showing again every second; and how sizes are written.

use crate::cli::Globals;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{self, Format, Item};
use clap::{Args, ValueEnum};
use events::query::MetricsQuestion;
use serde::de::DeserializeOwned;
use std::cmp::Reverse;
use std::io::IsTerminal;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

/// How often a watched table is shown anew: as often as servants measure.
const AGAIN: Duration = Duration::from_secs(1);
/// Goes home and clears what is below.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// How a table of figures is shown.
#[derive(Debug, Args)]
pub struct TopArgs {
    /// Show it anew every second, until Ctrl-C.
    #[arg(long, short)]
    pub watch: bool,
    /// What stands first.
    #[arg(long, value_enum, default_value_t = Sort::Cpu)]
    pub sort: Sort,
    /// Only the first so many.
    #[arg(long, value_name = "COUNT")]
    pub limit: Option<usize>,
}

/// What stands first in a table of figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Sort {
    /// The busiest.
    Cpu,
    /// The largest.
    Memory,
    /// In the order of names or ids.
    Name,
}

/// What has figures to sort by.
pub trait Measured: Item + DeserializeOwned {
    fn cpu_percent(&self) -> f64;
    fn used_bytes(&self) -> u64;
}

/// Asks once or every second, and prints what comes.
///
/// # Errors
/// When what is named does not exist, or no King answers.
pub async fn run<T: Measured>(
    globals: &Globals,
    kind: &str,
    question: &MetricsQuestion,
    args: &TopArgs,
) -> Result<(), Failure> {
    let client = Client::connect(globals).await?;
    if !args.watch {
        let items: Vec<T> = ask(&client, kind, question, args).await?;
        return output::list(globals, &items);
    }
    let mut ticks = interval(AGAIN);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let items: Vec<T> = ask(&client, kind, question, args).await?;
        match globals.output {
            // A stream: one list a line.
            Format::Json => {
                let line = serde_json::to_string(&items);
                output::print(&(line.expect("the kingdom's shapes encode as JSON") + "\n"))?;
            }
            Format::Table | Format::Name => {
                if std::io::stdout().is_terminal() {
                    output::print(CLEAR)?;
                }
                output::list(globals, &items)?;
            }
        }
    }
}

async fn ask<T: Measured>(
    client: &Client,
    kind: &str,
    question: &MetricsQuestion,
    args: &TopArgs,
) -> Result<Vec<T>, Failure> {
    let mut items = all(client, kind, question.clone()).await?;
    sort(&mut items, args.sort);
    items.truncate(args.limit.unwrap_or(usize::MAX));
    Ok(items)
}

/// Every page of an answer.
///
/// # Errors
/// As [`Client::page`].
pub async fn all<T: DeserializeOwned>(
    client: &Client,
    kind: &str,
    mut question: MetricsQuestion,
) -> Result<Vec<T>, Failure> {
    let mut found = Vec::new();
    loop {
        let (items, next) = client.page::<T>(kind, &question).await?;
        found.extend(items);
        if next.is_none() {
            return Ok(found);
        }
        question.after = next;
    }
}

fn sort<T: Measured>(items: &mut [T], by: Sort) {
    match by {
        Sort::Cpu => items.sort_by(|one, other| other.cpu_percent().total_cmp(&one.cpu_percent())),
        Sort::Memory => items.sort_by_key(|item| Reverse(item.used_bytes())),
        Sort::Name => items.sort_by_key(Item::name),
    }
}

/// A size for people: `512 B`, `1.5 MiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A share for people: `12.5 %`.
pub fn percent(share: f64) -> String {
    format!("{share:.1} %")
}

/// How old something is: `0.4 s`.
pub fn age(milliseconds: u64) -> String {
    format!("{:.1} s", milliseconds as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        let written: Vec<String> = [0, 1023, 1536, 5 << 20, u64::MAX].into_iter().map(size).collect();
        assert_eq!(written, ["0 B", "1023 B", "1.5 KiB", "5.0 MiB", "16384.0 PiB"]);
        assert_eq!((percent(12.54), age(430)), ("12.5 %".to_owned(), "0.4 s".to_owned()));
    }
}
