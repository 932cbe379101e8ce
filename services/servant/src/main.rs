//! The servant: flags, log lines, data folder, bus; find what runs; run; drain.

use anyhow::{Context, Result};
use clap::Parser;
use servant::run::Servant;
use servant::{Args, exec, heap, holder};
use service::Shutdown;
use std::process::ExitCode;

/// Most threads that wait for files. Each keeps memory of its own, and hundreds of instances that start together would ask
/// for hundreds of them; nothing that runs on one waits for another.
const BLOCKING_THREADS: usize = 16;

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

fn serve(args: &Args) -> Result<()> {
    heap::without_caches();
    heap::keep_few();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.enable_all().max_blocking_threads(BLOCKING_THREADS);
    runtime.build().context("the threads of this process cannot be started")?.block_on(run(args))
}

async fn run(args: &Args) -> Result<()> {
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
