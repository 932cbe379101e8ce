//! A model of JetStream: streams with their fences, duplicate windows and limits, one replica or three.
//!
//! It holds what the server holds and nothing of the network: every call is answered at once. Time comes from outside.
//! The suite in [`crate::conformance`] runs against it and against real servers, so that it cannot lie. Nothing here
//! knows of the kingdom.

pub mod message;
mod checks;
mod stream;
pub mod subject;

pub use message::{Ack, Entry, Headers, Message, Refusal, code};
pub use stream::{Discard, State, Stream, StreamConfig};

use std::collections::BTreeMap;

/// How many servers hold each stream. Some checks come in another order with three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replicas {
    One,
    Three,
}

/// Why a publish to a stream was not acknowledged with a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublishFailure {
    /// No stream takes this subject: the server says that nobody listens.
    NoResponders,
    Refused(Refusal),
    /// The server says nothing; nothing is stored.
    Unanswered,
}

/// The streams of a server or of a cluster.
#[derive(Clone, Debug)]
pub struct JetStream {
    replicas: Replicas,
    streams: BTreeMap<String, Stream>,
    /// How many streams were ever made: tells a stream from its forerunner of the same name.
    made: u64,
}

impl JetStream {
    /// A server without streams.
    pub fn new(replicas: Replicas) -> Self {
        Self { replicas, streams: BTreeMap::new(), made: 0 }
    }

    /// How many servers hold each stream.
    pub fn replicas(&self) -> Replicas {
        self.replicas
    }

    /// Makes a stream.
    ///
    /// # Errors
    /// When there is one of that name.
    pub fn create(&mut self, config: StreamConfig) -> Result<(), Refusal> {
        if self.streams.contains_key(&config.name) {
            return Err(Refusal::of(code::NAME_IN_USE));
        }
        self.made += 1;
        self.streams.insert(config.name.clone(), Stream::new(config, self.made));
        Ok(())
    }

    /// Deletes a stream with all it holds.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn delete(&mut self, stream: &str) -> Result<(), Refusal> {
        self.streams.remove(stream).map(drop).ok_or(Refusal::of(code::STREAM_NOT_FOUND))
    }

    /// Publishes at a time in milliseconds.
    ///
    /// # Errors
    /// See [`PublishFailure`]; nothing is stored then.
    pub fn publish(&mut self, message: &Message, now_ms: u64) -> Result<Ack, PublishFailure> {
        let replicas = self.replicas;
        let stream = self.taking(&message.subject).ok_or(PublishFailure::NoResponders)?;
        if stream.is_broken {
            return Err(PublishFailure::Unanswered);
        }
        let published = stream.publish(message, replicas, now_ms).map_err(PublishFailure::Refused);
        let is_refused_late = matches!(&published, Err(PublishFailure::Refused(refusal)) if refusal.code == code::WRONG_LAST_ID);
        // Several servers agree on the message before they find that it does not fit: all of them give up the stream.
        stream.is_broken = is_refused_late && replicas == Replicas::Three;
        published
    }

    /// The stream that takes a subject.
    fn taking(&mut self, subject: &str) -> Option<&mut Stream> {
        self.streams.values_mut().find(|stream| stream.takes(subject))
    }

    /// A stream.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn stream(&self, stream: &str) -> Result<&Stream, Refusal> {
        self.streams.get(stream).ok_or(Refusal::of(code::STREAM_NOT_FOUND))
    }

    /// A stream, to be changed.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn stream_mut(&mut self, stream: &str) -> Result<&mut Stream, Refusal> {
        self.streams.get_mut(stream).ok_or(Refusal::of(code::STREAM_NOT_FOUND))
    }
}
