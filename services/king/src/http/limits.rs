//! Every limit on HTTP in one place, and the two that hold for each request of the King's own routes.

use super::problem::Problem;
use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::time::Duration;

/// Most connections at a time; further ones wait in the kernel's queue.
pub(super) const CONNECTIONS: usize = 2048;
/// Most event streams at a time.
pub(super) const STREAMS: usize = 1000;
/// Largest head of a request, in bytes, and the most headers in it.
pub(super) const HEAD_BYTES: usize = 32 * 1024;
pub(super) const HEADERS: usize = 64;
/// How long a client may take to send the head of a request; also how long a connection may idle between two.
pub(super) const HEAD_TIME: Duration = Duration::from_secs(30);
/// How long an answer may take until its head is sent.
pub(super) const ANSWER_TIME: Duration = Duration::from_secs(10);
/// How long a client may leave its socket unread before it is cut.
pub(super) const STALL_TIME: Duration = Duration::from_secs(30);
/// How long answers may go on after the end was asked for.
pub(super) const DRAIN_TIME: Duration = Duration::from_secs(5);
/// How long a question waits for the event that it wants to see.
pub(super) const MIN_EVENT_TIME: Duration = Duration::from_secs(5);
/// Longest quiet on an event stream: then a comment is sent, so that proxies and clients know that it lives.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(15);
/// How often a stream whose filter skips events tells the client how far it is.
pub(super) const SKIP_TIME: Duration = Duration::from_secs(1);
/// How long a stream waits for an event that its client has heard of elsewhere.
pub(super) const CATCH_UP_TIME: Duration = Duration::from_secs(1);
/// How long a client shall wait before it connects again, in milliseconds.
pub(super) const RETRY_MS: u32 = 1000;
/// About how much of a stream is encoded ahead of the socket, in bytes.
pub(super) const CHUNK_BYTES: usize = 64 * 1024;

/// No body, and an answer in time.
pub(super) async fn bounded(request: Request, next: Next) -> Response {
    let headers = request.headers();
    let empty = headers.get(CONTENT_LENGTH).is_none_or(|length| length == "0");
    if !empty || headers.contains_key(TRANSFER_ENCODING) {
        return Problem::body_refused().into_response();
    }
    match tokio::time::timeout(ANSWER_TIME, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::too_slow(ANSWER_TIME).into_response(),
    }
}
