//! `kingctl king`: the King that answers.

mod verify;
mod repair;

use crate::cli::Globals;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{self, Item};
use crate::table::Cell;
use clap::Subcommand;
use events::query::{KingItem, Question};

/// The King.
#[derive(Debug, Subcommand)]
pub enum KingCommand {
    /// Show the King that answers: its epoch, newest event and the hash of its state.
    Show,
    /// Compare the log with a journal and its witness, and prove the chain of hashes; name the first bad commit.
    #[command(after_help = verify::EXAMPLES)]
    Verify(verify::VerifyArgs),
    /// Rebuild a log that was lost or changed from a journal. Shows the plan first.
    #[command(after_help = repair::EXAMPLES)]
    Repair(repair::RepairArgs),
}

impl KingCommand {
    /// Does it.
    ///
    /// # Errors
    /// When no King answers.
    pub async fn run(self, globals: &Globals) -> Result<(), Failure> {
        match self {
            Self::Show => {
                let client = Client::connect(globals).await?;
                let found = client.query::<KingItem>("king.show", &Question::default()).await?;
                output::list(globals, &found)
            }
            Self::Verify(args) => verify::run(globals, &args).await,
            Self::Repair(args) => repair::run(globals, &args).await,
        }
    }
}

impl Item for KingItem {
    const COLUMNS: &'static [&'static str] =
        &["KING", "EPOCH", "EVENT", "PUBLISHED", "VERSION", "STATE-HASH"];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::new(self.king),
            Cell::new(self.epoch),
            Cell::new(self.event),
            Cell::new(self.published),
            Cell::new(&self.version),
            Cell::new(self.state_hash),
        ]
    }

    fn name(&self) -> String {
        self.king.to_string()
    }
}
