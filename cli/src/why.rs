//! `kingctl why` and `kingctl why-not`: the scheduler's own reasons.

use crate::cli::Globals;
use crate::client::Client;
use crate::event::descent;
use crate::failure::Failure;
use crate::output::{self, Format, Item, Paint, Style};
use crate::table::Cell;
use clap::{Args, Subcommand};
use events::explain::{CandidateItem, Standing, WhyItem, WhyNotItem};
use events::query::Question;
use events::{AppName, InstanceId, ProcessName, ServantName};

/// Why something is as it is.
#[derive(Debug, Subcommand)]
pub enum WhyCommand {
    /// Why an instance is where and how it is: what shall run, the events that led to it up to a command and its actor, and
    /// how the scheduler sees every servant for it now.
    #[command(after_help = "Example:\n  kingctl why instance 019a1c2e-6f0b-7c11-8f4e-3a5d1c9b7e10")]
    Instance {
        /// Its id, as `kingctl instance ls` shows it.
        instance: InstanceId,
    },
}

/// Which app and servant.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  kingctl why-not shop s2\n  kingctl why-not shop s2 --process worker -o json"
)]
pub struct WhyNotArgs {
    /// The app.
    app: AppName,
    /// The name of the servant.
    servant: ServantName,
    /// Only this process type.
    #[arg(long)]
    process: Option<ProcessName>,
}

impl WhyCommand {
    /// Does it.
    ///
    /// # Errors
    /// When there is no such instance, or no King answers.
    pub async fn run(self, globals: &Globals) -> Result<(), Failure> {
        match self {
            Self::Instance { instance } => {
                let client = Client::connect(globals).await?;
                let question = Question { instance: Some(instance), ..Question::default() };
                show(globals, &client.query_one::<WhyItem>("why.instance", &question).await?)
            }
        }
    }
}

impl WhyNotArgs {
    /// Does it.
    ///
    /// # Errors
    /// When the app or the servant does not exist, or no King answers.
    pub async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let client = Client::connect(globals).await?;
        let Self { app, servant, process } = self;
        let question = Question { app: Some(app), servant: Some(servant), process, ..Question::default() };
        output::list(globals, &client.query::<WhyNotItem>("why-not.app", &question).await?)
    }
}

fn show(globals: &Globals, item: &WhyItem) -> Result<(), Failure> {
    match globals.output {
        Format::Json | Format::Name => output::list(globals, std::slice::from_ref(item)),
        Format::Table => {
            let WhyItem { instance, app, process, servant, phase, .. } = item;
            output::print(&format!("{instance} ({process} of {app}) is {phase} on {servant}\n"))?;
            for reason in &item.reasons {
                output::print(&format!("  {}\n", output::visible(reason)))?;
            }
            if !item.causes.is_empty() {
                output::print("\nbecause of\n")?;
                output::print(&descent(&item.causes, Style::of_stdout(globals)))?;
            }
            output::print("\nThe servants for another one like it, in the order of choice:\n")?;
            output::list(globals, &item.candidates)?;
            match item.candidates_left_out {
                0 => Ok(()),
                left => output::print(&format!("… and {left} more servants\n")),
            }
        }
    }
}

impl Item for WhyItem {
    const COLUMNS: &'static [&'static str] = &["INSTANCE", "APP", "PROCESS", "SERVANT", "PHASE", "REASONS"];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::new(self.instance),
            Cell::new(&self.app),
            Cell::new(&self.process),
            Cell::new(&self.servant),
            Cell::new(self.phase),
            Cell::new(self.reasons.join("; ")),
        ]
    }

    fn name(&self) -> String {
        self.instance.to_string()
    }
}

impl Item for CandidateItem {
    const COLUMNS: &'static [&'static str] = &["SERVANT", "CAN", "SAME", "ALL", "WHY NOT"];

    fn cells(&self) -> Vec<Cell> {
        let can = if self.obstacles.is_empty() { (Paint::Good, "yes") } else { (Paint::Bad, "no") };
        vec![
            Cell::new(&self.servant),
            Cell::painted(can.0, can.1),
            Cell::new(self.same),
            Cell::new(self.all),
            Cell::optional((!self.obstacles.is_empty()).then(|| self.obstacles.join("; "))),
        ]
    }

    fn name(&self) -> String {
        self.servant.to_string()
    }
}

impl Item for WhyNotItem {
    const COLUMNS: &'static [&'static str] = &["APP", "PROCESS", "SERVANT", "STANDING", "REASONS"];

    fn cells(&self) -> Vec<Cell> {
        let paint = match self.standing {
            Standing::Runs => Paint::Good,
            Standing::Cannot => Paint::Bad,
            Standing::NotChosen | Standing::NotWanted => Paint::Faint,
        };
        vec![
            Cell::new(&self.app),
            Cell::new(&self.process),
            Cell::new(&self.servant),
            Cell::painted(paint, self.standing),
            Cell::new(self.reasons.join("; ")),
        ]
    }

    fn name(&self) -> String {
        self.process.to_string()
    }
}

#[cfg(test)]
mod tests {
    use crate::cli::Cli;
    use clap::Parser;

    #[test]
    fn explanations_are_asked_for_by_name() {
        let code = |line: &str| Cli::try_parse_from(line.split(' ')).err().map(|error| error.exit_code());
        for line in [
            "kingctl why instance 019a1c2e-6f0b-7c11-8f4e-3a5d1c9b7e10",
            "kingctl why-not shop s2",
            "kingctl why-not shop s2 --process worker -o json",
        ] {
            assert_eq!(code(line), None, "{line}");
        }
        for line in ["kingctl why instance shop", "kingctl why-not shop", "kingctl why-not Shop s2"] {
            assert_eq!(code(line), Some(2), "{line}");
        }
    }
}
