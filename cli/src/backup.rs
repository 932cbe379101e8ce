//! `kingctl backup`: the whole kingdom in one file, made while it runs, and brought back at an empty site.

mod create;
mod restore;

use crate::cli::Globals;
use crate::failure::Failure;
use crate::output::{self, Item};
use crate::past;
use crate::table::Cell;
use anyhow::Context;
use audit::backup::Manifest;
use clap::{Args, Subcommand};
use events::{Digest, EventNumber, Timestamp};
use serde::Serialize;
use std::path::PathBuf;

/// Backups.
#[derive(Debug, Subcommand)]
pub enum BackupCommand {
    /// Write everything into one file, while the kingdom runs: the log, states on the way, and every artifact that is
    /// still needed. Output of instances is not in it.
    #[command(after_help = "Examples:\n  kingctl backup create monday.backup\n  tar tvf monday.backup")]
    Create(CreateArgs),
    /// Bring a backup back at an empty site: a NATS server on which no King has run yet.
    #[command(
        after_help = "Example:\n  kingctl backup restore monday.backup --nats nats://127.0.0.1:4222\n\nStart the King afterwards, with an empty data folder. Servants that are still there rejoin by themselves and what runs on\nthem goes on; what was deployed after the backup was made is stopped. A restore that was cut short is done again."
    )]
    Restore(RestoreArgs),
    /// Show what a backup holds, and prove all of it.
    #[command(after_help = "Example:\n  kingctl backup show monday.backup")]
    Show(ShowArgs),
}

/// Where to.
#[derive(Clone, Debug, Args)]
pub struct CreateArgs {
    /// The file to write; it appears when it is whole.
    file: PathBuf,
    /// Replace a file that is there.
    #[arg(long)]
    force: bool,
}

/// From where.
#[derive(Clone, Debug, Args)]
pub struct RestoreArgs {
    /// The backup file.
    file: PathBuf,
    /// Copies of each stream that is made; when absent, as many as a King asks for: 3 in a cluster, or else 1.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=5))]
    replicas: Option<u32>,
}

/// Which.
#[derive(Clone, Debug, Args)]
pub struct ShowArgs {
    /// The backup file.
    file: PathBuf,
}

/// A backup in a list.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BackupItem {
    pub event: EventNumber,
    /// When that event was decided.
    pub at: Timestamp,
    pub commits: u64,
    pub artifacts: usize,
    /// Of what it was made of: commits and states packed, artifacts as they are.
    pub bytes: u64,
    pub checkpoints: usize,
    pub made_at: Timestamp,
    pub state_hash: Digest,
}

impl BackupItem {
    fn of(manifest: &Manifest) -> Self {
        let segments = manifest.segments.iter().map(|segment| segment.entry.bytes);
        let states = manifest.states.iter().map(|state| state.entry.bytes);
        let artifacts = manifest.artifacts.iter().map(|artifact| artifact.bytes);
        Self {
            event: manifest.place.event,
            at: manifest.place.at,
            commits: manifest.place.sequence,
            artifacts: manifest.artifacts.len(),
            bytes: segments.chain(states).chain(artifacts).sum(),
            checkpoints: manifest.checkpoints.len(),
            made_at: manifest.made_at,
            state_hash: manifest.state_hash,
        }
    }
}

impl BackupCommand {
    /// Does it.
    ///
    /// # Errors
    /// When it cannot be done; nothing half done is left in the place of the file.
    pub async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let manifest = match self {
            Self::Create(args) => create::run(globals, args).await?,
            Self::Restore(args) => restore::run(globals, args).await?,
            Self::Show(args) => {
                let backup = past::open(&args.file)?;
                backup.prove().with_context(|| format!("{} is not good", args.file.display()))?;
                backup.manifest().clone()
            }
        };
        output::list(globals, &[BackupItem::of(&manifest)])
    }
}

impl Item for BackupItem {
    const COLUMNS: &'static [&'static str] =
        &["EVENT", "AT", "COMMITS", "ARTIFACTS", "BYTES", "CHECKPOINTS", "MADE", "STATE-HASH"];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::new(self.event),
            Cell::new(self.at),
            Cell::new(self.commits),
            Cell::new(self.artifacts),
            Cell::new(self.bytes),
            Cell::new(self.checkpoints),
            Cell::new(self.made_at),
            Cell::new(self.state_hash),
        ]
    }

    fn name(&self) -> String {
        self.state_hash.to_string()
    }
}
