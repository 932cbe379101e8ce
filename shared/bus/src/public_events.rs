//! Public events: every event on a subject of its own, in order, exactly once, for users and their tools.
//!
//! The publisher keeps a window of messages in flight, each fenced by the sequence that the one before it gets: if one
//! fails, so do all that follow, and never a hole is left. Where it stands is only ever read from the stream.
//! Header names follow the NATS binding of CloudEvents 1.0, payloads are the kingdom's own.

pub mod window;

use crate::api::ApiError;
use crate::connect::{Bus, Cuts};
use crate::log::{EXPECTED_LAST, READ_PATIENCE, patiently};
use crate::retry::Backoff;
use crate::stream::{self, StreamState};
use crate::tail::{Course, Entry, Holes, Tail, TailError};
use crate::{Source, headers};
use async_nats::jetstream::context::PublishAckFuture;
use bytes::Bytes;
use events::subject::{self, EVENTS_STREAM, HEADER_CONTENT_TYPE, HEADER_ID};
use events::{Event, EventNumber};
use futures_util::future::join_all;
use std::collections::VecDeque;
use tokio::time::Instant;
use window::{Place, Window, rest};

pub use window::WINDOW;

/// The media type of the payload.
const MEDIA_TYPE: &str = "application/msgpack";
/// How far back the last own message is looked for, behind messages that strangers put into the stream.
const LOOK_BACK: u64 = 1000;

/// Why public events could not be published or read.
#[derive(Debug, thiserror::Error)]
pub enum PublicEventError {
    #[error("the public events (stream {EVENTS_STREAM}) cannot be {tried}")]
    Api {
        /// What was tried: opened, read, published.
        tried: &'static str,
        #[source]
        source: ApiError,
    },
    #[error(
        "event {given} cannot be published after {published}: the events between are missing; read them from the log"
    )]
    Hole { published: EventNumber, given: EventNumber },
    #[error("event {number} cannot be carried by a message")]
    Invalid {
        number: EventNumber,
        #[source]
        source: Source,
    },
    #[error(
        "the last {LOOK_BACK} messages of stream {EVENTS_STREAM} are not the kingdom's; who else publishes on king.event.>? \
         Purge the stream to begin anew"
    )]
    Foreign,
}

/// The one writer of the public events.
#[derive(Debug)]
pub struct Publisher {
    bus: Bus,
    /// Where the stream stands; none when that must be read again.
    place: Option<Place>,
}

impl Publisher {
    /// Opens the stream that was provisioned.
    ///
    /// # Errors
    /// When it is not there or does not answer.
    pub async fn open(bus: &Bus) -> Result<Self, PublicEventError> {
        let place = Some(find_place(bus).await?);
        Ok(Self { bus: bus.clone(), place })
    }

    /// The number of the last stored event, read from the stream; 0 when none was stored.
    ///
    /// # Errors
    /// When the stream does not answer.
    pub async fn last_published(&mut self) -> Result<EventNumber, PublicEventError> {
        let place = find_place(&self.bus).await?;
        self.place = Some(place);
        Ok(place.number)
    }

    /// Publishes consecutive events; those already stored are passed over. Returns the number of the last stored.
    ///
    /// # Errors
    /// When the first new event does not follow the last stored one, or the stream does not answer. Call again with
    /// the same events.
    pub async fn publish(&mut self, events: &[Event]) -> Result<EventNumber, PublicEventError> {
        let mut deadline = Instant::now() + READ_PATIENCE;
        let mut backoff = Backoff::default();
        loop {
            let place = match self.place {
                Some(place) => place,
                None => find_place(&self.bus).await?,
            };
            self.place = Some(place);
            let rest = rest(events, place.number)?;
            if rest.is_empty() {
                return Ok(place.number);
            }
            let (reached, failure) = self.send(rest, place).await?;
            if reached != place {
                deadline = Instant::now() + READ_PATIENCE;
                backoff = Backoff::default();
            }
            self.place = failure.is_none().then_some(reached);
            if let Some(failure) = failure {
                if Instant::now() >= deadline {
                    return Err(PublicEventError::Api {
                        tried: "published",
                        source: ApiError::Client(failure),
                    });
                }
                tracing::debug!(error = %failure, "public events resume from the stream");
                backoff.wait().await;
            }
        }
    }

    /// Sends events through the window until all are stored or one fails.
    async fn send(
        &self,
        events: &[Event],
        place: Place,
    ) -> Result<(Place, Option<Source>), PublicEventError> {
        let (mut window, mut failure) = (Window::after(place), None);
        let mut flight: VecDeque<PublishAckFuture> = VecDeque::with_capacity(WINDOW);
        let mut cuts = self.bus.cuts();
        while failure.is_none() {
            failure = match window.dispatch(events.len()) {
                Some(next) => match self.dispatch(&events[next.index], next.expected_last).await? {
                    Ok(ack) => {
                        flight.push_back(ack);
                        None
                    }
                    Err(error) => Some(error),
                },
                None if flight.is_empty() => return Ok((window.reached(), None)),
                None => land(&mut flight, &mut window, &mut cuts).await,
            };
        }
        settle(flight, &mut cuts).await;
        Ok((window.reached(), failure))
    }

    async fn dispatch(
        &self,
        event: &Event,
        expected_last: u64,
    ) -> Result<Result<PublishAckFuture, Source>, PublicEventError> {
        let (id, at, about) = (event.id.to_string(), event.at.to_string(), event.fact.subject_id());
        let (kind, source) = (format!("king.{}", event.fact.kind()), format!("king/{}", event.domain));
        let expected_last = expected_last.to_string();
        let named = [
            (HEADER_ID, id.as_str()),
            (EXPECTED_LAST, &expected_last),
            ("ce-specversion", "1.0"),
            ("ce-id", &id),
            ("ce-type", &kind),
            ("ce-source", &source),
            ("ce-time", &at),
            ("ce-subject", &about),
            (HEADER_CONTENT_TYPE, MEDIA_TYPE),
        ];
        let invalid = |source: Source| PublicEventError::Invalid { number: event.id, source };
        let map = headers::build(&named).map_err(|error| invalid(error.into()))?;
        let subject = subject::event(&event.domain, event.fact.noun(), &about, event.fact.verb());
        let payload = events::wire::encode(event).into();
        let sent = self.bus.context().publish_with_headers(subject, map, payload).await;
        Ok(sent.map_err(Into::into))
    }
}

/// Waits until the oldest in flight is stored; tells why it is not.
async fn land(
    flight: &mut VecDeque<PublishAckFuture>,
    window: &mut Window,
    cuts: &mut Cuts,
) -> Option<Source> {
    let oldest = flight.pop_front()?.into_future();
    let landed = tokio::select! {
        biased;
        ack = oldest => ack,
        () = cuts.next() => return Some("the connection was cut".into()),
    };
    match landed {
        Ok(ack) if window.landed(ack.sequence, ack.duplicate) => None,
        Ok(ack) => {
            Some(format!("stored at {} and not after {}", ack.sequence, window.reached().sequence).into())
        }
        Err(error) => {
            window.lost();
            Some(error.into())
        }
    }
}

/// Waits for all that is still in flight after a failure: it fails too, or is read from the stream again.
async fn settle(flight: VecDeque<PublishAckFuture>, cuts: &mut Cuts) {
    let all = join_all(flight.into_iter().map(IntoFuture::into_future));
    tokio::select! {
        biased;
        _ = all => {}
        () = cuts.next() => {}
    }
}

async fn find_place(bus: &Bus) -> Result<Place, PublicEventError> {
    let state = state(bus).await?;
    let last = state.last_seq;
    if state.count == 0 {
        // Never an event, or all were purged by hand: the stream is filled anew from the log.
        return Ok(Place { sequence: last, number: 0 });
    }
    let oldest = state.first_seq.max(last.saturating_sub(LOOK_BACK));
    for sequence in (oldest..=last).rev() {
        if let Some(number) = number_at(bus, sequence).await? {
            return Ok(Place { sequence: last, number });
        }
    }
    Err(PublicEventError::Foreign)
}

async fn state(bus: &Bus) -> Result<StreamState, PublicEventError> {
    Ok(patiently(|| stream::info(bus, EVENTS_STREAM)).await.map_err(at("read"))?.state)
}

/// The number of the event with a sequence; none when there is none or it is a stranger's.
async fn number_at(bus: &Bus, sequence: u64) -> Result<Option<EventNumber>, PublicEventError> {
    let stored = patiently(|| stream::read(bus, EVENTS_STREAM, sequence)).await.map_err(at("read"))?;
    Ok(stored.and_then(|stored| parse_number(headers::get(Some(&stored.headers), "ce-id"))))
}

fn parse_number(id: Option<&str>) -> Option<EventNumber> {
    id?.parse().ok()
}

/// A public event as a reader gets it.
#[derive(Clone, Debug)]
pub struct PublicEvent {
    pub number: EventNumber,
    pub subject: String,
    /// The event as MessagePack.
    pub payload: Bytes,
    /// How many more the server had when it sent this one.
    pub pending: u64,
}

/// A reader of the public events.
#[derive(Debug)]
pub struct EventTail {
    tail: Tail,
    first: EventNumber,
}

impl EventTail {
    /// Follows the public events from number `first` on; only those on the subjects `filters`, or all when empty.
    ///
    /// # Errors
    /// When the stream does not answer.
    pub async fn open(bus: &Bus, filters: &[String], first: EventNumber) -> Result<Self, PublicEventError> {
        let after = before(bus, first).await?;
        let course = Course { stream: EVENTS_STREAM, filters: filters.to_vec(), holes: Holes::Natural };
        Ok(Self { tail: Tail::new(bus, course, after), first })
    }

    /// The next event, whenever it comes. Can be cancelled safely.
    ///
    /// # Errors
    /// When the stream refuses to be read.
    pub async fn next(&mut self) -> Result<PublicEvent, TailError> {
        loop {
            let entry = self.tail.next().await?;
            match parse_number(entry.header("ce-id")) {
                Some(number) if number >= self.first => return Ok(public(number, entry)),
                Some(_) => {}
                None => tracing::warn!(subject = entry.subject(), "a stranger's message is passed over"),
            }
        }
    }
}

fn public(number: EventNumber, entry: Entry) -> PublicEvent {
    let subject = entry.subject().to_owned();
    PublicEvent { number, subject, pending: entry.pending, payload: entry.payload }
}

/// A sequence after which all events from number `first` on are stored, and few before.
async fn before(bus: &Bus, first: EventNumber) -> Result<u64, PublicEventError> {
    let state = state(bus).await?;
    let (mut low, mut high) = (state.first_seq.saturating_sub(1), state.last_seq);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if number_at(bus, middle).await?.is_some_and(|number| number < first) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    Ok(low)
}

fn at(tried: &'static str) -> impl Fn(ApiError) -> PublicEventError {
    move |source| PublicEventError::Api { tried, source }
}
