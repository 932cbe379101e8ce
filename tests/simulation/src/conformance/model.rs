//! The model as the cases see it.

use super::Bus;
use crate::core::Subscriptions;
use crate::jetstream::{
    Ack, Entry, JetStream, Message, PublishFailure, Refusal, Replicas, State, StreamConfig,
};

/// The model, with a clock that only [`Bus::pass`] moves.
pub struct Model {
    jetstream: JetStream,
    subscriptions: Subscriptions<usize>,
    heard: Vec<Vec<Message>>,
    told: u64,
    now_ms: u64,
}

impl Model {
    /// A model without streams.
    pub fn new(replicas: Replicas) -> Self {
        Self {
            jetstream: JetStream::new(replicas),
            subscriptions: Subscriptions::default(),
            heard: Vec::new(),
            told: 0,
            now_ms: 0,
        }
    }
}

impl Bus for Model {
    fn replicas(&self) -> Replicas {
        self.jetstream.replicas()
    }

    fn create(&mut self, config: &StreamConfig) -> Result<(), Refusal> {
        self.jetstream.create(config.clone())
    }

    fn delete(&mut self, stream: &str) -> Result<(), Refusal> {
        self.jetstream.delete(stream)
    }

    fn publish(&mut self, message: &Message) -> Result<Ack, PublishFailure> {
        self.jetstream.publish(message, self.now_ms)
    }

    fn pipeline(&mut self, messages: &[Message]) -> Vec<Result<Ack, PublishFailure>> {
        messages.iter().map(|message| self.publish(message)).collect()
    }

    fn state(&mut self, stream: &str) -> Result<State, Refusal> {
        self.jetstream.stream(stream).map(|stream| stream.state())
    }

    fn read(&mut self, stream: &str, sequence: u64) -> Result<Option<Message>, Refusal> {
        self.jetstream.stream(stream).map(|stream| stream.read(sequence).cloned())
    }

    fn read_last(&mut self, stream: &str, subject: &str) -> Result<Option<(u64, Message)>, Refusal> {
        let found = self.jetstream.stream(stream)?.read_last(subject);
        Ok(found.map(|(sequence, message)| (sequence, message.clone())))
    }

    fn deliver(&mut self, stream: &str, after: u64, filters: &[&str], most: usize) -> Vec<Entry> {
        let filters: Vec<String> = filters.iter().map(|filter| (*filter).to_owned()).collect();
        let stream = self.jetstream.stream(stream).expect("a case delivers from a stream that it made");
        stream.deliver(after, &filters, most)
    }

    fn purge(&mut self, stream: &str, before: Option<u64>) -> Result<u64, Refusal> {
        let stream = self.jetstream.stream_mut(stream)?;
        match before {
            Some(before) => stream.purge_before(before),
            None => stream.purge(),
        }
    }

    fn delete_message(&mut self, stream: &str, sequence: u64) -> Result<(), Refusal> {
        self.jetstream.stream_mut(stream)?.delete(sequence)
    }

    fn subscribe(&mut self, pattern: &str, group: Option<&str>) -> usize {
        let subscriber = self.heard.len();
        self.heard.push(Vec::new());
        self.subscriptions.add(subscriber, pattern, group);
        subscriber
    }

    fn unsubscribe(&mut self, subscription: usize) {
        self.subscriptions.remove(&subscription);
    }

    fn tell(&mut self, subject: &str, payload: &[u8]) {
        self.told += 1;
        for subscriber in self.subscriptions.receivers(subject, self.told) {
            self.heard[subscriber].push(Message::new(subject, &[], payload.to_vec()));
        }
    }

    fn heard(&mut self, subscription: usize) -> Vec<Message> {
        std::mem::take(&mut self.heard[subscription])
    }

    fn has_responders(&mut self, subject: &str) -> bool {
        !self.subscriptions.receivers(subject, 0).is_empty()
    }

    fn pass(&mut self, ms: u64) {
        self.now_ms += ms;
    }

    /// The model keeps everything on its disk, as a server does that syncs always.
    fn restart(&mut self) {}

    fn change_leader(&mut self, _: &str) {}
}
