//! The alarm: what a King does while the log is not what it was. It writes nothing, says so to everybody again and again, and
//! looks whether the log was repaired.

use crate::http::{Metrics, serve};
use crate::watch::{Disaster, is_over};
use axum::Router;
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::routing::get;
use bus::Bus;
use bus::connect::ConnectError;
use events::notice::{Notice, Standing};
use events::{KingId, subject, wire};
use serde_json::json;
use service::{Shutdown, clock};
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

/// Raises the alarm until the log holds again what the journal has seen, or the end is asked for.
///
/// # Errors
/// When NATS refuses the connection for good.
pub async fn raise(
    options: &bus::Options,
    listener: TcpListener,
    king: KingId,
    disaster: &Disaster,
    shutdown: &Shutdown,
) -> Result<(), ConnectError> {
    let metrics = Arc::new(Metrics::new());
    metrics.log_disaster.set(1);
    metrics.journal_sequence.set(disaster.seen.sequence);
    let over = CancellationToken::new();
    let served = serve(listener, router(disaster, metrics.clone()), metrics, over.clone());
    let server = tokio::spawn(served);
    let watched = tokio::select! {
        watched = tell_until_over(options, king, disaster) => watched,
        () = shutdown.requested() => Ok(()),
    };
    over.cancel();
    match server.await.expect("the server of the alarm does not panic") {
        Ok(()) => {}
        Err(error) => tracing::warn!(%error, "HTTP could not say what is wrong"),
    }
    watched
}

async fn tell_until_over(
    options: &bus::Options,
    king: KingId,
    disaster: &Disaster,
) -> Result<(), ConnectError> {
    let bus = bus::connect(options).await?;
    let mut notice = Notice {
        id: id(disaster),
        king,
        at: clock::now(),
        standing: Standing::Standing,
        finding: disaster.finding.to_string(),
        sequence: disaster.finding.sequence(),
    };
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for round in 0_u32.. {
        ticks.tick().await;
        if round % LINES == 0 {
            tracing::error!(reason = %disaster, "the log is not what it was");
        }
        send(&bus, &notice).await;
        if is_over(&bus, disaster).await {
            break;
        }
    }
    tracing::info!("the log holds again what the journal has seen; this King starts anew");
    notice.standing = Standing::Over;
    send(&bus, &notice).await;
    Ok(())
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
