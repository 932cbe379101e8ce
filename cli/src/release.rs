//! `kingctl release`: versions bound to the configuration of their deploy, numbered per app.

use crate::cli::Globals;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{self, Item, Paint};
use crate::table::Cell;
use clap::Subcommand;
use events::AppName;
use events::query::{Question, ReleaseItem};

/// Releases of an app.
#[derive(Debug, Subcommand)]
pub enum ReleaseCommand {
    /// List the releases of an app.
    #[command(after_help = "Example:\n  kingctl release ls shop")]
    Ls { app: AppName },
}

impl ReleaseCommand {
    /// Does it.
    ///
    /// # Errors
    /// When there is no such app, or no King answers.
    pub async fn run(self, globals: &Globals) -> Result<(), Failure> {
        match self {
            Self::Ls { app } => {
                let client = Client::connect(globals).await?;
                let question = Question { app: Some(app), ..Question::default() };
                let found = client.query::<ReleaseItem>("release.ls", &question).await?;
                output::list(globals, &found)
            }
        }
    }
}

impl Item for ReleaseItem {
    const COLUMNS: &'static [&'static str] = &["APP", "RELEASE", "VERSION", "CURRENT", "CREATED"];

    fn cells(&self) -> Vec<Cell> {
        let current = if self.current { Cell::painted(Paint::Good, "yes") } else { Cell::new("no") };
        vec![
            Cell::new(&self.app),
            Cell::new(self.release),
            Cell::new(&self.version),
            current,
            Cell::new(self.created_at),
        ]
    }

    fn name(&self) -> String {
        self.release.to_string()
    }
}
