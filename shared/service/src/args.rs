//! The flags that all services share. Each can be given as `KING_…` in the environment; the flag wins.

use crate::loopback;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// Flags of every service: `#[command(flatten)]` them.
#[derive(Clone, Debug, Args)]
pub struct CommonArgs {
    /// The NATS server; of a cluster all servers, separated by commas. Only loopback addresses are taken.
    #[arg(long, env = "KING_NATS", value_name = "URL", default_value = "nats://127.0.0.1:4222", value_parser = loopback::parse_url)]
    pub nats: String,

    /// The data folder; each service has a folder of its own in it.
    #[arg(long, env = "KING_DATA", value_name = "DIR", default_value = ".kingdom")]
    pub data: PathBuf,

    /// How log lines look.
    #[arg(long, env = "KING_LOG_FORMAT", value_enum, default_value_t = LogFormat::Human)]
    pub log_format: LogFormat,

    /// Which log lines are written, for example `info,king=debug`.
    #[arg(long, env = "KING_LOG", value_name = "FILTER", default_value = "info,async_nats=warn")]
    pub log: String,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people; coloured on a terminal.
    Human,
    /// One JSON object per line.
    Json,
}
