//! The King: configuration, telemetry, connect, take over, serve, drain. As Git's hook it is `king::git::hook`.

use clap::Parser;
use king::args::Args;
use king::serve::serve;
use service::{Shutdown, chain, telemetry};
use std::process::ExitCode;

/// A busy King makes and drops many small things for each command; with the system's allocator that was two fifths of its
/// time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if king::git::hook::is_called() {
        return king::git::hook::run();
    }
    let args = Args::parse();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("king: {}", chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(args: &Args) -> anyhow::Result<()> {
    telemetry::init("king", &args.common)?;
    service::files::raise_limit();
    service::memory::prefer_small_pages();
    let shutdown = Shutdown::on_signal()?;
    serve(args, &shutdown).await?;
    tracing::info!("stopped");
    Ok(())
}
