//! `kingctl logs`: the output of an app's instances, merged, or of one instance.

use crate::cli::Globals;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{Format, Paint, Style};
use anyhow::anyhow;
use bus::logs::{LogEntry, LogTail, Logs, Start};
use clap::Args;
use events::query::{AppItem, InstanceItem, Question};
use events::subject::{self, Output};
use events::{AppName, InstanceId, ProcessName, Timestamp};
use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;
use tokio::time::timeout;

/// How long to wait for output that the server says it has.
const HISTORY_PATIENCE: Duration = Duration::from_secs(5);

/// Which output, and how much.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  kingctl logs shop --follow\n  kingctl logs 019a1c2e-6f0b-7c11-8f4e-3a5d1c9b7e10 -n 20\n  kingctl logs shop -o json"
)]
pub struct LogsArgs {
    /// An app, or the id of an instance.
    #[arg(value_name = "APP|INSTANCE")]
    target: String,
    /// Go on with what comes.
    #[arg(short, long)]
    follow: bool,
    /// How many of the last lines.
    #[arg(short = 'n', long = "lines", value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    lines: u32,
}

/// One line, with all that is known of it.
#[derive(Debug, PartialEq, serde::Serialize)]
struct Line {
    at: Timestamp,
    app: AppName,
    instance: InstanceId,
    output: Output,
    /// Its number in that stream, from 1.
    number: u64,
    #[serde(serialize_with = "as_text")]
    text: Vec<u8>,
}

fn as_text<S: serde::Serializer>(text: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&String::from_utf8_lossy(text))
}

impl LogsArgs {
    /// Does it.
    ///
    /// # Errors
    /// When there is no such app, or the output cannot be read.
    pub async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let client = Client::connect(globals).await?;
        // An instance's id could be an app's name by its letters; nobody names an app so.
        let (filter, mut printer) = match self.target.parse::<InstanceId>() {
            Ok(instance) => (subject::instance_logs(instance), Printer::new(globals, Prefix::None)),
            Err(_) => {
                let app = known_app(&client, &self.target).await?;
                (subject::logs(&app, None), Printer::new(globals, Prefix::Instance(Names::default())))
            }
        };
        let mut reader = Reader::open(&client, &filter, u64::from(self.lines)).await?;
        for line in reader.history(self.lines as usize).await? {
            printer.print(&client, &line).await?;
        }
        if !self.follow {
            return Ok(());
        }
        loop {
            for line in reader.next().await? {
                printer.print(&client, &line).await?;
            }
        }
    }
}

async fn known_app(client: &Client, name: &str) -> Result<AppName, Failure> {
    let app: AppName = name.parse().map_err(|error: events::name::NameError| {
        Failure::Usage(format!("{error}; and it is no id of an instance either"))
    })?;
    let question = Question { app: Some(app.clone()), ..Question::default() };
    client.query_one::<AppItem>("app.show", &question).await?;
    Ok(app)
}

/// The last lines of an instance, for an explanation.
///
/// # Errors
/// When the output cannot be read.
pub async fn last_lines(client: &Client, instance: InstanceId, count: usize) -> Result<Vec<String>, Failure> {
    let mut reader = Reader::open(client, &subject::instance_logs(instance), count as u64).await?;
    let lines = reader.history(count).await?;
    Ok(lines.iter().map(|line| String::from_utf8_lossy(&line.text).into_owned()).collect())
}

/// Reads lines in order, each once.
struct Reader {
    tail: LogTail,
    backlog: u64,
    seen: Seen,
}

impl Reader {
    async fn open(client: &Client, filter: &str, lines: u64) -> Result<Self, Failure> {
        let logs = Logs::open(&client.bus).await.map_err(|error| anyhow!(error))?;
        // A batch has at least one line, so as many batches are enough.
        let start = if lines == 0 { Start::New } else { Start::Last(lines) };
        let tail = logs.tail(filter, start).await.map_err(|error| anyhow!(error))?;
        Ok(Self { backlog: tail.backlog(), tail, seen: Seen::default() })
    }

    /// The last lines of what is stored, by the time they were read at.
    async fn history(&mut self, count: usize) -> Result<Vec<Line>, Failure> {
        let mut lines = Vec::new();
        let mut pending = self.backlog;
        while pending > 0 {
            // Some of it may have been dropped by now for newer output: then what came is all there is.
            let Ok(entry) = timeout(HISTORY_PATIENCE, self.tail.next()).await else { break };
            let entry = entry.map_err(|error| anyhow!(error))?;
            pending = entry.pending;
            lines.extend(self.seen.new_lines(entry));
        }
        lines.sort_by_key(|line| line.at);
        Ok(lines.split_off(lines.len().saturating_sub(count)))
    }

    async fn next(&mut self) -> Result<Vec<Line>, Failure> {
        let entry = self.tail.next().await.map_err(|error| anyhow!(error))?;
        Ok(self.seen.new_lines(entry))
    }
}

/// Which lines were read: a batch that was sent again brings nothing new.
#[derive(Debug, Default)]
struct Seen {
    next: BTreeMap<(InstanceId, Output), u64>,
}

impl Seen {
    fn new_lines(&mut self, entry: LogEntry) -> Vec<Line> {
        let Some((_, app, instance, output)) = subject::parse_log(&entry.subject) else { return Vec::new() };
        let next = self.next.entry((instance, output)).or_insert(1);
        let numbered = (entry.batch.first..).zip(entry.batch.lines);
        let fresh: Vec<Line> = numbered
            .filter(|(number, _)| number >= next)
            .map(|(number, line)| Line {
                at: line.at,
                app: app.clone(),
                instance,
                output,
                number,
                text: line.text,
            })
            .collect();
        *next = fresh.last().map_or(*next, |line| line.number + 1);
        fresh
    }
}

/// What stands before each line.
enum Prefix {
    None,
    Instance(Names),
}

/// The process types of instances, asked for when a new one shows up.
#[derive(Debug, Default)]
struct Names {
    processes: BTreeMap<InstanceId, Option<ProcessName>>,
}

impl Names {
    /// `web/7e10`: the process type and the end of the id.
    async fn of(&mut self, client: &Client, line: &Line) -> String {
        if !self.processes.contains_key(&line.instance) {
            let question = Question { app: Some(line.app.clone()), ..Question::default() };
            if let Ok(found) = client.query::<InstanceItem>("instance.ls", &question).await {
                self.processes.extend(found.into_iter().map(|item| (item.instance, Some(item.process))));
            }
            // One that is gone stays without its process type.
            self.processes.entry(line.instance).or_insert(None);
        }
        let id = line.instance.to_string();
        let process = self.processes.get(&line.instance).cloned().flatten();
        let process = process.map_or_else(|| "gone".to_owned(), |process| process.to_string());
        format!("{process}/{}", &id[id.len() - 4..])
    }
}

struct Printer {
    format: Format,
    style: Style,
    prefix: Prefix,
}

impl Printer {
    fn new(globals: &Globals, prefix: Prefix) -> Self {
        Self { format: globals.output, style: Style::of_stdout(globals), prefix }
    }

    async fn print(&mut self, client: &Client, line: &Line) -> Result<(), Failure> {
        let mut bytes = match (self.format, &mut self.prefix) {
            (Format::Json, _) => serde_json::to_vec(line).map_err(|error| anyhow!(error))?,
            (Format::Table, Prefix::Instance(names)) => {
                let name = names.of(client, line).await;
                let paint = match line.output {
                    Output::Stdout => Paint::Good,
                    Output::Stderr => Paint::Busy,
                };
                [self.style.paint(paint, &format!("{name} |")).as_bytes(), b" ", &line.text].concat()
            }
            (Format::Table, Prefix::None) | (Format::Name, _) => line.text.clone(),
        };
        bytes.push(b'\n');
        // As the app wrote it: its own colours are its own business.
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(&bytes)?;
        stdout.flush()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::log::{LogBatch, LogLine};

    fn entry(first: u64, texts: &[&str]) -> LogEntry {
        let instance = "019a1c2e-6f0b-7c11-8f4e-3a5d1c9b7e10";
        let line = |text: &&str| LogLine { at: Timestamp(1), text: text.as_bytes().to_vec() };
        LogEntry {
            sequence: 1,
            subject: format!("king.log.default.shop.{instance}.stdout"),
            batch: LogBatch { first, lines: texts.iter().map(line).collect() },
            pending: 0,
        }
    }

    #[test]
    fn a_line_is_shown_once() {
        let mut seen = Seen::default();
        assert_eq!(seen.new_lines(entry(1, &["a", "b"])).len(), 2);
        assert_eq!(seen.new_lines(entry(1, &["a", "b"])), vec![]);
        let rest = seen.new_lines(entry(2, &["b", "c"]));
        assert_eq!(rest.iter().map(|line| line.number).collect::<Vec<_>>(), vec![3]);
    }

    #[test]
    fn lines_as_json_have_stable_keys() {
        let line = Seen::default().new_lines(entry(4, &["x\u{1b}"])).remove(0);
        let json = serde_json::to_value(&line).expect("encodes");
        let keys: Vec<_> = json.as_object().expect("an object").keys().cloned().collect();
        assert_eq!(keys, ["app", "at", "instance", "number", "output", "text"]);
        assert_eq!(json["text"], "x\u{1b}");
    }
}
