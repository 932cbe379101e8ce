//! `kingctl config`: shared configuration, for the whole kingdom, an app, or one of its process types.

use crate::cli::Globals;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{self, Item};
use crate::plan::PlanArgs;
use crate::table::Cell;
use crate::values::parse_key_value;
use clap::{Args, Subcommand};
use events::command::{ConfigCommand as Wanted, SetConfig, UnsetConfig};
use events::query::{ConfigItem, Question};
use events::{AppName, Order, ProcessName};
use std::collections::BTreeMap;

/// Shared configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Set keys; they reach instances with the next deploy.
    #[command(
        after_help = "Examples:\n  kingctl config set --app shop DATABASE_URL=postgres://127.0.0.1/shop\n  kingctl config set LOG_LEVEL=debug"
    )]
    Set {
        #[command(flatten)]
        scope: Scope,
        #[arg(required = true, value_name = "KEY=VALUE", value_parser = parse_key_value)]
        values: Vec<(String, String)>,
        #[command(flatten)]
        plan: PlanArgs,
    },
    /// Unset keys.
    #[command(after_help = "Example:\n  kingctl config unset --app shop DATABASE_URL")]
    Unset {
        #[command(flatten)]
        scope: Scope,
        #[arg(required = true, value_name = "KEY")]
        keys: Vec<String>,
        #[command(flatten)]
        plan: PlanArgs,
    },
    /// List keys and values.
    #[command(after_help = "Example:\n  kingctl config ls --app shop")]
    Ls {
        #[command(flatten)]
        scope: Scope,
    },
}

/// Whom a key is for; without anything, for the whole kingdom.
#[derive(Clone, Debug, Args)]
pub struct Scope {
    /// The app.
    #[arg(long)]
    app: Option<AppName>,
    /// The process type of that app.
    #[arg(long, requires = "app")]
    process: Option<ProcessName>,
}

impl ConfigCommand {
    /// Does it.
    ///
    /// # Errors
    /// When a key or value is refused, or no King answers.
    pub async fn run(self, globals: &Globals) -> Result<(), Failure> {
        match self {
            Self::Set { scope: Scope { app, process }, values, plan } => {
                let values: BTreeMap<String, String> = values.into_iter().collect();
                let said = format!("set {}", values.keys().cloned().collect::<Vec<_>>().join(", "));
                change(globals, Wanted::from(SetConfig { app, process, values }).into(), &said, &plan).await
            }
            Self::Unset { scope: Scope { app, process }, keys, plan } => {
                let said = format!("unset {}", keys.join(", "));
                let keys = keys.into_iter().collect();
                change(globals, Wanted::from(UnsetConfig { app, process, keys }).into(), &said, &plan).await
            }
            Self::Ls { scope: Scope { app, process } } => {
                let client = Client::connect(globals).await?;
                let question = Question { app, process, ..Question::default() };
                let found = client.query::<ConfigItem>("config.ls", &question).await?;
                output::list(globals, &found)
            }
        }
    }
}

async fn change(globals: &Globals, order: Order, said: &str, plan: &PlanArgs) -> Result<(), Failure> {
    plan.send_and_say(globals, order, &format!("{said}; instances get it with the next deploy\n")).await
}

impl Item for ConfigItem {
    const COLUMNS: &'static [&'static str] = &["APP", "PROCESS", "KEY", "VALUE", "REVISION"];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::optional(self.app.as_ref()),
            Cell::optional(self.process.as_ref()),
            Cell::new(&self.key),
            Cell::new(&self.value),
            Cell::new(self.revision),
        ]
    }

    fn name(&self) -> String {
        self.key.clone()
    }
}
