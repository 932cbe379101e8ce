//! `kingctl event ls`: the events of the past that match, newest page by default.

use super::line;
use crate::cli::Globals;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{self, Format, Style};
use crate::past::{self, FileArg};
use anyhow::Context;
use clap::Args;
use events::limits::EVENTS_PER_PAGE;
use events::query::{EventQuestion, Moment};
use events::{Actor, AppName, Event, ServantName};

/// Which events.
#[derive(Clone, Debug, Args)]
pub struct LsArgs {
    /// Only from here on: an event number, a time (RFC 3339), or how long ago (`10m ago`).
    #[arg(long, value_name = "TIME|EVENT", value_parser = past::parse_moment)]
    since: Option<Moment>,
    /// Only up to here.
    #[arg(long, value_name = "TIME|EVENT", value_parser = past::parse_moment)]
    until: Option<Moment>,
    /// Only what this actor did: `kingctl:ada`, or `ada` for whatever tool she used.
    #[arg(long)]
    actor: Option<Actor>,
    /// Only those of this noun.
    #[arg(long, value_parser = super::NOUNS)]
    noun: Option<String>,
    /// Only those about this app: its versions, releases, configuration and instances too.
    #[arg(long)]
    app: Option<AppName>,
    /// Only those about this servant: the instances on it too.
    #[arg(long)]
    servant: Option<ServantName>,
    /// The newest so many of those that match.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    limit: u32,
    #[command(flatten)]
    file: FileArg,
}

/// Does it.
///
/// # Errors
/// When neither a King nor a file answers.
pub async fn run(globals: &Globals, args: LsArgs) -> Result<(), Failure> {
    let mut question = EventQuestion {
        since: args.since,
        until: args.until,
        actor: args.actor,
        noun: args.noun,
        app: args.app,
        servant: args.servant,
        ..EventQuestion::default()
    };
    let asked = Asked::open(globals, &args.file).await?;
    let mut pages = Vec::new();
    let mut left = args.limit;
    while left > 0 {
        question.limit = Some(left.min(EVENTS_PER_PAGE as u32));
        let (events, next) = asked.page(&question).await?;
        left = left.saturating_sub(events.len() as u32);
        pages.push(events);
        question.after = next;
        if question.after.is_none() {
            break;
        }
    }
    pages.iter().rev().flatten().try_for_each(|event| print(globals, event))?;
    if let (Some(before), Format::Table) = (&question.after, globals.output) {
        eprintln!(
            "there are older ones: ask for more with --limit, or go on with --until before event {before}"
        );
    }
    Ok(())
}

/// Who is asked.
enum Asked {
    King(Client),
    File(Box<(past::OpenBackup, audit::Index)>),
}

impl Asked {
    async fn open(globals: &Globals, file: &FileArg) -> Result<Self, Failure> {
        match &file.file {
            None => Ok(Self::King(Client::connect(globals).await?)),
            Some(path) => {
                let backup = past::open(path)?;
                let index = past::index(&backup)?;
                Ok(Self::File(Box::new((backup, index))))
            }
        }
    }

    async fn page(&self, question: &EventQuestion) -> Result<(Vec<Event>, Option<String>), Failure> {
        match self {
            Self::King(client) => client.page("event.ls", question).await,
            Self::File(file) => {
                let page = audit::find::page(&file.0, &file.1, question);
                Ok(page.context("could not read the backup")?)
            }
        }
    }
}

fn print(globals: &Globals, event: &Event) -> Result<(), Failure> {
    match globals.output {
        Format::Table => output::print(&line::for_people(event, Style::of_stdout(globals))),
        Format::Json => output::print(&audit::export::json_line(event)),
        Format::Name => output::print(&format!("{}\n", event.id)),
    }
}
