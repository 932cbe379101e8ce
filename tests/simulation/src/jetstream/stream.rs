//! One stream: its messages, and what may be done with them.

use super::checks::{self, Verdict};
use super::message::{Ack, Entry, Message, Refusal, code};
use super::{Replicas, subject};
use std::collections::{BTreeMap, HashMap};

/// What happens when a limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discard {
    Old,
    New,
}

/// The settings of a stream, as far as the kingdom uses them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamConfig {
    pub name: String,
    pub subjects: Vec<String>,
    pub discard: Discard,
    pub max_messages: Option<u64>,
    pub max_per_subject: Option<u64>,
    pub max_message_bytes: Option<usize>,
    pub duplicate_window_ms: u64,
    pub deny_delete: bool,
    pub deny_purge: bool,
}

impl StreamConfig {
    /// A stream without limits.
    pub fn new(name: &str, subjects: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            subjects: subjects.iter().map(|subject| (*subject).to_owned()).collect(),
            discard: Discard::New,
            max_messages: None,
            max_per_subject: None,
            max_message_bytes: None,
            duplicate_window_ms: 120_000,
            deny_delete: false,
            deny_purge: false,
        }
    }
}

/// What a stream says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    pub count: u64,
    pub first: u64,
    pub last: u64,
    /// Tells it from a forerunner of the same name.
    pub created: u64,
}

/// A stream.
#[derive(Clone, Debug)]
pub struct Stream {
    pub config: StreamConfig,
    created: u64,
    messages: BTreeMap<u64, Message>,
    by_subject: HashMap<String, Vec<u64>>,
    pub(super) ids: HashMap<String, Known>,
    pub(super) last: u64,
    pub(super) last_id: Option<String>,
    /// Its disk takes nothing more.
    is_full: bool,
    /// Its replicas have failed to store what they had agreed on.
    pub(super) is_broken: bool,
}

/// A message id that was stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub sequence: u64,
    pub at_ms: u64,
}

impl Stream {
    pub(super) fn new(config: StreamConfig, created: u64) -> Self {
        Self {
            config,
            created,
            messages: BTreeMap::new(),
            by_subject: HashMap::new(),
            ids: HashMap::new(),
            last: 0,
            last_id: None,
            is_full: false,
            is_broken: false,
        }
    }

    pub(super) fn takes(&self, subject: &str) -> bool {
        self.config.subjects.iter().any(|pattern| subject::matches(pattern, subject))
    }

    pub(super) fn publish(
        &mut self,
        message: &Message,
        replicas: Replicas,
        now_ms: u64,
    ) -> Result<Ack, Refusal> {
        match checks::check(self, message, replicas, now_ms)? {
            Verdict::Duplicate(sequence) => return Ok(Ack { sequence, duplicate: true }),
            Verdict::Store => {}
        }
        if self.is_full || self.has_no_room(&message.subject) {
            return Err(Refusal::of(code::STORE_FAILED));
        }
        let sequence = self.store(message.clone());
        if let Some(id) = message.header(checks::ID) {
            self.ids.insert(id.to_owned(), Known { sequence, at_ms: now_ms });
            self.last_id = Some(id.to_owned());
        }
        Ok(Ack { sequence, duplicate: false })
    }

    /// Only a message that takes another's place has room when new ones are discarded.
    fn has_no_room(&self, subject: &str) -> bool {
        let replaces = self.config.max_per_subject.is_some() && self.by_subject.contains_key(subject);
        let is_at_limit = self.config.max_messages.is_some_and(|most| self.messages.len() as u64 >= most);
        self.config.discard == Discard::New && is_at_limit && !replaces
    }

    fn store(&mut self, message: Message) -> u64 {
        self.last += 1;
        let places = self.by_subject.entry(message.subject.clone()).or_default();
        places.push(self.last);
        let surplus = self.config.max_per_subject.is_some_and(|most| places.len() as u64 > most);
        let oldest = surplus.then(|| places[0]);
        self.messages.insert(self.last, message);
        if let Some(oldest) = oldest {
            self.forget(oldest);
        }
        if self.config.max_messages.is_some_and(|most| self.messages.len() as u64 > most)
            && let Some(&oldest) = self.messages.keys().next()
        {
            self.forget(oldest);
        }
        self.last
    }

    fn forget(&mut self, sequence: u64) {
        let Some(message) = self.messages.remove(&sequence) else { return };
        if let Some(places) = self.by_subject.get_mut(&message.subject) {
            places.retain(|place| *place != sequence);
            if places.is_empty() {
                self.by_subject.remove(&message.subject);
            }
        }
    }

    /// What it says of itself.
    pub fn state(&self) -> State {
        let first = self.messages.keys().next().copied().unwrap_or(self.last + 1);
        // A stream that never held a message begins at 0, as the server has it.
        let first = if self.last == 0 { 0 } else { first };
        State { count: self.messages.len() as u64, first, last: self.last, created: self.created }
    }

    /// The message with a sequence, from the leader.
    pub fn read(&self, sequence: u64) -> Option<&Message> {
        self.messages.get(&sequence)
    }

    /// The last message on a subject with its sequence, from the leader.
    pub fn read_last(&self, subject: &str) -> Option<(u64, &Message)> {
        let sequence = *self.by_subject.get(subject)?.last()?;
        self.messages.get(&sequence).map(|message| (sequence, message))
    }

    /// The revision of a subject: 0 when it holds nothing.
    pub(super) fn revision(&self, subject: &str) -> u64 {
        self.read_last(subject).map_or(0, |(sequence, _)| sequence)
    }

    /// What a new consumer delivers: the messages after a sequence that match, at most so many.
    pub fn deliver(&self, after: u64, filters: &[String], most: usize) -> Vec<Entry> {
        let matching = |message: &Message| {
            filters.is_empty() || filters.iter().any(|filter| subject::matches(filter, &message.subject))
        };
        let found = self.messages.range(after + 1..).filter(|(_, message)| matching(message));
        let total = found.clone().count() as u64;
        (1..)
            .zip(found.take(most))
            .map(|(count, (sequence, message))| Entry {
                sequence: *sequence,
                count,
                pending: total - count,
                message: message.clone(),
            })
            .collect()
    }

    /// The next message after a sequence that matches, and how many are behind it.
    pub fn next_after(&self, after: u64, filters: &[String]) -> Option<(u64, &Message)> {
        self.messages
            .range(after + 1..)
            .find(|(_, message)| {
                filters.is_empty() || filters.iter().any(|filter| subject::matches(filter, &message.subject))
            })
            .map(|(sequence, message)| (*sequence, message))
    }

    /// Forgets everything before a sequence.
    ///
    /// # Errors
    /// When the stream denies it.
    pub fn purge_before(&mut self, sequence: u64) -> Result<u64, Refusal> {
        if self.config.deny_purge {
            return Err(Refusal::of(code::PURGE_DENIED));
        }
        let gone: Vec<u64> = self.messages.range(..sequence).map(|(place, _)| *place).collect();
        gone.iter().for_each(|place| self.forget(*place));
        Ok(gone.len() as u64)
    }

    /// Forgets everything.
    ///
    /// # Errors
    /// When the stream denies it.
    pub fn purge(&mut self) -> Result<u64, Refusal> {
        self.purge_before(self.last + 1)
    }

    /// Forgets one message.
    ///
    /// # Errors
    /// When the stream denies it, or there is no such message.
    pub fn delete(&mut self, sequence: u64) -> Result<(), Refusal> {
        if self.config.deny_delete {
            return Err(Refusal::of(code::DELETE_DENIED));
        }
        if !self.messages.contains_key(&sequence) {
            return Err(Refusal::of(code::NO_MESSAGE));
        }
        self.forget(sequence);
        Ok(())
    }

    /// Whether its disk takes anything from now on.
    pub fn set_full(&mut self, is_full: bool) {
        self.is_full = is_full;
    }

    /// A disaster: the end of the stream is gone, as when an old copy of its disk was put back.
    pub fn lose_after(&mut self, sequence: u64) {
        let gone: Vec<u64> = self.messages.range(sequence + 1..).map(|(place, _)| *place).collect();
        gone.iter().for_each(|place| self.forget(*place));
        self.last = self.last.min(sequence);
        self.ids.retain(|_, known| known.sequence <= sequence);
    }
}
