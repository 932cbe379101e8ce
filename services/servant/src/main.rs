//! The servant: flags, log lines, data folder, bus; find what runs; run; drain.

use anyhow::{Context, Result};
use clap::Parser;
use servant::run::Servant;
use servant::{Args, exec, holder};
use service::Shutdown;
use std::process::ExitCode;

fn main() -> ExitCode {
    // A holder, a runner and a command in a container are this same program, and need nothing of what follows.
    let word = std::env::args_os().nth(1).unwrap_or_default();
    if word == holder::WORD {
        return outcome(holder::run().context("the holder failed"));
    }
    if word == exec::runner::WORD {
        return outcome(exec::runner::run().context("the runner failed"));
    }
    if word == exec::inside::WORD {
        return exec::inside::run();
    }
    outcome(serve(&Args::parse()))
}

#[tokio::main]
async fn serve(args: &Args) -> Result<()> {
    service::telemetry::init("servant", &args.common)?;
    // Each holder has a connection: many instances need many files.
    service::files::raise_limit();
    let shutdown = Shutdown::on_signal().context("signals cannot be listened to")?;
    let servant = Servant::open(args).await?;
    servant.run(shutdown).await
}

fn outcome(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("servant: {error:#}");
            ExitCode::FAILURE
        }
    }
}
