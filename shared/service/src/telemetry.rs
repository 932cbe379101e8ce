//! Log lines: on stderr, through `tracing`, for people or as JSON. Set up once, first thing in `main`.

use crate::args::{CommonArgs, LogFormat};
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Why log lines could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter cannot be read.
    #[error(
        "the log filter {filter:?} cannot be read; write it like `info` or `info,king=debug` (--log, KING_LOG)"
    )]
    Filter {
        filter: String,
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// Something set up log lines before.
    #[error("log lines of {service} could not be set up")]
    AlreadySet {
        service: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Sends the log lines of this process to stderr; says so with the service's name and version.
///
/// # Errors
/// When the filter cannot be read, or when it is called twice.
pub fn init(service: &str, args: &CommonArgs) -> Result<(), TelemetryError> {
    let filter = EnvFilter::try_new(&args.log)
        .map_err(|source| TelemetryError::Filter { filter: args.log.clone(), source })?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let set = match args.log_format {
        LogFormat::Json => lines.json().flatten_event(true).with_ansi(false).try_init(),
        // On a terminal the default stands, which heeds NO_COLOR.
        LogFormat::Human if std::io::stderr().is_terminal() => lines.try_init(),
        LogFormat::Human => lines.with_ansi(false).try_init(),
    };
    set.map_err(|source| TelemetryError::AlreadySet { service: service.to_owned(), source })?;
    tracing::info!(service, pid = std::process::id(), nats = %args.nats, "starting");
    Ok(())
}
