//! The Foreman: flags, log lines, data folder, connection, work, end.

use anyhow::{Context, Result};
use clap::Parser;
use foreman::args::Args;
use foreman::run;
use service::data::Folder;
use service::{Shutdown, telemetry};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args = Args::parse();
    telemetry::init("foreman", &args.common)?;
    let shutdown = Shutdown::on_signal().context("signals cannot be listened to")?;
    let folder = Folder::open(args.common.data.join(format!("foreman-{}", args.domain)))?;
    let options = bus::Options {
        url: args.common.nats.clone(),
        name: format!("foreman-{}", args.domain),
        credentials: None,
    };
    let bus = tokio::select! {
        bus = bus::connect(&options) => bus?,
        () = shutdown.requested() => return Ok(()),
    };
    run::run(&args, bus, &folder, &shutdown).await?;
    tracing::info!("stopped");
    Ok(())
}
