//! What a client asks of the event stream: where to begin and what to pass.

use super::filter::FilterAsked;
use crate::http::parameters::{Parameters, event_number};
use crate::http::problem::Problem;
use axum::http::{HeaderMap, HeaderName, Uri};
use events::EventNumber;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

pub(super) struct Asked {
    /// The last event that the client has, and the field that says so; none for from now on.
    pub after: Option<(&'static str, EventNumber)>,
    pub filter: FilterAsked,
}

impl Asked {
    /// Reads header and parameters. The header wins: a client that reconnects repeats its first address.
    pub fn read(headers: &HeaderMap, uri: &Uri) -> Result<Self, Problem> {
        let parameters = Parameters::read(uri, &["since", "noun", "app", "servant"])?;
        let since = parameters.event("since")?.map(|event| ("since", event));
        let last = last_event_id(headers)?.map(|event| ("Last-Event-ID", event));
        Ok(Self { after: last.or(since), filter: FilterAsked::read(&parameters)? })
    }
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<EventNumber>, Problem> {
    let Some(value) = headers.get(LAST_EVENT_ID) else { return Ok(None) };
    event_number("Last-Event-ID", &String::from_utf8_lossy(value.as_bytes())).map(Some)
}
