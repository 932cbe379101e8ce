//! `kingctl king repair`: the log made whole again from journals.

use super::verify::show;
use crate::cli::Globals;
use crate::client::Client;
use crate::epoch::Last;
use crate::failure::Failure;
use crate::output::{self, Item};
use crate::progress::Progress;
use crate::table::Cell;
use anyhow::{Context, anyhow};
use bus::compare::Walk;
use bus::journal::Journal;
use bus::provision::Limits;
use bus::repair::{self, Claim, Deed, Journals, Lost, Plan};
use clap::Args;
use events::{Actor, Commit};
use serde::Serialize;
use service::clock;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub const EXAMPLES: &str = "\
Examples:
  kingctl king repair --journal /var/lib/king/king/journal
  kingctl king repair --journal /var/lib/king/king/journal --yes
  kingctl king repair --journal king-1/king/journal --journal king-2/king/journal --journal king-3/king/journal

Without --yes only the plan is shown. A King whose log is damaged has let go of its journal and needs no stopping; it goes on
by itself when the log is whole. Journals may be behind each other, and behind the log: name all that you have. The log is
rebuilt from the longest chain that can be proved among them and the readable end of the stream. See with kingctl king ls
what each King has seen; the journal of a King on another host is copied here, as a whole folder.

When a King, a journal's witness or the stream has seen commits that nobody holds who was asked, the plan says which they are,
and --yes is refused without --accept-loss. The journal of a King that is not named then is one of another log: move it away
and start that King again. A repair that was broken off is repeated. After that, compare with kingctl king verify.";

/// How long Kings may take to say what they have seen.
const ROLL_CALL: Duration = Duration::from_secs(2);

/// What to repair from.
#[derive(Debug, Args)]
pub struct RepairArgs {
    /// The journal of a King: the folder `king/journal` in its data folder. May be given several times.
    #[arg(long = "journal", value_name = "DIR", required = true)]
    pub journals: Vec<PathBuf>,
    /// Copies of the log where it is made anew; when absent, as many as a King asks for: 3 in a cluster, or else 1.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=5))]
    pub replicas: Option<u32>,
    /// Do what is planned.
    #[arg(long)]
    pub yes: bool,
    /// Give up the commits that the plan calls lost. The log goes on under a new epoch, and the named journals forget them.
    #[arg(long)]
    pub accept_loss: bool,
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
/// When the journals are not fit, something would be lost, the server refuses, or somebody else writes.
pub async fn run(globals: &Globals, args: &RepairArgs) -> Result<(), Failure> {
    let mut journals = Journals::prove(open(&args.journals)?).context("the journals cannot be used")?;
    let client = Client::connect(globals).await?;
    // Before the log is looked at: what a King has seen is in it then.
    let claims = claims(&client).await?;
    let plan = repair::plan(&client.bus, &journals, &claims).await.context("no repair can be planned")?;
    let save = plan.base.with_file_name(format!("log-before-repair-{}", clock::now().0));
    if !plan.is_empty() {
        is_wanted(globals, args, &plan, &save)?;
    }
    let mut progress = Progress::new(globals);
    let replicas = args.replicas.unwrap_or_else(|| client.bus.replicas());
    let limits = Limits { replicas, ..Limits::default() };
    let seal = |last: &Commit, end: Walk| new_epoch(last, end, client.actor());
    let done = repair::carry_out(&client.bus, &mut journals, &plan, &limits, &save, seal, |sequence| {
        show(&mut progress, "log", sequence);
    })
    .await;
    progress.clear();
    done.context("the repair was not finished; repeat it when the reason is gone")?;
    output::list(globals, &steps(&plan, &save, true))
}

fn open(folders: &[PathBuf]) -> Result<Vec<Journal>, Failure> {
    let open = |folder: &PathBuf| {
        if !folder.join("witness").is_dir() {
            let folder = folder.display();
            return Err(Failure::NotFound(format!(
                "there is no journal in {folder}; name the folder king/journal of a King's data"
            )));
        }
        let opened = Journal::open(folder).with_context(|| {
            let folder = folder.display();
            format!(
                "the journal in {folder} cannot be opened; a King that serves holds its own, and has nothing to repair"
            )
        });
        Ok(opened?)
    };
    // A journal that is named twice is one: it can be opened once only.
    let named: BTreeSet<PathBuf> =
        folders.iter().map(|folder| folder.canonicalize().unwrap_or_else(|_| folder.clone())).collect();
    named.iter().map(open).collect()
}

async fn claims(client: &Client) -> Result<Vec<Claim>, Failure> {
    let kings = super::roll_call(client, ROLL_CALL).await?;
    let claim = |king: events::query::KingPlace| Claim {
        who: format!("{} at {}", king.name, king.http),
        sequence: king.sequence,
        event: king.event,
    };
    Ok(kings.into_iter().map(claim).collect())
}

/// Shows the plan, unless it is to be carried out.
fn is_wanted(globals: &Globals, args: &RepairArgs, plan: &Plan, save: &Path) -> Result<(), Failure> {
    let lost = plan.lost.as_ref().filter(|_| !args.accept_loss);
    if args.yes && lost.is_none() {
        return Ok(());
    }
    output::list(globals, &steps(plan, save, false))?;
    Err(match lost {
        Some(lost) => Failure::Failed(anyhow!(
            "nothing is done: {} would be lost; name the journals of those who have seen them with --journal too, or give \
             them up with --accept-loss",
            what_is_lost(lost)
        )),
        None => Failure::Failed(anyhow!("nothing is done yet; repeat this with --yes to do what is planned")),
    })
}

fn what_is_lost(lost: &Lost) -> String {
    let Lost { from, to, first_event, last_event, seen_by } = lost;
    let events = match (first_event, last_event) {
        (Some(first), Some(last)) => format!(", events {first} to {last}"),
        (Some(first), None) => format!(", from event {first} on"),
        (None, _) => String::new(),
    };
    format!("commits {from} to {to}{events} (seen by {})", seen_by.join(", "))
}

/// The commit that follows where something was lost.
fn new_epoch(last: &Commit, end: Walk, actor: &Actor) -> Commit {
    let at = last.events.last().map_or(events::Timestamp(0), |event| event.at);
    Last { event: end.event, at, epoch: last.epoch, inbox: last.inbox, hash: end.hash }.election(actor)
}

fn steps(plan: &Plan, save: &Path, done: bool) -> Vec<Step> {
    let step = |step, detail| Step { step, detail, done };
    let base = plan.base.display();
    let append = |from: u64, to: u64| {
        step("append", format!("commits {from} to {to} of the journal in {base}, fenced"))
    };
    let mut steps = Vec::new();
    if let Some((from, to)) = plan.rescued {
        steps.push(step(
            "rescue",
            format!("commits {from} to {to}, which the stream alone holds, to that journal"),
        ));
    }
    match plan.deed {
        Deed::Nothing => {}
        Deed::Append { from, to } => steps.push(append(from, to)),
        Deed::Make { to } => {
            steps.extend([step("make", "the stream KING_LOG anew, empty".into()), append(1, to)])
        }
        Deed::Replace { stream, to } => steps.extend([
            step("save", format!("all {stream} commits of the stream KING_LOG to {}", save.display())),
            step("delete", "the stream KING_LOG".into()),
            step("make", "the stream KING_LOG anew, empty".into()),
            append(1, to),
        ]),
    }
    if let Some(lost) = &plan.lost {
        steps.push(step("lose", what_is_lost(lost)));
        steps.push(step("renew", "the epoch, the public events, and journals that have seen more".into()));
    }
    let end = &plan.end;
    steps.push(step("end", format!("the log ends with commit {}, event {}", end.sequence, end.event)));
    steps.push(step("compare", "log, journals and witnesses".into()));
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
