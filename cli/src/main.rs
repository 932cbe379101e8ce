//! `kingctl`: the command line of the kingdom, noun first. It speaks to the kingdom by NATS alone, as any client may:
//! commands and queries by request and reply, events and output by their streams. `kingctl up` is the exception: it
//! starts the programs of a whole kingdom and keeps them running.

mod cli;
mod failure;
mod values;
mod output;
mod table;
mod progress;
mod top;
mod plan;
mod why;
mod client;
mod epoch;
mod follow;
mod app;
mod version;
mod release;
mod image;
mod instance;
mod servant;
mod exec;
mod config;
mod past;
mod event;
mod state;
mod replay;
mod audit_log;
mod backup;
mod logs;
mod command;
mod alert;
mod king;
mod up;

use clap::Parser;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let format = cli.globals.output;
    match cli.run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(format),
    }
}
