//! `kingctl replay`: the events of the past again, in their own pace or faster, for tools that watch.

use crate::cli::Globals;
use crate::client::Client;
use crate::failure::Failure;
use crate::output;
use crate::past::{self, Commits, FileArg};
use anyhow::anyhow;
use clap::Args;
use events::query::Moment;
use events::{Event, Timestamp, wire};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// What to play, where and how fast.
#[derive(Clone, Debug, Args)]
pub struct ReplayArgs {
    /// Begin here: an event number, a time (RFC 3339), or how long ago.
    #[arg(long, value_name = "TIME|EVENT", value_parser = past::parse_moment)]
    from: Option<Moment>,
    /// End here; with the newest event, when it is not given.
    #[arg(long, value_name = "TIME|EVENT", value_parser = past::parse_moment)]
    to: Option<Moment>,
    /// How many times faster than it happened, or `max`.
    #[arg(long, value_name = "FACTOR", default_value = "1", value_parser = parse_speed)]
    speed: Speed,
    /// Publish each event on this NATS subject, with CloudEvents headers, instead of printing it.
    #[arg(long, value_name = "SUBJECT", value_parser = parse_subject)]
    to_subject: Option<String>,
    #[command(flatten)]
    file: FileArg,
}

/// The slowest and the fastest that is not `max`.
const SPEEDS: std::ops::RangeInclusive<f64> = 0.001..=1_000_000.0;

/// How fast.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    Times(f64),
    Max,
}

fn parse_speed(text: &str) -> Result<Speed, String> {
    if text == "max" {
        return Ok(Speed::Max);
    }
    let factor = text.strip_suffix('x').unwrap_or(text).parse::<f64>();
    match factor {
        Ok(factor) if SPEEDS.contains(&factor) => Ok(Speed::Times(factor)),
        Ok(_) | Err(_) => Err(format!(
            "{text:?} is not a speed: a number from {} to {} like 10, or max",
            SPEEDS.start(),
            SPEEDS.end()
        )),
    }
}

/// A subject for others: what is the kingdom's own would be taken for news.
fn parse_subject(text: &str) -> Result<String, String> {
    let is_token = |token: &str| {
        !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'*' | b'>'))
    };
    if text.len() > 200 || !text.split('.').all(is_token) {
        return Err(format!("{text:?} is not a subject like audit.replay"));
    }
    let first = text.split('.').next().unwrap_or_default();
    if first.eq_ignore_ascii_case("king") || first.starts_with(['$', '_']) {
        return Err(format!("{text:?} belongs to the kingdom or to NATS; choose one like audit.replay"));
    }
    Ok(text.to_owned())
}

impl ReplayArgs {
    /// Does it.
    ///
    /// # Errors
    /// When the log or the file cannot be read, or nothing can be published.
    pub async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let mut commits = Commits::open(globals, &self.file).await?;
        if let Some(from) = self.from {
            commits.skip_to(from).await?;
        }
        let client = match self.to_subject {
            Some(_) => Some(Client::connect(globals).await?),
            None => None,
        };
        let mut pace = Pace { speed: self.speed, began: None };
        loop {
            let some = commits.next().await?;
            if some.is_empty() {
                break;
            }
            for stored in some {
                for event in stored.read().map_err(|error| anyhow!(error))?.events {
                    if past::is_after(event.id, event.at, self.to) {
                        return finish(client.as_ref()).await;
                    }
                    if past::is_within(event.id, event.at, self.from, self.to) {
                        pace.wait_for(event.at).await;
                        self.play(client.as_ref(), &event).await?;
                    }
                }
            }
        }
        finish(client.as_ref()).await
    }

    async fn play(&self, client: Option<&Client>, event: &Event) -> Result<(), Failure> {
        let (Some(client), Some(subject)) = (client, &self.to_subject) else {
            return output::print(&audit::export::json_line(event));
        };
        let (id, at, about) = (event.id.to_string(), event.at.to_string(), event.fact.subject_id());
        let (kind, source) = (format!("king.{}", event.fact.kind()), format!("king/{}", event.domain));
        let headers = [
            ("ce-specversion", "1.0"),
            ("ce-id", id.as_str()),
            ("ce-type", &kind),
            ("ce-source", &source),
            ("ce-time", &at),
            ("ce-subject", &about),
            ("Content-Type", "application/msgpack"),
        ];
        let sent = client.bus.publish(subject, &headers, wire::encode(event)).await;
        Ok(sent.map_err(|error| anyhow!(error))?)
    }
}

/// What was published has left this process.
async fn finish(client: Option<&Client>) -> Result<(), Failure> {
    match client {
        Some(client) => Ok(client.bus.flush().await.map_err(|error| anyhow!(error))?),
        None => Ok(()),
    }
}

/// When an event is due.
struct Pace {
    speed: Speed,
    began: Option<(Instant, Timestamp)>,
}

impl Pace {
    async fn wait_for(&mut self, at: Timestamp) {
        let Speed::Times(factor) = self.speed else { return };
        let (began, first) = *self.began.get_or_insert((Instant::now(), at));
        let after = Duration::from_millis(at.since(first)).div_f64(factor);
        sleep_until(began + after).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_are_factors() {
        assert_eq!(parse_speed("10"), Ok(Speed::Times(10.0)));
        assert_eq!(parse_speed("0.5x"), Ok(Speed::Times(0.5)));
        assert_eq!(parse_speed("max"), Ok(Speed::Max));
        for text in ["0", "-1", "NaN", "inf", "fast", ""] {
            assert!(parse_speed(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_kingdoms_own_subjects_are_not_replayed_to() {
        assert_eq!(parse_subject("audit.replay"), Ok("audit.replay".into()));
        for text in ["king.commit", "KING.x", "king", "$JS.API", "_INBOX.x", "a.*", "a.>", "a..b", "", "a b"]
        {
            assert!(parse_subject(text).is_err(), "{text}");
        }
    }
}
