//! Lists as JSON: thin, over the same queries that the bus answers.

use super::Shared;
use super::limits::MIN_EVENT_TIME;
use super::parameters::Parameters;
use super::problem::Problem;
use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use events::query::{Question, Reply};
use serde_json::{Value, json};
use std::sync::Arc;

/// Answers a query of a kind (`app.ls`) from the state of now. `min_event` has been waited for already.
pub type Ask = Arc<dyn Fn(&str, Question) -> Reply<Value> + Send + Sync>;

pub(super) async fn apps(State(shared): State<Arc<Shared>>, uri: Uri) -> Result<Response, Problem> {
    answer(&shared, "app.ls", &uri, &["app", "after", "min_event"]).await
}

pub(super) async fn instances(State(shared): State<Arc<Shared>>, uri: Uri) -> Result<Response, Problem> {
    answer(&shared, "instance.ls", &uri, &["app", "servant", "after", "min_event"]).await
}

pub(super) async fn servants(State(shared): State<Arc<Shared>>, uri: Uri) -> Result<Response, Problem> {
    answer(&shared, "servant.ls", &uri, &["servant", "after", "min_event"]).await
}

pub(super) async fn king(State(shared): State<Arc<Shared>>, uri: Uri) -> Result<Response, Problem> {
    answer(&shared, "king.show", &uri, &["min_event"]).await
}

async fn answer(shared: &Shared, kind: &str, uri: &Uri, known: &[&str]) -> Result<Response, Problem> {
    let question = question(&Parameters::read(uri, known)?)?;
    if shared.parts.feed.newest().is_none() {
        return Err(Problem::unavailable("state", "the King has not read its log yet", 1));
    }
    if let Some(event) = question.min_event
        && !shared.parts.feed.reached(event, MIN_EVENT_TIME).await
    {
        let rule = format!("event {event} was not reached within {} s", MIN_EVENT_TIME.as_secs());
        return Err(Problem::unavailable("min_event", rule, 1));
    }
    match (shared.parts.ask)(kind, question) {
        Reply::Ok { event, items, next } => {
            let body = Json(json!({ "event": event, "items": items, "next": next }));
            Ok(([(CACHE_CONTROL, "no-store")], body).into_response())
        }
        Reply::Refused(refusal) => Err(Problem::refused(refusal)),
    }
}

fn question(parameters: &Parameters) -> Result<Question, Problem> {
    Ok(Question {
        app: parameters.parse("app", "give the name of an app")?,
        servant: parameters.parse("servant", "give the name of a servant")?,
        process: None,
        id: None,
        instance: None,
        exec: None,
        after: parameters.text("after").map(str::to_owned),
        min_event: parameters.event("min_event")?,
    })
}
