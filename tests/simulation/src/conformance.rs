//! What the kingdom takes for granted of JetStream, as cases that run against the model and against real servers.
//!
//! A case is a function over [`Bus`]. It panics when the bus behaves otherwise. Where one replica and three differ, the
//! case says both. The real servers are in `tests/tests/conformance.rs`.

/// The cases of a module, by the names of their functions.
macro_rules! list {
    ($($name:ident),* $(,)?) => {
        pub(super) const CASES: &[super::Case] =
            &[$(super::Case { name: stringify!($name), run: $name }),*];
    };
}

mod append;
mod duplicates;
mod reading;
mod consuming;
mod keys;
mod core;
mod lives;
mod model;

pub use model::Model;

use crate::jetstream::{Ack, Entry, Message, PublishFailure, Refusal, Replicas, State, StreamConfig};

/// A server with JetStream, as the cases see it: calls in turn on one connection, each waited for.
pub trait Bus {
    fn replicas(&self) -> Replicas;
    fn create(&mut self, config: &StreamConfig) -> Result<(), Refusal>;
    fn delete(&mut self, stream: &str) -> Result<(), Refusal>;
    fn publish(&mut self, message: &Message) -> Result<Ack, PublishFailure>;
    /// All are sent before the first answer is waited for.
    fn pipeline(&mut self, messages: &[Message]) -> Vec<Result<Ack, PublishFailure>>;
    fn state(&mut self, stream: &str) -> Result<State, Refusal>;
    /// From the leader.
    fn read(&mut self, stream: &str, sequence: u64) -> Result<Option<Message>, Refusal>;
    /// From the leader.
    fn read_last(&mut self, stream: &str, subject: &str) -> Result<Option<(u64, Message)>, Refusal>;
    /// What a new consumer without acknowledgements delivers.
    fn deliver(&mut self, stream: &str, after: u64, filters: &[&str], most: usize) -> Vec<Entry>;
    /// Forgets what is before a sequence, or all.
    fn purge(&mut self, stream: &str, before: Option<u64>) -> Result<u64, Refusal>;
    fn delete_message(&mut self, stream: &str, sequence: u64) -> Result<(), Refusal>;
    /// Subscribes on a connection of its own; the number names it.
    fn subscribe(&mut self, pattern: &str, group: Option<&str>) -> usize;
    fn unsubscribe(&mut self, subscription: usize);
    /// Publishes without an answer; what each subscription then holds shows in [`Bus::heard`].
    fn tell(&mut self, subject: &str, payload: &[u8]);
    /// What came to a subscription since the last call, after everything told before has arrived.
    fn heard(&mut self, subscription: usize) -> Vec<Message>;
    /// Whether somebody took a request, or the server said that nobody listens.
    fn has_responders(&mut self, subject: &str) -> bool;
    /// Lets so much time pass, in milliseconds.
    fn pass(&mut self, ms: u64);
    /// Kills every server and starts it again on its disk.
    fn restart(&mut self);
    /// Has the leader of a stream step down, where there is more than one server.
    fn change_leader(&mut self, stream: &str);
}

/// A case with its name.
#[derive(Clone, Copy)]
pub struct Case {
    pub name: &'static str,
    pub run: fn(&mut dyn Bus),
}

/// Every case.
pub fn cases() -> Vec<Case> {
    [
        append::CASES,
        duplicates::CASES,
        reading::CASES,
        consuming::CASES,
        keys::CASES,
        core::CASES,
        lives::CASES,
    ]
    .concat()
}

/// The stream of most cases.
const STREAM: &str = "CASE";
const SUBJECT: &str = "case.log";

fn log() -> StreamConfig {
    StreamConfig::new(STREAM, &["case.>"])
}

/// A message on the usual subject.
fn message(headers: &[(&str, &str)], payload: &str) -> Message {
    Message::new(SUBJECT, headers, payload.to_owned())
}

fn fenced(expected_last: u64, payload: &str) -> Message {
    message(&[(FENCE, &expected_last.to_string())], payload)
}

fn made(bus: &mut dyn Bus, config: &StreamConfig) {
    bus.create(config).expect("a stream of a new name is made");
}

/// Stores so many messages `1`, `2`, … on the usual subject.
fn filled(bus: &mut dyn Bus, count: u64) {
    made(bus, &log());
    for number in 1..=count {
        stored(bus, &message(&[], &number.to_string()), number);
    }
}

fn stored(bus: &mut dyn Bus, message: &Message, sequence: u64) {
    assert_eq!(bus.publish(message), Ok(Ack { sequence, duplicate: false }), "{message:?}");
}

fn duplicate(bus: &mut dyn Bus, message: &Message, sequence: u64) {
    assert_eq!(bus.publish(message), Ok(Ack { sequence, duplicate: true }), "{message:?}");
}

fn refused(bus: &mut dyn Bus, message: &Message, code: u64) {
    match bus.publish(message) {
        Err(PublishFailure::Refused(refusal)) => assert_eq!(refusal.code, code, "{message:?}"),
        other => panic!("{message:?} gave {other:?}, not {code}"),
    }
}

fn count(bus: &mut dyn Bus) -> u64 {
    bus.state(STREAM).expect("the stream is there").count
}

fn last(bus: &mut dyn Bus) -> u64 {
    bus.state(STREAM).expect("the stream is there").last
}

const FENCE: &str = "Nats-Expected-Last-Sequence";
const ID: &str = "Nats-Msg-Id";
