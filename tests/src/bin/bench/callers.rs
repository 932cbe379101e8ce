//! Commands per second with 256 callers, each with one command at a time, beside bare request/reply with as many
//! callers: the same process of callers, the same headers and payloads, an answer of the same size.
//!
//! Each round has a fresh kingdom and measures the limit first, so that it has the server to itself; the commands do not:
//! the King publishes their events meanwhile.

use crate::bare::{self, Responder, calls_per_second};
use crate::commands::Commands;
use crate::row::{Row, Target};
use crate::samples::Samples;
use crate::stage::Stage;

const CALLERS: usize = 256;
const ROUNDS: usize = 5;
const LEAST: f64 = 0.5;

/// Measures.
///
/// # Errors
/// When the kingdom does not run or a call fails.
pub async fn measure() -> anyhow::Result<Vec<Row>> {
    let (mut ours, mut echo) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let stage = Stage::start("commands_256_callers", 1).await?;
        let _responder = Responder::start(&stage.client, &stage.nats_url()).await?;
        echo.push(calls_per_second(&stage.nats_url(), bare::ECHO, CALLERS).await?);
        ours.push(calls_per_second(&stage.nats_url(), &Commands::subject(), CALLERS).await?);
        stage.stop().await;
    }
    let row = Row::of("commands_256_callers", &Samples::new(ours), "commands/s", Target::RatioAtLeast(LEAST));
    let echo = Samples::new(echo).median();
    Ok(vec![row.beside("bare request/reply, 256 callers", Some(echo))])
}
