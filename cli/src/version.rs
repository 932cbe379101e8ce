//! `kingctl version`: what was pushed and can be deployed.

use crate::cli::Globals;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{self, Item};
use crate::table::Cell;
use clap::Subcommand;
use events::AppName;
use events::query::{Question, VersionItem};

/// Versions of an app.
#[derive(Debug, Subcommand)]
pub enum VersionCommand {
    /// List the versions of an app, as they were published by a push of their tags.
    #[command(after_help = "Example:\n  kingctl version ls shop")]
    Ls { app: AppName },
}

impl VersionCommand {
    /// Does it.
    ///
    /// # Errors
    /// When there is no such app, or no King answers.
    pub async fn run(self, globals: &Globals) -> Result<(), Failure> {
        match self {
            Self::Ls { app } => {
                let client = Client::connect(globals).await?;
                let question = Question { app: Some(app), ..Question::default() };
                let found = client.query::<VersionItem>("version.ls", &question).await?;
                output::list(globals, &found)
            }
        }
    }
}

impl Item for VersionItem {
    const COLUMNS: &'static [&'static str] = &["APP", "VERSION", "COMMIT", "PUBLISHED"];

    fn cells(&self) -> Vec<Cell> {
        let commit = self.commit.map(|commit| commit.to_string()[..12].to_owned());
        vec![
            Cell::new(&self.app),
            Cell::new(&self.version),
            Cell::optional(commit),
            Cell::new(self.published_at),
        ]
    }

    fn name(&self) -> String {
        format!("{}@{}", self.app, self.version)
    }
}
