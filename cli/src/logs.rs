//! `kingctl logs`: the output of an app's instances, merged by time, or of one instance. It asks the bus alone: instances
//! that are gone and apps that are stopped or removed have their output too, and a dead King hides none.

mod entry;
mod seen;
mod reader;
mod merge;
mod filter;
mod print;

use crate::cli::Globals;
use crate::client::Client;
use crate::failure::Failure;
use clap::Args;
use entry::Entry;
use events::query::{AppItem, InstanceItem, Moment, Question};
use events::subject::{self, Output};
use events::{AppName, InstanceId, ProcessName, Timestamp};
use filter::Filter;
use merge::Merger;
use print::{Prefix, Printer};
use reader::{Extent, History, Reader};
use regex::bytes::Regex;

/// Lines that are shown when nothing says how many.
const USUAL_LINES: usize = 100;

const AFTER_HELP: &str = "\
Examples:
  kingctl logs shop --follow
  kingctl logs shop --since 10m --grep 'timeout|refused'
  kingctl logs shop --process worker --stderr -n 500
  kingctl logs 019a1c2e-6f0b-7c11-8f4e-3a5d1c9b7e10 --since 2026-11-20T03:00:00Z --until 2026-11-20T03:05:00Z
  kingctl logs shop --since 1h -o json | jq -r .text

Lines of several instances are merged by the time at which they were read from the process. Before each stands its
process type and the end of its instance's id; `!` marks stderr. Where lines are missing for good, a line says how many,
which, and why. On a terminal, control characters are shown, not obeyed; elsewhere the bytes come as they were written.
With -o json there is one object per line: its text stands in `text`, or in `base64` if it is not UTF-8; `open` says that
no newline followed, `continued` that it goes on with the line before; a gap has `gap` in the place of a text.";

/// Which output, and how much.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct LogsArgs {
    /// An app, or the id of an instance.
    #[arg(value_name = "APP|INSTANCE")]
    target: String,
    /// Go on with what comes.
    #[arg(short, long, conflicts_with = "until")]
    follow: bool,
    /// How many of the last lines; all from --since on, else 100.
    #[arg(short = 'n', long = "tail", alias = "lines", value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    tail: Option<u32>,
    /// Only from here on: how long ago (10m, 1h30m, 2d), or a time (RFC 3339).
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    since: Option<Timestamp>,
    /// Only what came before: how long ago, or a time.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    until: Option<Timestamp>,
    /// Only lines in which this regular expression is found.
    #[arg(long, value_name = "REGEX")]
    grep: Option<Regex>,
    /// Only standard error.
    #[arg(long)]
    stderr: bool,
    /// Only instances of this process type.
    #[arg(long, value_name = "TYPE")]
    process: Option<ProcessName>,
}

fn parse_time(text: &str) -> Result<Timestamp, String> {
    let wanted = "a time (2026-11-20T03:00:00Z), or how long ago (10m, 1h30m, 2d)";
    match audit::moment::parse(text, service::clock::now()) {
        Ok(Moment::Time(time)) => Ok(time),
        Ok(Moment::Event(_)) | Err(_) => Err(format!("{text:?} is not {wanted}")),
    }
}

/// What is read.
enum Target {
    App(AppName),
    Instance(InstanceId),
}

impl Target {
    /// An instance's id could be an app's name by its letters; nobody names an app so.
    fn parse(text: &str) -> Result<Self, Failure> {
        if let Ok(instance) = text.parse() {
            return Ok(Self::Instance(instance));
        }
        text.parse().map(Self::App).map_err(|error: events::name::NameError| {
            Failure::Usage(format!("{error}; and it is no id of an instance either"))
        })
    }

    fn subject(&self, output: Option<Output>) -> String {
        match self {
            Self::App(app) => subject::app_logs(app, output),
            Self::Instance(instance) => subject::instance_logs(*instance, output),
        }
    }

    /// Nothing is stored of it: says so when it does not exist at all.
    async fn is_known(&self, client: &Client) -> Result<(), Failure> {
        match self {
            Self::App(app) => {
                let question = Question { app: Some(app.clone()), ..Question::default() };
                client.query_one::<AppItem>("app.show", &question).await.map(drop)
            }
            Self::Instance(instance) => {
                let all = client.query::<InstanceItem>("instance.ls", &Question::default()).await?;
                if all.iter().any(|item| item.instance == *instance) {
                    return Ok(());
                }
                let text = format!("there is no instance {instance}, and no output of it is stored");
                Err(Failure::NotFound(text))
            }
        }
    }
}

impl LogsArgs {
    /// Does it.
    ///
    /// # Errors
    /// When what it names does not exist, or the output cannot be read.
    pub async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = Target::parse(&self.target)?;
        let client = Client::connect(globals).await?;
        let subject = target.subject(self.stderr.then_some(Output::Stderr));
        let prefix = match target {
            Target::App(_) => Prefix::Instance,
            Target::Instance(_) => Prefix::None,
        };
        let mut printer = Printer::new(globals, prefix);
        let extent = self.extent();
        let filter = Filter { since: self.since, until: self.until, grep: self.grep, process: self.process };
        let mut reader = Reader::open(&client, &subject, extent).await?;
        if !reader.has_any() {
            target.is_known(&client).await?;
        }
        let mut merger = Merger::default();
        loop {
            let history = reader.history(&filter, extent, &mut merger).await?;
            let entries = match history {
                History::Goes => merger.take_half(),
                History::Read => merger.take_all(),
            };
            for entry in entries {
                printer.print(&client, &entry).await?;
            }
            if history == History::Read {
                break;
            }
        }
        printer.flush()?;
        if self.follow { follow(&client, reader, &filter, printer).await } else { Ok(()) }
    }

    fn extent(&self) -> Extent {
        match (self.since, self.tail) {
            (Some(since), tail) => Extent::Since(since, tail.map(|lines| lines as usize)),
            (None, tail) => Extent::Last(tail.map_or(USUAL_LINES, |lines| lines as usize)),
        }
    }
}

/// What comes, in order of time as far as a short wait allows, for ever.
async fn follow(
    client: &Client,
    mut reader: Reader,
    filter: &Filter,
    mut printer: Printer,
) -> Result<(), Failure> {
    let mut merger = Merger::default();
    loop {
        let due = merger.due();
        tokio::select! {
            entries = reader.next() => merger.add(entries?.into_iter().filter(|entry| filter.takes(entry))),
            () = tokio::time::sleep_until(due.unwrap_or_else(tokio::time::Instant::now)), if due.is_some() => {
                for entry in merger.take_due() {
                    printer.print(client, &entry).await?;
                }
                printer.flush()?;
            }
        }
    }
}

/// The last lines of an instance, for an explanation.
///
/// # Errors
/// When the output cannot be read.
pub async fn last_lines(client: &Client, instance: InstanceId, count: usize) -> Result<Vec<String>, Failure> {
    let extent = Extent::Last(count);
    let mut reader = Reader::open(client, &subject::instance_logs(instance, None), extent).await?;
    let mut merger = Merger::default();
    reader.history(&Filter::default(), extent, &mut merger).await?;
    let text = |entry: Entry| entry.text().map(|text| String::from_utf8_lossy(text).into_owned());
    Ok(merger.take_all().into_iter().filter_map(text).collect())
}

#[cfg(test)]
mod tests;
