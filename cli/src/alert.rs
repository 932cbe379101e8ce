//! `kingctl alert`: mails that are planned and not yet sent.

use crate::cli::Globals;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{self, Item};
use crate::table::Cell;
use clap::Subcommand;
use events::query::{AlertItem, Question};

/// Alert mails.
#[derive(Debug, Subcommand)]
pub enum AlertCommand {
    /// List the mails that are planned and neither sent nor given up.
    Ls,
}

impl AlertCommand {
    /// Does it.
    ///
    /// # Errors
    /// When no King answers.
    pub async fn run(self, globals: &Globals) -> Result<(), Failure> {
        match self {
            Self::Ls => {
                let client = Client::connect(globals).await?;
                let found = client.query::<AlertItem>("alert.ls", &Question::default()).await?;
                output::list(globals, &found)
            }
        }
    }
}

impl Item for AlertItem {
    const COLUMNS: &'static [&'static str] = &["MAIL", "INCIDENT", "SUBJECT", "PLANNED"];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::new(self.mail),
            Cell::new(&self.incident),
            Cell::new(&self.subject),
            Cell::new(self.planned_at),
        ]
    }

    fn name(&self) -> String {
        self.mail.to_string()
    }
}
