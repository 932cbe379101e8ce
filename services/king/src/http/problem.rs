//! Refusals over HTTP: RFC 9457 `application/problem+json`, each with the field, the rule and the fix.

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use events::{Refusal, RefusalCode};
use serde::Serialize;
use std::time::Duration;

/// Why a request was not done, and what to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    error: Fault,
    retry_after_s: Option<u32>,
}

/// What is wrong: a field, the rule that it breaks with what was found, what to do.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Fault {
    field: String,
    rule: String,
    fix: String,
}

/// As it stands in the body.
#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: String,
    code: &'a str,
    errors: [&'a Fault; 1],
}

impl Problem {
    fn new(
        status: StatusCode,
        code: &'static str,
        title: &'static str,
        field: impl Into<String>,
        rule: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        let error = Fault { field: field.into(), rule: rule.into(), fix: fix.into() };
        Self { status, code, title, error, retry_after_s: None }
    }

    /// A parameter or header breaks its rule.
    pub fn invalid(field: &str, rule: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid", "A parameter is wrong", field, rule, fix)
    }

    /// What a parameter rests on is gone.
    pub fn conflict(field: &str, rule: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", "The log is not the one you read", field, rule, fix)
    }

    /// It cannot be done now; try again in so many seconds.
    pub fn unavailable(field: &str, rule: impl Into<String>, retry_after_s: u32) -> Self {
        let fix = format!("try again in {retry_after_s} s; /readyz says what the King waits for");
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let problem = Self::new(status, "unavailable", "Not possible now", field, rule, fix);
        Self { retry_after_s: Some(retry_after_s), ..problem }
    }

    /// All places of some kind are taken.
    pub fn full(what: &str, most: usize) -> Self {
        let rule = format!("at most {most} at a time, and all are taken");
        let problem = Self::unavailable(what, rule, 5);
        Self { code: "limit-reached", title: "Too many at a time", ..problem }
    }

    pub(super) fn not_found(path: &str, known: &str) -> Self {
        let rule = format!("{:?} is no address here", cut(path));
        let fix = format!("use one of {known}");
        Self::new(StatusCode::NOT_FOUND, "unknown", "No such address", "path", rule, fix)
    }

    pub(super) fn method_not_allowed(method: &Method, path: &str) -> Self {
        let rule = format!("{} is not possible on {:?}", cut(method.as_str()), cut(path));
        let fix = "use GET; what changes something is a command: nats req king.cmd.<noun>.<verb>, or kingctl";
        let status = StatusCode::METHOD_NOT_ALLOWED;
        Self::new(status, "method-not-allowed", "Method not allowed", "method", rule, fix)
    }

    pub(super) fn body_refused() -> Self {
        let fix = "send the request without a body";
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        Self::new(status, "body-refused", "No body is taken here", "body", "at most 0 bytes", fix)
    }

    pub(super) fn too_slow(most: Duration) -> Self {
        let rule = format!("no answer within {} s", most.as_secs());
        let problem = Self::unavailable("request", rule, 5);
        Self { code: "too-slow", title: "The answer took too long", ..problem }
    }

    pub(super) fn host_refused(found: &str) -> Self {
        let rule = format!("{:?} is not a name of this machine's loopback", cut(found));
        let fix = "use http://localhost, http://127.0.0.1 or http://[::1]; there are no accounts yet, so other \
                   hosts are refused (DNS rebinding)";
        Self::new(StatusCode::MISDIRECTED_REQUEST, "host-refused", "Host refused", "Host", rule, fix)
    }

    pub(super) fn cross_site(field: &str, found: &str) -> Self {
        let rule = format!("{:?}: a page of another site asks", cut(found));
        let fix = "ask from a page that the King serves, or from a program that sends no such header";
        Self::new(StatusCode::FORBIDDEN, "cross-site", "Another site asks", field, rule, fix)
    }

    /// A refusal of the King as it stands.
    pub fn refused(refusal: Refusal) -> Self {
        let Refusal { code, field, rule, fix } = refusal;
        let (status, code, title) = match code {
            RefusalCode::Unreadable => (StatusCode::BAD_REQUEST, "unreadable", "Not readable"),
            RefusalCode::Invalid => (StatusCode::BAD_REQUEST, "invalid", "A parameter is wrong"),
            RefusalCode::Unknown => (StatusCode::NOT_FOUND, "unknown", "No such thing"),
            RefusalCode::Conflict => (StatusCode::CONFLICT, "conflict", "In conflict with what is"),
            RefusalCode::LimitReached => (StatusCode::UNPROCESSABLE_ENTITY, "limit-reached", "Limit reached"),
            RefusalCode::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Not possible now"),
        };
        Self::new(status, code, title, field, rule, fix)
    }

    /// The document as JSON.
    pub fn document(&self) -> Vec<u8> {
        let document = Document {
            r#type: format!("urn:king:problem:{}", self.code),
            title: self.title,
            status: self.status.as_u16(),
            detail: format!("{}: {}; {}", self.error.field, self.error.rule, self.error.fix),
            code: self.code,
            errors: [&self.error],
        };
        serde_json::to_vec(&document).expect("a problem has text keys and encodes as JSON")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.document()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// The first 64 characters, for messages about texts of any length.
pub(super) fn cut(text: &str) -> String {
    let mut short: String = text.chars().take(64).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
