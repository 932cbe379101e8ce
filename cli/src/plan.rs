//! `--plan` and `--plan-token`: look at what a command would do before it is done, then let exactly that be done.

use crate::cli::Globals;
use crate::client::{Accepted, Client};
use crate::failure::Failure;
use crate::output::{self, Format, Paint, Style};
use crate::table::{Cell, Table};
use clap::Args;
use events::Order;
use events::plan::{PlanItem, PlanToken};
use events::query::{Change, DifferenceItem, FieldChange};
use serde_json::Value;

/// Longest value that a line shows, in characters.
const VALUE_LETTERS: usize = 60;

/// Whether to look first.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "What-if")]
pub struct PlanArgs {
    /// Do nothing: show the events that this would cause, what would differ, and a token for exactly that.
    #[arg(long, conflicts_with = "plan_token")]
    plan: bool,
    /// Do exactly what the plan with this token showed; refused when the world has moved.
    #[arg(long, value_name = "TOKEN")]
    plan_token: Option<PlanToken>,
}

impl PlanArgs {
    /// Whether only the plan is wanted, so that nothing has to be confirmed.
    pub fn is_plan(&self) -> bool {
        self.plan
    }

    /// Sends a command, or shows its plan; nothing comes back where nothing was done.
    ///
    /// # Errors
    /// When the command is, or would be, refused, or no King answers.
    pub async fn send(
        &self,
        globals: &Globals,
        client: &Client,
        order: Order,
    ) -> Result<Option<Accepted>, Failure> {
        if !self.plan {
            return client.command(order, self.plan_token.as_ref()).await.map(Some);
        }
        let item = client.plan(&order).await?;
        match &item.refusal {
            Some(refusal) => Err(Failure::Refused(refusal.clone())),
            None => show(globals, &item).map(|()| None),
        }
    }

    /// Sends a command and says that it was done; or shows its plan.
    ///
    /// # Errors
    /// As [`PlanArgs::send`].
    pub async fn send_and_say(&self, globals: &Globals, order: Order, said: &str) -> Result<(), Failure> {
        let client = Client::connect(globals).await?;
        match self.send(globals, &client, order).await? {
            Some(_) => output::print(said),
            None => Ok(()),
        }
    }
}

fn show(globals: &Globals, item: &PlanItem) -> Result<(), Failure> {
    match globals.output {
        Format::Table => output::print(&text(Style::of_stdout(globals), item)),
        Format::Json => output::print(&output::json(std::slice::from_ref(item))),
        Format::Name => output::print(&format!("{}\n", token(item))),
    }
}

fn token(item: &PlanItem) -> String {
    item.token.as_ref().map_or_else(String::new, ToString::to_string)
}

fn text(style: Style, item: &PlanItem) -> String {
    let release = item.release.map_or_else(String::new, |release| format!(" (release {release})"));
    let mut text = format!("{}{release} would cause {}\n", item.command, count(item));
    if !item.events.is_empty() {
        let mut table = Table::new(&["EVENT", "DATA"]);
        for event in &item.events {
            table.push(vec![Cell::new(&event.kind), Cell::new(named(item, data(&event.data)))]);
        }
        text.push_str(&format!("\n{}", table.render(style)));
        text.push_str(&left_out(item.events_left_out, "events"));
    }
    if !item.differences.is_empty() {
        text.push_str("\nWhat would differ:\n");
        item.differences
            .iter()
            .for_each(|difference| text.push_str(&named(item, describe(style, difference))));
        text.push_str(&left_out(item.differences_left_out, "differences"));
    }
    text.push_str(&format!(
        "\nNothing was done. To do exactly this, give the same command with\n  --plan-token {}\n",
        token(item)
    ));
    text
}

fn count(item: &PlanItem) -> String {
    match item.events.len() + item.events_left_out {
        0 => "no event: all is already as it asks".to_owned(),
        1 => "1 event".to_owned(),
        count => format!("{count} events"),
    }
}

fn left_out(count: usize, what: &str) -> String {
    if count == 0 { String::new() } else { format!("… and {count} more {what}\n") }
}

/// Servants by their names, as people know them.
fn named(item: &PlanItem, text: String) -> String {
    item.servants.iter().fold(text, |text, (id, name)| text.replace(&id.to_string(), name.as_str()))
}

/// The fields of an event in one line.
fn data(data: &Value) -> String {
    match data {
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(_, value)| !value.is_null());
            fields.map(|(key, value)| format!("{key}={}", short(value))).collect::<Vec<_>>().join(" ")
        }
        other => short(other),
    }
}

fn short(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            value.to_string()
        }
    };
    if text.chars().count() <= VALUE_LETTERS {
        return text;
    }
    text.chars().take(VALUE_LETTERS).chain(['…']).collect()
}

fn describe(style: Style, difference: &DifferenceItem) -> String {
    let (sign, paint) = match difference.change {
        Change::Added => ('+', Paint::Good),
        Change::Removed => ('-', Paint::Bad),
        Change::Changed => ('~', Paint::Busy),
    };
    let head = format!("{sign} {} {}", difference.noun, output::visible(&difference.name));
    let mut text = format!("{}\n", style.paint(paint, &head));
    // What was removed is told by its name.
    if difference.change != Change::Removed {
        difference.fields.iter().for_each(|field| text.push_str(&describe_field(field)));
    }
    text
}

fn describe_field(FieldChange { field, before, after }: &FieldChange) -> String {
    let show = |value: &Option<Value>| value.as_ref().map_or_else(|| "-".to_owned(), short);
    let change = match before {
        Some(_) => format!("{} -> {}", show(before), show(after)),
        None => show(after),
    };
    format!("    {}: {}\n", output::visible(field), output::visible(&change))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::Parser;
    use serde_json::json;

    #[test]
    fn every_command_that_changes_something_can_be_planned() {
        for words in [
            "app create shop",
            "app deploy shop@1.4.0",
            "app scale shop 3",
            "app stop shop",
            "app remove shop",
            "config set A=b",
            "config unset A",
            "servant remove s1",
        ] {
            let with = |more: &str| {
                let line = format!("kingctl {words} {more}");
                Cli::try_parse_from(line.split_whitespace().map(str::to_owned)).map(|_| ())
            };
            with("--plan").expect(words);
            with("--plan-token 12:00000000000000ab:app.scaled=1=00000000000000cd").expect(words);
            with("--plan-token 12").expect_err("no token");
            with("--plan --plan-token 12:00000000000000ab:nothing").expect_err("one of both");
        }
    }

    #[test]
    fn what_would_differ_is_told_field_by_field() {
        let field = |before: Option<u64>, after: Option<u64>| FieldChange {
            field: "counts.web".into(),
            before: before.map(Value::from),
            after: after.map(Value::from),
        };
        let difference = |change, field| DifferenceItem {
            noun: "app".into(),
            name: "shop".into(),
            change,
            fields: vec![field],
        };
        let told = |change, field| describe(Style::Plain, &difference(change, field));
        assert_eq!(told(Change::Changed, field(Some(1), Some(2))), "~ app shop\n    counts.web: 1 -> 2\n");
        assert_eq!(told(Change::Added, field(None, Some(2))), "+ app shop\n    counts.web: 2\n");
        assert_eq!(told(Change::Removed, field(Some(1), None)), "- app shop\n");
        assert_eq!(
            data(&json!({"app": "shop", "commit": null, "counts": {"web": 2}})),
            "app=shop counts={\"web\":2}"
        );
    }
}
