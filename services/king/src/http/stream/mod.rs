//! The web's event stream: `GET /v1/events` as server-sent events (WHATWG HTML, 9.2).
//!
//! `id:` is the event number, so a client that comes back with `Last-Event-ID` goes on exactly behind it. One task per
//! stream follows the feed and encodes, at most a chunk ahead of the socket; what a slow client has not taken is not
//! held for it but read again later. See [`filter`] for what a filter passes.

pub mod filter;
mod asked;
mod encode;
mod write;

pub use filter::Lookup;

use super::limits::{CATCH_UP_TIME, HEARTBEAT, STREAMS};
use super::problem::Problem;
use super::{Metrics, Shared};
use asked::Asked;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, Uri};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use events::EventNumber;
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use write::Writer;

const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

pub(super) async fn events(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let asked = Asked::read(&headers, &uri)?;
    let place = Arc::clone(&shared.streams)
        .try_acquire_owned()
        .map_err(|_| Problem::full("event streams", STREAMS))?;
    let after = begin(&shared, &asked).await?;
    let filter = asked.filter.resolve(&shared.parts.lookup)?;
    let parts = &shared.parts;
    let (sender, receiver) = mpsc::channel(1);
    let writer = Writer::new(parts.feed.clone(), after, filter, Arc::clone(&parts.metrics), sender);
    let shutdown = parts.shutdown.clone();
    tokio::spawn(async move { shutdown.run_until_cancelled(writer.run()).await });
    let open = Open { receiver, _place: place, _counted: Counted::new(Arc::clone(&parts.metrics)) };
    let body = Body::from_stream(futures_util::stream::unfold(open, Open::next));
    let headers = [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-cache, no-transform"),
        (ACCEL_BUFFERING, "no"),
    ];
    Ok((headers, body).into_response())
}

/// The event after which the stream begins.
async fn begin(shared: &Shared, asked: &Asked) -> Result<EventNumber, Problem> {
    let feed = &shared.parts.feed;
    let Some(newest) = feed.newest() else {
        return Err(Problem::unavailable("events", "the King has not read its log yet", 1));
    };
    let Some((field, after)) = asked.after else { return Ok(newest.event) };
    if feed.reached(after, CATCH_UP_TIME).await {
        return Ok(after);
    }
    let rule = format!(
        "event {after} is beyond the newest one, {}: this log is not the one it came from",
        newest.event
    );
    Err(Problem::conflict(field, rule, "forget what you hold, then follow from ?since=0 or without a number"))
}

/// The side of a stream that the connection takes from. Dropping it ends the stream's task.
struct Open {
    receiver: mpsc::Receiver<Bytes>,
    _place: OwnedSemaphorePermit,
    _counted: Counted,
}

impl Open {
    /// The next bytes for the client: what the task encoded, or a comment after a time of quiet.
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        let chunk = match tokio::time::timeout(HEARTBEAT, self.receiver.recv()).await {
            Ok(chunk) => chunk?,
            Err(_) => Bytes::from_static(encode::HEARTBEAT),
        };
        Some((Ok(chunk), self))
    }
}

/// Counts an open stream.
struct Counted(Arc<Metrics>);

impl Counted {
    fn new(metrics: Arc<Metrics>) -> Self {
        metrics.sse_clients.inc();
        Self(metrics)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.sse_clients.dec();
    }
}
