//! `kingctl event`: all that has happened, in order, as it happens.

mod filter;
mod line;
mod ls;
mod show;

pub use show::descent;

use crate::cli::Globals;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{self, Format, Style};
use anyhow::anyhow;
use bus::public_events::{EventTail, PublicEvent};
use clap::{Args, Subcommand};
use events::query::{KingItem, Question};
use events::{AppName, Event, EventNumber, ServantName, wire};
use filter::Filter;
use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::time::Duration;
use tokio::time::timeout;

/// How many older events are looked through for those that match.
const LOOK_BACK: EventNumber = 10_000;
/// How long to wait for events that the King has and has not published yet.
const HISTORY_PATIENCE: Duration = Duration::from_secs(5);

/// The nouns that events are about.
const NOUNS: [&str; 10] =
    ["app", "version", "release", "config", "instance", "servant", "command", "alert", "king", "exec"];

/// Events.
#[derive(Debug, Subcommand)]
pub enum EventCommand {
    /// Show the last events, and go on with what comes.
    #[command(
        after_help = "Examples:\n  kingctl event tail\n  kingctl event tail --app shop --since 1\n  kingctl event tail --noun instance -o json | jq .kind"
    )]
    Tail(TailArgs),
    /// List events of the past, by time, actor, noun, app and servant.
    #[command(
        after_help = "Examples:\n  kingctl event ls --since '1h ago' --app shop\n  kingctl event ls --actor ada --noun command -n 20\n  kingctl event ls --since 2026-11-20T03:00:00Z --until 2026-11-20T03:10:00Z -o json\n  kingctl event ls --file monday.backup --servant s1"
    )]
    Ls(ls::LsArgs),
    /// Show one event with what led to it, up to the command and its actor, and all that followed from it.
    #[command(
        after_help = "Examples:\n  kingctl event show 4711\n  kingctl event show 4711 -o json | jq .causes"
    )]
    Show(show::ShowArgs),
}

/// Which events.
#[derive(Clone, Debug, Args)]
pub struct TailArgs {
    /// Start with this event number.
    #[arg(long, value_name = "N")]
    since: Option<EventNumber>,
    /// How many of the last events, unless --since says where to start.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10, conflicts_with = "since")]
    last: u16,
    /// Stop after the newest event.
    #[arg(long)]
    no_follow: bool,
    /// Only those of this noun.
    #[arg(long, value_parser = NOUNS)]
    noun: Option<String>,
    /// Only those about this app: its versions, releases, configuration and instances too.
    #[arg(long)]
    app: Option<AppName>,
    /// Only those about this servant: the instances on it too.
    #[arg(long)]
    servant: Option<ServantName>,
}

impl EventCommand {
    /// Does it.
    ///
    /// # Errors
    /// When no King answers, or the events cannot be read.
    pub async fn run(self, globals: &Globals) -> Result<(), Failure> {
        match self {
            Self::Tail(args) => tail(globals, args).await,
            Self::Ls(args) => ls::run(globals, args).await,
            Self::Show(args) => show::run(globals, args).await,
        }
    }
}

async fn tail(globals: &Globals, args: TailArgs) -> Result<(), Failure> {
    let client = Client::connect(globals).await?;
    let king: KingItem = client.query_one("king.show", &Question::default()).await?;
    let mut filter = Filter::load(&client, &args).await?;
    let first = first_event(&args, king.event);
    let mut events = EventTail::open(&client.bus, &[], first).await.map_err(|error| anyhow!(error))?;
    let seen = history(globals, &args, &mut filter, &mut events, first..=king.event).await?;
    if args.no_follow {
        return all_seen(seen, king.event);
    }
    loop {
        let event = read(events.next().await.map_err(|error| anyhow!(error))?)?;
        if filter.lets_through(&event) {
            print(globals, &event)?;
        }
    }
}

/// Whether nothing is missing up to the King's newest event.
fn all_seen(seen: EventNumber, newest: EventNumber) -> Result<(), Failure> {
    if seen >= newest {
        return Ok(());
    }
    Err(Failure::Failed(anyhow!(
        "the King is at event {newest}, but none after {seen} was published within {HISTORY_PATIENCE:?}; ask again with --since {}",
        seen + 1
    )))
}

/// Prints what has happened: all of it with --since, or else the last events that match. Returns the number of the
/// last event that was there.
async fn history(
    globals: &Globals,
    args: &TailArgs,
    filter: &mut Filter,
    events: &mut EventTail,
    numbers: RangeInclusive<EventNumber>,
) -> Result<EventNumber, Failure> {
    let mut kept = VecDeque::new();
    let mut next = *numbers.start();
    while numbers.contains(&next) {
        // Older ones may be gone, and the newest not published yet.
        let Ok(public) = timeout(HISTORY_PATIENCE, events.next()).await else { break };
        let event = read(public.map_err(|error| anyhow!(error))?)?;
        next = event.id + 1;
        if !filter.lets_through(&event) {
            continue;
        }
        if args.since.is_some() {
            print(globals, &event)?;
            continue;
        }
        kept.push_back(event);
        if kept.len() > usize::from(args.last) {
            kept.pop_front();
        }
    }
    kept.iter().try_for_each(|event| print(globals, event))?;
    Ok(next.saturating_sub(1))
}

fn first_event(args: &TailArgs, newest: EventNumber) -> EventNumber {
    let back = if args.noun.is_some() || args.app.is_some() || args.servant.is_some() {
        LOOK_BACK
    } else {
        EventNumber::from(args.last)
    };
    args.since.unwrap_or_else(|| (newest + 1).saturating_sub(back)).max(1)
}

fn read(public: PublicEvent) -> Result<Event, Failure> {
    let decoded = wire::decode(&public.payload);
    Ok(decoded.map_err(|error| anyhow!("event {} cannot be read: {}", public.number, error.reason()))?)
}

fn print(globals: &Globals, event: &Event) -> Result<(), Failure> {
    match globals.output {
        Format::Table => output::print(&line::for_people(event, Style::of_stdout(globals))),
        Format::Json => output::print(&(line::json(event).to_string() + "\n")),
        Format::Name => output::print(&format!("{}\n", event.id)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_end_is_said() {
        assert!(all_seen(7, 7).is_ok() && all_seen(9, 7).is_ok());
        let failure = all_seen(5, 7).expect_err("two are missing");
        assert_eq!(failure.code(), 1);
        assert!(format!("{failure:?}").contains("--since 6"), "{failure:?}");
    }
}
