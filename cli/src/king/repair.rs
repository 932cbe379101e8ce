//! `kingctl king repair`: the log made whole again from a journal.

use super::verify::show;
use crate::cli::Globals;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{self, Item};
use crate::progress::Progress;
use crate::table::Cell;
use anyhow::{Context, anyhow};
use bus::journal::Journal;
use bus::provision::Limits;
use bus::repair::{self, Plan};
use clap::Args;
use serde::Serialize;
use service::clock;
use std::path::PathBuf;

pub const EXAMPLES: &str = "\
Examples:
  kingctl king repair --journal /var/lib/king/king/journal
  kingctl king repair --journal /var/lib/king/king/journal --yes

Without --yes only the plan is shown. A King whose log is damaged has let go of its journal and needs no stopping; it goes on
by itself when the log is whole. Take the journal of the King that has seen most. A repair that was broken off is
repeated. After that, compare with kingctl king verify.";

/// What to repair from.
#[derive(Debug, Args)]
pub struct RepairArgs {
    /// The journal of a King: the folder `king/journal` in its data folder.
    #[arg(long, value_name = "DIR")]
    pub journal: PathBuf,
    /// Copies of the log where it is made anew; when absent, as many as a King asks for: 3 in a cluster, or else 1.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=5))]
    pub replicas: Option<u32>,
    /// Do what is planned.
    #[arg(long)]
    pub yes: bool,
}

/// One step of a plan.
#[derive(Debug, Serialize)]
struct Step {
    step: &'static str,
    detail: String,
    done: bool,
}

/// Does it.
///
/// # Errors
/// When the journal is not fit, the server refuses, or somebody else writes.
pub async fn run(globals: &Globals, args: &RepairArgs) -> Result<(), Failure> {
    if !args.journal.join("witness").is_dir() {
        let folder = args.journal.display();
        return Err(Failure::NotFound(format!(
            "there is no journal in {folder}; name the folder king/journal of a King's data"
        )));
    }
    let journal = Journal::open(&args.journal).context(
        "the journal cannot be opened; a King that serves holds its own, and has nothing to repair",
    )?;
    let client = Client::connect(globals).await?;
    let plan = repair::plan(&client.bus, &journal).await.context("no repair can be planned")?;
    let save = args.journal.join(format!("log-before-repair-{}", clock::now().0));
    if plan != Plan::Nothing && !args.yes {
        output::list(globals, &steps(&plan, &save, false))?;
        return Err(Failure::Failed(anyhow!(
            "nothing is done yet; repeat this with --yes to do what is planned"
        )));
    }
    let mut progress = Progress::new(globals);
    let replicas = args.replicas.unwrap_or_else(|| client.bus.replicas());
    let limits = Limits { replicas, ..Limits::default() };
    let done = repair::carry_out(&client.bus, &journal, &plan, &limits, &save, |sequence| {
        show(&mut progress, "log", sequence);
    })
    .await;
    progress.clear();
    done.context("the repair was not finished; repeat it when the reason is gone")?;
    output::list(globals, &steps(&plan, &save, true))
}

fn steps(plan: &Plan, save: &std::path::Path, done: bool) -> Vec<Step> {
    let step = |step, detail| Step { step, detail, done };
    let append =
        |from: u64, to: u64| step("append", format!("commits {from} to {to} of the journal, fenced"));
    let mut steps = match plan {
        Plan::Nothing => vec![],
        Plan::Append { from, to } => vec![append(*from, *to)],
        Plan::Make { to } => {
            vec![step("make", "the stream KING_LOG anew, empty".into()), append(1, *to)]
        }
        Plan::Replace { stream, to } => vec![
            step("save", format!("all {stream} commits of the stream KING_LOG to {}", save.display())),
            step("delete", "the stream KING_LOG".into()),
            step("make", "the stream KING_LOG anew, empty".into()),
            append(1, *to),
        ],
    };
    steps.push(step("compare", "log, journal and witness".into()));
    steps
}

impl Item for Step {
    const COLUMNS: &'static [&'static str] = &["STEP", "DETAIL", "DONE"];

    fn cells(&self) -> Vec<Cell> {
        vec![Cell::new(self.step), Cell::new(&self.detail), Cell::new(if self.done { "yes" } else { "no" })]
    }

    fn name(&self) -> String {
        self.step.to_owned()
    }
}
