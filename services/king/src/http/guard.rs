//! The guard before every route, Git's included: only requests that were meant for this machine's loopback pass.
//!
//! There are no accounts yet, so any page that a browser on this machine shows could otherwise reach the King: by a
//! name that resolves to 127.0.0.1 (DNS rebinding) or across sites. Each request is counted.

use super::metrics::Metrics;
use super::problem::Problem;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

pub(super) async fn guard(State(metrics): State<Arc<Metrics>>, request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = match check(request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    metrics.count_request(&method, route, response.status());
    response
}

fn check(uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
    let host = host(uri, headers)?;
    if !is_loopback(&host) {
        return Err(Problem::host_refused(host.as_str()));
    }
    same_site(&host, headers)
}

/// The host that the client meant; the target's own wins over the header (RFC 9112, 3.2.2).
fn host(uri: &Uri, headers: &HeaderMap) -> Result<Authority, Problem> {
    if let Some(authority) = uri.authority() {
        return Ok(authority.clone());
    }
    let mut hosts = headers.get_all(HOST).iter();
    let (first, second) = (hosts.next(), hosts.next());
    let text = first.and_then(|value| value.to_str().ok()).filter(|_| second.is_none()).unwrap_or_default();
    text.parse().map_err(|_| Problem::host_refused(text))
}

fn is_loopback(host: &Authority) -> bool {
    let names = ["localhost", "127.0.0.1", "[::1]"];
    !host.as_str().contains('@') && names.iter().any(|name| host.host().eq_ignore_ascii_case(name))
}

/// Refuses what another site's page asks for, but for a plain visit by a link.
fn same_site(host: &Authority, headers: &HeaderMap) -> Result<(), Problem> {
    if let Some(origin) = headers.get(ORIGIN) {
        let origin = origin.to_str().unwrap_or_default();
        if origin.split_once("://").is_none_or(|(_, from)| !from.eq_ignore_ascii_case(host.as_str())) {
            return Err(Problem::cross_site("Origin", origin));
        }
    }
    let site = headers.get(FETCH_SITE).and_then(|value| value.to_str().ok());
    let visit = headers.get(FETCH_MODE).is_some_and(|mode| mode == "navigate");
    match site {
        None | Some("same-origin" | "none") => Ok(()),
        Some(_) if visit => Ok(()),
        Some(other) => Err(Problem::cross_site("Sec-Fetch-Site", other)),
    }
}
