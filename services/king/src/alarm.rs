//! The alarm: what a King does while the log is not what it was. It writes nothing, says so to everybody again and again, and
//! looks whether the log was repaired. Asked who it is, it tells what it has seen.

use crate::http::{Metrics, serve};
use crate::status::Identity;
use crate::watch::{Disaster, is_over};
use crate::writer::work::format_of;
use axum::Router;
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::routing::get;
use bus::connect::{ConnectError, SubscribeError};
use bus::{Bus, Message, journal};
use events::notice::{Notice, Standing};
use events::query::{KingRole, Reply};
use events::subject::KINGS;
use events::{subject, wire};
use serde_json::json;
use service::{Shutdown, clock};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How often the notice is sent, and the log looked at.
const EVERY: Duration = Duration::from_secs(2);
/// How often the log lines repeat it.
const LINES: u32 = 15;

/// Why the alarm could not be raised.
#[derive(Debug, thiserror::Error)]
pub enum AlarmError {
    #[error("NATS refuses the connection")]
    Connect(#[from] ConnectError),
    #[error("nobody could ask this King who it is")]
    Subscribe(#[from] SubscribeError),
}

/// A King whose log is not what it was.
pub struct Alarm {
    pub identity: Identity,
    pub disaster: Disaster,
    /// The epoch of the last commit in the journal.
    pub epoch: u64,
    /// The folder of the journal; whoever repairs the log has it.
    pub journal: PathBuf,
}

impl Alarm {
    /// Raises the alarm until the log holds again what the journal has seen, or the end is asked for.
    ///
    /// # Errors
    /// When NATS refuses the connection for good.
    pub async fn raise(
        &self,
        options: &bus::Options,
        listener: TcpListener,
        shutdown: &Shutdown,
    ) -> Result<(), AlarmError> {
        let metrics = Arc::new(Metrics::new());
        metrics.log_disaster.set(1);
        metrics.set_role(KingRole::Stopped);
        metrics.journal_sequence.set(self.disaster.seen.sequence);
        let over = CancellationToken::new();
        let served = serve(listener, router(&self.disaster, metrics.clone()), metrics, over.clone());
        let server = tokio::spawn(served);
        let watched = tokio::select! {
            watched = self.tell_until_over(options) => watched,
            () = shutdown.requested() => Ok(()),
        };
        over.cancel();
        match server.await.expect("the server of the alarm does not panic") {
            Ok(()) => {}
            Err(error) => tracing::warn!(%error, "HTTP could not say what is wrong"),
        }
        watched
    }

    async fn tell_until_over(&self, options: &bus::Options) -> Result<(), AlarmError> {
        let bus = bus::connect(options).await?;
        let mut roll_calls = bus.subscribe(KINGS).await?;
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut round = 0_u32;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                Some(message) = roll_calls.next() => {
                    self.answer(&bus, &message).await;
                    continue;
                }
            }
            if round.is_multiple_of(LINES) {
                tracing::error!(reason = %self.disaster, "the log is not what it was");
            }
            round = round.wrapping_add(1);
            send(&bus, &self.notice(Standing::Standing)).await;
            if self.is_over(&bus).await {
                break;
            }
        }
        tracing::info!("the log holds again what the journal has seen; this King starts anew");
        send(&bus, &self.notice(Standing::Over)).await;
        Ok(())
    }

    /// Whether the log holds again what was seen of it, or whoever repaired it has made the journal forget the rest.
    async fn is_over(&self, bus: &Bus) -> bool {
        let seen = self.disaster.seen.sequence;
        match journal::witnessed_in(&self.journal) {
            Ok(Some(witnessed)) if witnessed < seen => {
                tracing::warn!(seen, witnessed, "the journal was made anew, without what is lost");
                true
            }
            Ok(_) => is_over(bus, &self.disaster).await,
            Err(error) => {
                tracing::warn!(reason = service::chain(&error), "the journal cannot be looked at");
                false
            }
        }
    }

    fn notice(&self, standing: Standing) -> Notice {
        Notice {
            id: id(&self.disaster),
            king: self.identity.king,
            at: clock::now(),
            standing,
            finding: self.disaster.finding.to_string(),
            sequence: self.disaster.finding.sequence(),
        }
    }

    /// Tells who this King is, and what it has seen: whoever repairs the log wants to know.
    async fn answer(&self, bus: &Bus, message: &Message) {
        let seen = &self.disaster.seen;
        let place = self.identity.place(KingRole::Stopped, self.epoch, seen.event, seen.sequence);
        let reply = Reply::Ok { event: seen.event, items: vec![place], next: None };
        if let Err(error) = bus.answer(message, format_of(message).encode(&reply)).await {
            tracing::warn!(%error, "reply was not sent");
        }
    }
}

/// Sends it, and waits until it is out: the connection may end right after.
async fn send(bus: &Bus, notice: &Notice) {
    let sent = bus.publish(subject::NOTICES, &[], wire::encode(notice)).await;
    let sent = match sent {
        Ok(()) => bus.flush().await,
        failed => failed,
    };
    if let Err(error) = sent {
        tracing::warn!(%error, "the notice could not be sent");
    }
}

/// The same for the same trouble, whichever King sees it.
fn id(disaster: &Disaster) -> Uuid {
    let finding = format!("{} of {}", disaster.finding, disaster.seen.hash);
    Uuid::new_v5(&Uuid::NAMESPACE_OID, finding.as_bytes())
}

fn router(disaster: &Disaster, metrics: Arc<Metrics>) -> Router {
    let reason = disaster.to_string();
    let body = json!({ "ready": false, "reasons": [{ "code": "log-disaster", "detail": reason }] });
    let answer = move || {
        let body = axum::Json(body.clone());
        async move { (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "10")], body) }
    };
    let numbers = move || {
        let text = metrics.encode(crate::http::metrics::Exposition::OpenMetrics);
        async move { text }
    };
    Router::new().route("/healthz", get(|| async { "ok" })).route("/metrics", get(numbers)).fallback(answer)
}
