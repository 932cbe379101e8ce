//! Public events: every event on a subject of its own, in order, exactly once, for users and their tools.

use crate::api::ApiError;
use crate::connect::Bus;
use crate::tail::{Tail, TailError};
use bytes::Bytes;
use events::{Event, EventNumber};

/// Why public events could not be published or read.
#[derive(Debug, thiserror::Error)]
pub enum PublicEventError {
    #[error("the public events (stream KING_EVENTS) cannot be {tried}")]
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
        source: crate::Source,
    },
}

/// The one writer of the public events.
#[derive(Debug)]
pub struct Publisher {
    bus: Bus,
}

impl Publisher {
    /// Opens the stream that was provisioned.
    ///
    /// # Errors
    /// When it is not there or does not answer.
    pub async fn open(bus: &Bus) -> Result<Self, PublicEventError> {
        Ok(Self { bus: bus.clone() })
    }

    /// The number of the last stored event, read from the stream; 0 when none was stored.
    ///
    /// # Errors
    /// When the stream does not answer.
    pub async fn last_published(&mut self) -> Result<EventNumber, PublicEventError> {
        Err(unavailable(&self.bus))
    }

    /// Publishes consecutive events; those already stored are passed over. Returns the number of the last stored.
    ///
    /// # Errors
    /// When the first new event does not follow the last stored one, or the stream does not answer. Call again with
    /// the same events.
    pub async fn publish(&mut self, _events: &[Event]) -> Result<EventNumber, PublicEventError> {
        Err(unavailable(&self.bus))
    }
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
}

impl EventTail {
    /// Follows the public events from number `first` on; only those on the subjects `filters`, or all when empty.
    ///
    /// # Errors
    /// When the stream does not answer.
    pub async fn open(bus: &Bus, _filters: &[String], _first: EventNumber) -> Result<Self, PublicEventError> {
        Err(unavailable(bus))
    }

    /// The next event, whenever it comes. Can be cancelled safely.
    ///
    /// # Errors
    /// When the stream refuses to be read.
    pub async fn next(&mut self) -> Result<PublicEvent, TailError> {
        let entry = self.tail.next().await?;
        Ok(PublicEvent {
            number: 0,
            subject: entry.subject().to_owned(),
            payload: entry.payload,
            pending: entry.pending,
        })
    }
}

fn unavailable(bus: &Bus) -> PublicEventError {
    let subject = bus.name().to_owned();
    let source = crate::connect::RequestError::Disconnected { subject, maybe_sent: false };
    PublicEventError::Api { tried: "used", source: source.into() }
}
