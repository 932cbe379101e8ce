//! `kingctl king verify`: whether the log is what a journal has seen of it.

use crate::cli::Globals;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{self, Item};
use crate::progress::Progress;
use crate::table::Cell;
use anyhow::{Context, anyhow};
use bus::compare::{self, Report, Seen};
use bus::journal::{Journal, JournalError, Testimony};
use bus::store::StoreError;
use clap::Args;
use serde::Serialize;
use std::path::{Path, PathBuf};

pub const EXAMPLES: &str = "\
Examples:
  kingctl king verify
  kingctl king verify --journal /var/lib/king/king/journal
  kingctl king verify --journal /var/lib/king/king/journal --offline

While a King runs, its journal is its own; then the log is compared with the witness beside it. Exits with 1 when anything
differs.";

/// How many commits pass between two lines of progress.
const STEP: u64 = 10_000;

/// What to compare.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The journal of a King: the folder `king/journal` in its data folder. Without one the log is proved alone.
    #[arg(long, value_name = "DIR")]
    pub journal: Option<PathBuf>,
    /// Prove the journal alone, without NATS.
    #[arg(long, requires = "journal")]
    pub offline: bool,
}

/// One part that was proved.
#[derive(Debug, Serialize)]
struct Proved {
    /// `log`, `journal` or `witness`.
    part: &'static str,
    /// Good commits from the beginning on.
    commits: u64,
    /// The last event of these.
    event: u64,
    /// The hash of the last of these.
    hash: String,
    /// The first sequence that cannot be trusted; none when all is well.
    first_bad: Option<u64>,
    finding: Option<String>,
}

impl Proved {
    fn new(part: &'static str, report: &Report) -> Self {
        Self {
            part,
            commits: report.good.sequence,
            event: report.good.event,
            hash: report.good.hash.to_string(),
            first_bad: report.finding.as_ref().map(compare::Finding::sequence),
            finding: report.finding.as_ref().map(ToString::to_string),
        }
    }
}

/// A journal, or what can be had of it while a King uses it.
enum Opened {
    Whole(Journal),
    Witness(Testimony),
}

/// Does it.
///
/// # Errors
/// When anything differs, or cannot be read.
pub async fn run(globals: &Globals, args: &VerifyArgs) -> Result<(), Failure> {
    let mut progress = Progress::new(globals);
    let mut proved = Vec::new();
    let opened = args.journal.as_deref().map(open).transpose()?;
    if let Some(Opened::Whole(journal)) = &opened {
        let report = compare::whole_journal(journal, |sequence| show(&mut progress, "journal", sequence));
        proved.push(Proved::new("journal", &report.context("the journal cannot be read")?));
    }
    if args.offline && matches!(opened, Some(Opened::Witness(_))) {
        return Err(Failure::Conflict(
            "the journal is in use by a King; stop it, or leave --offline out".into(),
        ));
    }
    if !args.offline {
        let client = Client::connect(globals).await?;
        let seen: Option<&dyn Seen> = match &opened {
            Some(Opened::Whole(journal)) => Some(journal),
            Some(Opened::Witness(witness)) => Some(witness),
            None => None,
        };
        let walked =
            compare::whole_log(&client.bus, seen, |sequence| show(&mut progress, "log", sequence)).await;
        proved.push(Proved::new("log", &walked.context("the log cannot be compared")?));
    }
    progress.clear();
    output::list(globals, &proved)?;
    match proved.iter().find_map(|proved| proved.finding.clone()) {
        Some(finding) => Err(Failure::Failed(anyhow!("{finding}"))),
        None => Ok(()),
    }
}

fn open(folder: &Path) -> Result<Opened, Failure> {
    if !folder.join("witness").is_dir() {
        let folder = folder.display();
        return Err(Failure::NotFound(format!(
            "there is no journal in {folder}; name the folder king/journal of a King's data"
        )));
    }
    match Journal::open(folder) {
        Ok(journal) => Ok(Opened::Whole(journal)),
        Err(JournalError::Store(StoreError::InUse { .. })) => {
            let witness = Testimony::read(folder).context("the witness of the journal cannot be read")?;
            Ok(Opened::Witness(witness))
        }
        Err(error) => Err(anyhow!(error).context("the journal cannot be opened").into()),
    }
}

pub(super) fn show(progress: &mut Progress, part: &str, sequence: u64) {
    if sequence.is_multiple_of(STEP) {
        progress.show(&format!("{part}: {sequence} commits"));
    }
}

impl Item for Proved {
    const COLUMNS: &'static [&'static str] = &["PART", "COMMITS", "EVENT", "FIRST-BAD", "HASH", "FINDING"];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::new(self.part),
            Cell::new(self.commits),
            Cell::new(self.event),
            Cell::new(self.first_bad.map_or_else(|| "-".to_owned(), |sequence| sequence.to_string())),
            Cell::new(&self.hash),
            Cell::new(self.finding.as_deref().unwrap_or("none")),
        ]
    }

    fn name(&self) -> String {
        self.part.to_owned()
    }
}
