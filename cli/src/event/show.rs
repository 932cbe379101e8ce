//! `kingctl event show`: one event with its chain, from the command and its actor down to all that followed.

use super::line;
use crate::cli::Globals;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{self, Format, Paint, Style, visible};
use crate::past::{self, FileArg};
use anyhow::anyhow;
use audit::chain::{self, ChainError};
use clap::Args;
use events::event::{CommandEvent, Fact};
use events::query::{ChainItem, ChainLink, EventQuestion};
use events::{Event, EventNumber};

/// Which event.
#[derive(Clone, Debug, Args)]
pub struct ShowArgs {
    /// The number of the event.
    #[arg(value_name = "EVENT")]
    number: EventNumber,
    #[command(flatten)]
    file: FileArg,
}

/// Does it.
///
/// # Errors
/// When there is no such event, or neither a King nor a file answers.
pub async fn run(globals: &Globals, args: ShowArgs) -> Result<(), Failure> {
    let chain = match &args.file.file {
        Some(path) => {
            let backup = past::open(path)?;
            let index = past::index(&backup)?;
            chain::of(&backup, &index, args.number).map_err(|error| match error {
                ChainError::Unknown { .. } => Failure::NotFound(error.to_string()),
                ChainError::History(source) => Failure::Failed(anyhow!(source)),
            })?
        }
        None => {
            let question = EventQuestion { number: Some(args.number), ..EventQuestion::default() };
            let (mut found, _) = Client::connect(globals).await?.page("event.show", &question).await?;
            found.pop().ok_or_else(|| Failure::NotFound(format!("there is no event {}", args.number)))?
        }
    };
    match globals.output {
        Format::Table => output::print(&told(&chain, Style::of_stdout(globals))),
        Format::Json => {
            let text = serde_json::to_string_pretty(&chain).map_err(|error| anyhow!(error))?;
            output::print(&(text + "\n"))
        }
        Format::Name => output::print(&format!("{}\n", chain.event.id)),
    }
}

fn told(chain: &ChainItem, style: Style) -> String {
    let event = &chain.event;
    let mut text = String::new();
    let fields = [
        ("event", event.id.to_string()),
        ("time", event.at.to_string()),
        ("kind", event.fact.kind().to_owned()),
        ("actor", event.actor.to_string()),
        ("cause", audit::export::cause(&event.cause)),
        ("domain", event.domain.to_string()),
    ];
    for (name, value) in fields {
        text.push_str(&format!("{name:<8}{}\n", visible(&value)));
    }
    let data = serde_json::to_string_pretty(&line::json(event)["data"]).unwrap_or_default();
    text.push_str(&format!("data    {}\n", data.lines().map(visible).collect::<Vec<_>>().join("\n        ")));
    text.push_str("\nbecause of\n");
    let own = ChainLink { event: event.clone(), led_to: Vec::new() };
    text.push_str(&descent(&[vec![own], chain.causes.clone()].concat(), style));
    text.push_str("\nled to\n");
    if chain.consequences.is_empty() {
        text.push_str("nothing else\n");
    }
    branches(&chain.consequences, "", style, &mut text);
    if chain.cut {
        text.push_str("… and more: see `kingctl event ls --since` for all of it\n");
    }
    text
}

/// From the first that is known down to the event that all of it led to, which comes first in `links`.
pub fn descent(links: &[ChainLink], style: Style) -> String {
    let mut text = String::new();
    for (depth, link) in links.iter().rev().enumerate() {
        let told = if depth + 1 == links.len() {
            style.paint(Paint::Strong, &one(&link.event, Style::Plain))
        } else {
            one(&link.event, style)
        };
        text.push_str(&format!("{}{told}\n", "   ".repeat(depth)));
    }
    text
}

fn branches(links: &[ChainLink], indent: &str, style: Style, text: &mut String) {
    for (index, link) in links.iter().enumerate() {
        let is_last = index + 1 == links.len();
        let (fork, pass) = if is_last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        text.push_str(&format!("{indent}{fork}{}\n", one(&link.event, style)));
        branches(&link.led_to, &format!("{indent}{pass}"), style, text);
    }
}

/// `42 instance.crashed <id> (servant:s1, 2026-…)`; an outcome is told as its command.
fn one(event: &Event, style: Style) -> String {
    let about = match &event.fact {
        Fact::Command(CommandEvent::Accepted(fact)) => format!("{} {}", fact.command, fact.id),
        Fact::Command(CommandEvent::Refused(fact)) => format!("{} {}", fact.command, fact.id),
        Fact::App(_)
        | Fact::Version(_)
        | Fact::Release(_)
        | Fact::Config(_)
        | Fact::Instance(_)
        | Fact::Servant(_)
        | Fact::Alert(_)
        | Fact::King(_)
        | Fact::Exec(_) => event.fact.subject_id(),
    };
    format!(
        "{} {} {}{}",
        event.id,
        style.paint(line::paint(&event.fact), event.fact.kind()),
        visible(&about),
        style.paint(Paint::Faint, &format!("  ({}, {})", event.actor, event.at))
    )
}
