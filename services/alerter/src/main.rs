//! The Alerter: flags, log lines, data folder, connection, work, end.

use alerter::args::Args;
use alerter::run;
use anyhow::{Context, Result};
use clap::Parser;
use service::data::Folder;
use service::{Shutdown, telemetry};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args = Args::parse();
    telemetry::init("alerter", &args.common)?;
    let shutdown = Shutdown::on_signal().context("signals cannot be listened to")?;
    let folder = Folder::open(args.common.data.join("alerter"))?;
    let post = run::post(&args, &folder)?;
    let options =
        bus::Options { url: args.common.nats.clone(), name: "alerter".to_owned(), credentials: None };
    let bus = tokio::select! {
        bus = bus::connect(&options) => bus?,
        () = shutdown.requested() => return Ok(()),
    };
    run::run(&args, &folder, bus, post, &shutdown).await?;
    tracing::info!("stopped");
    Ok(())
}
