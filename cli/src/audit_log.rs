//! `kingctl audit`: prove the log, export it, and get signatures to be held elsewhere.

use crate::cli::Globals;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{self, Format, Item};
use crate::past::{self, Commits, FileArg};
use crate::table::Cell;
use anyhow::{Context, anyhow};
use audit::export;
use audit::verify::{self, Report, Verifier};
use clap::{Args, Subcommand, ValueEnum};
use events::query::{KeyItem, Moment, Question};
use events::{Checkpoint, KingKey};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Largest checkpoint file that is read.
const CHECKPOINT_BYTES: u64 = 64 * 1024;

/// The log as evidence.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Prove that the log is one unbroken chain, and that it is what was signed; names the first bad commit.
    #[command(
        after_help = "Examples:\n  kingctl audit verify\n  kingctl audit verify --checkpoint monday.json --checkpoint tuesday.json\n  kingctl audit verify --key 3b6a… --file monday.backup\n\nBy itself a log that was cut short is a good one: a checkpoint that is held elsewhere shows the cut."
    )]
    Verify(VerifyArgs),
    /// Print events for other tools, as JSON lines or CSV.
    #[command(
        after_help = "Examples:\n  kingctl audit export > events.jsonl\n  kingctl audit export --format csv --since 7d > week.csv\n  kingctl audit export --file monday.backup"
    )]
    Export(ExportArgs),
    /// Let a King sign what the log is now, to be held elsewhere.
    #[command(after_help = "Example:\n  kingctl audit checkpoint > monday.json")]
    Checkpoint,
    /// Show the public keys of the Kings that were elected.
    #[command(after_help = "Examples:\n  kingctl audit key\n  kingctl audit key -o name")]
    Key,
}

/// What to prove, and by what.
#[derive(Clone, Debug, Args)]
pub struct VerifyArgs {
    /// A checkpoint that was held elsewhere; may be given several times.
    #[arg(long, value_name = "FILE")]
    checkpoint: Vec<PathBuf>,
    /// Trust only this key; may be given several times. Otherwise all Kings that the log says were elected are trusted.
    #[arg(long, value_name = "KEY")]
    key: Vec<KingKey>,
    #[command(flatten)]
    file: FileArg,
}

/// Which events, and how.
#[derive(Clone, Debug, Args)]
pub struct ExportArgs {
    /// The format.
    #[arg(long, value_enum, default_value_t = ExportFormat::Jsonl)]
    format: ExportFormat,
    /// Only from here on: an event number, a time (RFC 3339), or how long ago.
    #[arg(long, value_name = "TIME|EVENT", value_parser = past::parse_moment)]
    since: Option<Moment>,
    /// Only up to here.
    #[arg(long, value_name = "TIME|EVENT", value_parser = past::parse_moment)]
    until: Option<Moment>,
    #[command(flatten)]
    file: FileArg,
}

/// The format of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// One JSON object a line.
    Jsonl,
    /// RFC 4180 with a head; no cell begins like a formula.
    Csv,
}

impl AuditCommand {
    /// Does it.
    ///
    /// # Errors
    /// When it cannot be done, or the log is not what it was.
    pub async fn run(self, globals: &Globals) -> Result<(), Failure> {
        match self {
            Self::Verify(args) => prove(globals, args).await,
            Self::Export(args) => write_out(globals, args).await,
            Self::Checkpoint => sign(globals).await,
            Self::Key => {
                let client = Client::connect(globals).await?;
                let found = client.query::<KeyItem>("audit.key", &Question::default()).await?;
                output::list(globals, &found)
            }
        }
    }
}

async fn prove(globals: &Globals, args: VerifyArgs) -> Result<(), Failure> {
    let trusted = (!args.key.is_empty()).then(|| args.key.iter().copied().collect::<BTreeSet<_>>());
    let mut held = Vec::new();
    for path in &args.checkpoint {
        let checkpoint = read_checkpoint(path)?;
        let checked = verify::check_checkpoint(&checkpoint, trusted.as_ref());
        checked.with_context(|| format!("{} proves nothing", path.display()))?;
        held.push(checkpoint);
    }
    let mut commits = Commits::open(globals, &args.file).await?;
    // A backup holds a signature that was made for it: so its tail is guarded as well.
    let own = commits.checkpoint().filter(|own| verify::check_checkpoint(own, trusted.as_ref()).is_ok());
    let all = held.iter().copied().chain(own).collect();
    let mut verifier = Verifier::new(all, trusted);
    while !verifier.is_over() {
        let some = commits.next().await?;
        if some.is_empty() {
            break;
        }
        some.iter().for_each(|commit| verifier.take(commit));
    }
    let report = verifier.finish();
    let stranger = held.iter().find(|held| !report.keys.contains(&held.key));
    if stranger.is_none() || globals.output == Format::Json {
        tell(globals, &report)?;
    }
    if let Some(fault) = &report.fault {
        return Err(Failure::Conflict(format!(
            "the log is not what it was: commit {} is the first that is not good: {}. Up to event {} all is good.\n  try: \
             compare it with the King's journal by `kingctl king verify`, and with backups by --file",
            fault.sequence, fault.problem, report.good.event
        )));
    }
    if let Some(stranger) = stranger {
        return Err(Failure::Conflict(format!(
            "the checkpoint for event {} is signed by {}, but the log names no King with that key; give --key to say that you trust it",
            stranger.mark.event, stranger.key
        )));
    }
    Ok(())
}

fn read_checkpoint(path: &Path) -> Result<Checkpoint, Failure> {
    let said = || format!("could not read the checkpoint {}", path.display());
    let size = std::fs::metadata(path).with_context(said)?.len();
    if size > CHECKPOINT_BYTES {
        return Err(Failure::Usage(format!(
            "{} has {size} bytes, too many for a checkpoint",
            path.display()
        )));
    }
    let text = std::fs::read(path).with_context(said)?;
    Ok(serde_json::from_slice(&text).with_context(said)?)
}

fn tell(globals: &Globals, report: &Report) -> Result<(), Failure> {
    match globals.output {
        Format::Table if report.fault.is_some() => Ok(()),
        Format::Table => output::print(&format!(
            "good: {} commits up to event {} ({}), one chain without a gap\n\
             signed: {} checkpoints in the log and {} beside it fit; they vouch for all up to event {}\n\
             hash of the last commit: {}\n",
            report.good.sequence,
            report.good.event,
            report.good.at,
            report.signed,
            report.held,
            report.vouched,
            report.good.hash
        )),
        Format::Json => {
            let text = serde_json::to_string_pretty(report).map_err(|error| anyhow!(error))?;
            output::print(&(text + "\n"))
        }
        Format::Name => output::print(&format!("{}\n", report.good.sequence)),
    }
}

async fn write_out(globals: &Globals, args: ExportArgs) -> Result<(), Failure> {
    let mut commits = Commits::open(globals, &args.file).await?;
    if let Some(since) = args.since {
        commits.skip_to(since).await?;
    }
    if args.format == ExportFormat::Csv {
        output::print(export::CSV_HEAD)?;
    }
    loop {
        let some = commits.next().await?;
        if some.is_empty() {
            return Ok(());
        }
        let mut text = String::new();
        let mut is_over = false;
        for stored in some {
            for event in stored.read().map_err(|error| anyhow!(error))?.events {
                is_over |= past::is_after(event.id, event.at, args.until);
                if past::is_within(event.id, event.at, args.since, args.until) {
                    text.push_str(&match args.format {
                        ExportFormat::Jsonl => export::json_line(&event),
                        ExportFormat::Csv => export::csv_record(&event),
                    });
                }
            }
        }
        output::print(&text)?;
        if is_over {
            return Ok(());
        }
    }
}

async fn sign(globals: &Globals) -> Result<(), Failure> {
    let client = Client::connect(globals).await?;
    let checkpoint: Checkpoint = client.query_one("audit.checkpoint", &Question::default()).await?;
    let text = serde_json::to_string_pretty(&checkpoint).map_err(|error| anyhow!(error))?;
    output::print(&(text + "\n"))
}

impl Item for KeyItem {
    const COLUMNS: &'static [&'static str] = &["KEY", "ANSWERS"];

    fn cells(&self) -> Vec<Cell> {
        vec![Cell::new(self.key), Cell::new(if self.answers { "yes" } else { "no" })]
    }

    fn name(&self) -> String {
        self.key.to_string()
    }
}
