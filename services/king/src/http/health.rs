//! The addresses for people, probes and Prometheus that answer from memory at once.

use super::metrics::Exposition;
use super::{ADDRESSES, Shared};
use axum::Json;
use axum::extract::State;
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use std::fmt::Write;
use std::sync::Arc;

pub(super) async fn root() -> String {
    let mut page = "King\n\n".to_owned();
    for (address, says) in ADDRESSES {
        writeln!(page, "{address:<18}{says}").expect("writing to a text cannot fail");
    }
    page
}

pub(super) async fn alive() -> &'static str {
    "ok"
}

pub(super) async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    let reasons = shared.parts.readiness.reasons();
    let ready = reasons.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = Json(json!({ "ready": ready, "role": (shared.parts.role)(), "reasons": reasons }));
    (status, [(CACHE_CONTROL, "no-store")], body).into_response()
}

pub(super) async fn version() -> Json<serde_json::Value> {
    Json(json!({ "name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION") }))
}

pub(super) async fn metrics(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    let exposition = Exposition::wanted(accept);
    let text = shared.parts.metrics.encode(exposition);
    ([(CONTENT_TYPE, exposition.content_type()), (VARY, "Accept")], text).into_response()
}
