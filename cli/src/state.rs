//! `kingctl state`: what was true at a moment, and what changed between two.

use crate::cli::Globals;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{self, Format, Item, Paint, Style, visible};
use crate::past::{self, FileArg, OpenBackup};
use crate::table::Cell;
use anyhow::anyhow;
use audit::travel;
use clap::{Args, Subcommand};
use events::query::{
    AlertItem, AppItem, Change, ConfigItem, DifferenceItem, ExecItem, FieldChange, InstanceItem, Moment,
    Question, ReleaseItem, ServantItem, StateItem, StateQuestion, VersionItem,
};
use events::{AppName, ProcessName, ServantName};
use realm::query::Items;
use realm::{State, difference};
use serde::de::DeserializeOwned;

/// The state of the kingdom, also of the past.
#[derive(Debug, Subcommand)]
pub enum StateCommand {
    /// Show what was true at a moment: as a whole, or the list of one noun as it would have been shown then.
    #[command(
        after_help = "Examples:\n  kingctl state show --at '10m ago'\n  kingctl state show --at 2026-11-20T03:00:00Z app\n  kingctl state show --at 4711 instance --app shop\n  kingctl state show --file monday.backup app"
    )]
    Show(ShowArgs),
    /// Show what changed between two moments, thing by thing and field by field.
    #[command(
        after_help = "Examples:\n  kingctl state diff 2026-11-20T02:50:00Z 2026-11-20T03:10:00Z\n  kingctl state diff 1h\n  kingctl state diff 4711 4800 --noun app"
    )]
    Diff(DiffArgs),
}

/// Which state.
#[derive(Clone, Debug, Args)]
pub struct ShowArgs {
    /// What to list; without it, how many there are of each.
    #[arg(value_name = "NOUN", value_parser = ["app", "version", "release", "instance", "servant", "config", "alert", "exec"])]
    noun: Option<String>,
    /// When: an event number, a time (RFC 3339), or how long ago (`10m ago`).
    #[arg(long, value_name = "TIME|EVENT", value_parser = past::parse_moment, default_value = "now")]
    at: Moment,
    /// Only what belongs to this app; needed for versions and releases.
    #[arg(long)]
    app: Option<AppName>,
    /// Only instances on this servant.
    #[arg(long)]
    servant: Option<ServantName>,
    /// Only instances or configuration of this process type.
    #[arg(long)]
    process: Option<ProcessName>,
    #[command(flatten)]
    file: FileArg,
}

/// Which two moments.
#[derive(Clone, Debug, Args)]
pub struct DiffArgs {
    /// The earlier moment: an event number, a time (RFC 3339), or how long ago.
    #[arg(value_name = "FROM", value_parser = past::parse_moment)]
    from: Moment,
    /// The later moment; now, when it is not given.
    #[arg(value_name = "TO", value_parser = past::parse_moment, default_value = "now")]
    to: Moment,
    /// Only things of this noun.
    #[arg(long, value_parser = ["app", "version", "release", "instance", "servant", "config", "alert", "king", "exec"])]
    noun: Option<String>,
    #[command(flatten)]
    file: FileArg,
}

impl StateCommand {
    /// Does it.
    ///
    /// # Errors
    /// When there is no such moment, or neither a King nor a file answers.
    pub async fn run(self, globals: &Globals) -> Result<(), Failure> {
        match self {
            Self::Show(args) => show(globals, args).await,
            Self::Diff(args) => diff(globals, args).await,
        }
    }
}

async fn show(globals: &Globals, args: ShowArgs) -> Result<(), Failure> {
    if matches!(args.noun.as_deref(), Some("version" | "release")) && args.app.is_none() {
        return Err(Failure::Usage("name the app whose list is wanted: --app APP".to_owned()));
    }
    if let Some(path) = &args.file.file {
        let state = state_at(&past::open(path)?, args.at)?;
        return match &args.noun {
            None => output::list(globals, &[travel::describe(&state)]),
            Some(noun) => list_all(globals, &state, noun, &args.question()),
        };
    }
    let client = Client::connect(globals).await?;
    match args.noun.as_deref() {
        None => ask::<StateItem>(globals, &client, &args).await,
        Some("app") => ask::<AppItem>(globals, &client, &args).await,
        Some("version") => ask::<VersionItem>(globals, &client, &args).await,
        Some("release") => ask::<ReleaseItem>(globals, &client, &args).await,
        Some("instance") => ask::<InstanceItem>(globals, &client, &args).await,
        Some("servant") => ask::<ServantItem>(globals, &client, &args).await,
        Some("config") => ask::<ConfigItem>(globals, &client, &args).await,
        Some("alert") => ask::<AlertItem>(globals, &client, &args).await,
        Some("exec") => ask::<ExecItem>(globals, &client, &args).await,
        Some(other) => Err(Failure::Usage(format!("there is no list of {other:?}"))),
    }
}

impl ShowArgs {
    fn question(&self) -> Question {
        Question {
            app: self.app.clone(),
            servant: self.servant.clone(),
            process: self.process.clone(),
            ..Question::default()
        }
    }
}

async fn ask<T: Item + DeserializeOwned>(
    globals: &Globals,
    client: &Client,
    args: &ShowArgs,
) -> Result<(), Failure> {
    let question =
        StateQuestion { at: args.at, to: None, noun: args.noun.clone(), question: args.question() };
    output::list(globals, &client.query_past::<T>("state.show", question).await?)
}

fn state_at(backup: &OpenBackup, moment: Moment) -> Result<State, Failure> {
    travel::state_at(backup, moment).map_err(|error| match error {
        travel::TravelError::Future { .. } => Failure::NotFound(error.to_string()),
        travel::TravelError::History(source) => Failure::Failed(anyhow!(source)),
    })
}

/// A whole list, from a state that is at hand.
fn list_all(globals: &Globals, state: &State, noun: &str, question: &Question) -> Result<(), Failure> {
    match realm::query::items(state, &format!("{noun}.ls"), question).map_err(Failure::Refused)? {
        Items::Apps(items) => output::list(globals, &items),
        Items::Versions(items) => output::list(globals, &items),
        Items::Releases(items) => output::list(globals, &items),
        Items::Instances(items) => output::list(globals, &items),
        Items::Servants(items) => output::list(globals, &items),
        Items::Config(items) => output::list(globals, &items),
        Items::Commands(items) => output::list(globals, &items),
        Items::Alerts(items) => output::list(globals, &items),
        Items::Whys(items) => output::list(globals, &items),
        Items::WhyNots(items) => output::list(globals, &items),
        Items::Execs(items) => output::list(globals, &items),
    }
}

async fn diff(globals: &Globals, args: DiffArgs) -> Result<(), Failure> {
    let found = match &args.file.file {
        Some(path) => {
            let backup = past::open(path)?;
            let (before, after) = (state_at(&backup, args.from)?, state_at(&backup, args.to)?);
            let mut found = difference::between(&before, &after);
            found.retain(|item| args.noun.as_ref().is_none_or(|noun| item.noun == *noun));
            found
        }
        None => {
            let question = StateQuestion {
                at: args.from,
                to: Some(args.to),
                noun: args.noun,
                question: Question::default(),
            };
            Client::connect(globals).await?.query_past("state.diff", question).await?
        }
    };
    match globals.output {
        Format::Table => output::print(&told(&found, Style::of_stdout(globals))),
        Format::Json | Format::Name => output::list(globals, &found),
    }
}

/// `~ app shop` and below it `counts.web: 2 → 3`.
fn told(found: &[DifferenceItem], style: Style) -> String {
    if found.is_empty() {
        return "nothing changed\n".to_owned();
    }
    let mut text = String::new();
    for item in found {
        let (sign, paint) = match item.change {
            Change::Added => ("+", Paint::Good),
            Change::Removed => ("-", Paint::Bad),
            Change::Changed => ("~", Paint::Busy),
        };
        let head = format!("{sign} {} {}", item.noun, visible(&item.name));
        text.push_str(&format!("{}\n", style.paint(paint, &head)));
        item.fields.iter().for_each(|field| text.push_str(&format!("    {}\n", one(field))));
    }
    text
}

fn one(field: &FieldChange) -> String {
    let show = |value: &serde_json::Value| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        visible(&text)
    };
    let name = visible(&field.field);
    match (&field.before, &field.after) {
        (Some(before), Some(after)) => format!("{name}: {} → {}", show(before), show(after)),
        (Some(before), None) => format!("{name}: {} → nothing", show(before)),
        (None, Some(after)) => format!("{name}: {}", show(after)),
        (None, None) => name,
    }
}

impl Item for StateItem {
    const COLUMNS: &'static [&'static str] = &[
        "EVENT",
        "AT",
        "EPOCH",
        "APPS",
        "VERSIONS",
        "RELEASES",
        "INSTANCES",
        "SERVANTS",
        "LOST",
        "CONFIG",
        "STATE-HASH",
    ];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::new(self.event),
            Cell::new(self.at),
            Cell::new(self.epoch),
            Cell::new(self.apps),
            Cell::new(self.versions),
            Cell::new(self.releases),
            Cell::new(self.instances),
            Cell::new(self.servants),
            Cell::new(self.lost),
            Cell::new(self.config),
            Cell::new(self.state_hash),
        ]
    }

    fn name(&self) -> String {
        self.event.to_string()
    }
}

impl Item for DifferenceItem {
    const COLUMNS: &'static [&'static str] = &["NOUN", "NAME", "CHANGE", "FIELDS"];

    fn cells(&self) -> Vec<Cell> {
        let change = match self.change {
            Change::Added => "added",
            Change::Removed => "removed",
            Change::Changed => "changed",
        };
        let fields = self.fields.iter().map(one).collect::<Vec<_>>().join("; ");
        vec![Cell::new(&self.noun), Cell::new(&self.name), Cell::new(change), Cell::new(fields)]
    }

    fn name(&self) -> String {
        format!("{}/{}", self.noun, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_told_field_by_field() {
        let field = |before: Option<i32>, after: Option<i32>| FieldChange {
            field: "counts.web".into(),
            before: before.map(Into::into),
            after: after.map(Into::into),
        };
        let item = DifferenceItem {
            noun: "app".into(),
            name: "shop".into(),
            change: Change::Changed,
            fields: vec![field(Some(2), Some(3)), field(None, Some(1)), field(Some(1), None)],
        };
        let wanted = "~ app shop\n    counts.web: 2 → 3\n    counts.web: 1\n    counts.web: 1 → nothing\n";
        assert_eq!(told(&[item], Style::Plain), wanted);
        assert_eq!(told(&[], Style::Plain), "nothing changed\n");
    }
}
