//! `kingctl command`: what became of a command, asked for by its id.

use crate::cli::Globals;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{self, Item, Paint};
use crate::table::Cell;
use clap::Subcommand;
use events::query::{CommandItem, Question};
use events::{CommandId, Outcome};

/// Commands.
#[derive(Debug, Subcommand)]
pub enum CommandCommand {
    /// Show what became of a command; outcomes are kept for a day.
    #[command(after_help = "Example:\n  kingctl command show 019a1c2e-6f0b-7c11-8f4e-3a5d1c9b7e10")]
    Show { id: CommandId },
}

impl CommandCommand {
    /// Does it.
    ///
    /// # Errors
    /// When no outcome is stored under the id, or no King answers.
    pub async fn run(self, globals: &Globals) -> Result<(), Failure> {
        match self {
            Self::Show { id } => {
                let client = Client::connect(globals).await?;
                let question = Question { id: Some(id.clone()), ..Question::default() };
                let found = client.query::<CommandItem>("command.show", &question).await?;
                if found.is_empty() {
                    return Err(Failure::NotFound(format!(
                        "no outcome is stored for the command {id}: it never arrived, or it is older than a day"
                    )));
                }
                output::list(globals, &found)
            }
        }
    }
}

impl Item for CommandItem {
    const COLUMNS: &'static [&'static str] =
        &["ID", "COMMAND", "AT", "STATUS", "EVENT", "RELEASE", "REFUSAL"];

    fn cells(&self) -> Vec<Cell> {
        let (status, event, release, refusal) = match &self.outcome {
            Outcome::Accepted { event, release } => {
                (Cell::painted(Paint::Good, "accepted"), Some(*event), *release, None)
            }
            Outcome::Refused { event, refusal } => {
                (Cell::painted(Paint::Bad, "refused"), *event, None, Some(refusal.to_string()))
            }
        };
        vec![
            Cell::new(&self.id),
            Cell::new(&self.command),
            Cell::new(self.at),
            status,
            Cell::optional(event),
            Cell::optional(release),
            Cell::optional(refusal),
        ]
    }

    fn name(&self) -> String {
        self.id.to_string()
    }
}
