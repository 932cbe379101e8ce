//! The log as each server has it, and what it says beside what users were told.

use super::site::{KINGS, Site};
use super::users::{Memory, Told};
use crate::client::Client;
use crate::cluster::SERVERS;
use crate::wait;
use async_nats::jetstream::stream::Stream;
use bytes::Bytes;
use events::event::CommandEvent;
use events::subject::{INBOX_STREAM, LOG_STREAM};
use events::{Cause, Commit, Digest, Fact, wire};
use futures_util::StreamExt;
use realm::State;
use std::collections::{BTreeMap, BTreeSet};
use tokio::time::Instant;

/// Reads that are under way at once.
const READS: usize = 64;

/// What the log says became of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Outcome {
    status: &'static str,
    event: u64,
}

/// The log so far, proved.
#[derive(Debug)]
pub struct Past {
    state: State,
    sequence: u64,
    hash: Digest,
    /// Up to which sequence the queue was worked off.
    inbox: u64,
    outcomes: BTreeMap<String, Vec<Outcome>>,
    /// How many further events each command has led to at once.
    effects: BTreeMap<String, u64>,
}

/// What was found wrong, and how much was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Commands whose outcome was told, or that the queue has acknowledged, and that are not in the log as told.
    pub lost: usize,
    /// Commands with more than one outcome.
    pub doubled: usize,
    pub commands: usize,
}

impl Default for Past {
    fn default() -> Self {
        Self {
            state: State::default(),
            sequence: 0,
            hash: Digest::ZERO,
            inbox: 0,
            outcomes: BTreeMap::new(),
            effects: BTreeMap::new(),
        }
    }
}

impl Past {
    /// Reads on, through each server by itself, and folds what is new.
    ///
    /// # Panics
    /// When two servers differ, a message is missing, the chain is broken, or a commit does not follow.
    pub async fn read_on(&mut self, site: &Site) {
        let last = wait::until("the log tells its end", async || {
            let stream = site.client.jetstream.get_stream(LOG_STREAM).await;
            stream.map(|stream| stream.cached_info().state.last_sequence)
        })
        .await;
        let mut copies = Vec::new();
        for server in 0..SERVERS {
            let client = Client::connect(&site.cluster.url_of(server)).await;
            copies.push(copy(&client, self.sequence + 1, last).await);
        }
        for (server, copy) in copies.iter().enumerate() {
            for (index, (bytes, first)) in copy.iter().zip(&copies[0]).enumerate() {
                let sequence = self.sequence + 1 + index as u64;
                assert_eq!(bytes, first, "commit {sequence} of servers 1 and {} differ", server + 1);
            }
        }
        for bytes in &copies[0] {
            self.take(bytes);
        }
        assert_eq!(self.sequence, last, "the log is read to its end");
    }

    fn take(&mut self, bytes: &Bytes) {
        let (sequence, commit) = (self.sequence + 1, wire::decode::<Commit>(bytes));
        let commit = commit.unwrap_or_else(|error| panic!("commit {sequence} is none: {error}"));
        assert_eq!(commit.previous, self.hash, "commit {sequence} continues the chain");
        realm::apply_commit(&mut self.state, &commit)
            .unwrap_or_else(|error| panic!("commit {sequence} does not follow: {error}"));
        (self.sequence, self.hash, self.inbox) = (sequence, Digest::of(bytes), commit.inbox);
        for event in &commit.events {
            match (&event.fact, &event.cause) {
                (Fact::Command(command), _) => {
                    let status = match command {
                        CommandEvent::Accepted(_) => "accepted",
                        CommandEvent::Refused(_) => "refused",
                    };
                    let outcomes = self.outcomes.entry(command.id().to_string()).or_default();
                    outcomes.push(Outcome { status, event: event.id });
                }
                (_, Cause::Command(id)) => *self.effects.entry(id.to_string()).or_default() += 1,
                (_, Cause::Report(_) | Cause::Tick | Cause::Election) => {}
            }
        }
    }

    /// Compares the log with what users were told, and says what is wrong.
    pub fn compare(&self, memory: &Memory) -> (Counts, Vec<String>) {
        let mut wrong = Vec::new();
        let mut counts = Counts { commands: self.outcomes.len(), ..Counts::default() };
        for told in &memory.told {
            let found = self.outcomes.get(&told.id).and_then(|outcomes| outcomes.first());
            if found.is_none_or(|found| found.status != told.status || found.event != told.event) {
                counts.lost += 1;
                wrong.push(format!("{told:?} was told, and the log says {found:?}"));
            }
        }
        let lost = memory.queued.iter().filter(|id| !self.outcomes.contains_key(*id));
        let lost: Vec<_> = lost.map(|id| format!("{id} was queued, and the log does not know it")).collect();
        counts.lost += lost.len();
        wrong.extend(lost);
        for (id, outcomes) in &self.outcomes {
            if outcomes.len() > 1 {
                counts.doubled += 1;
                wrong.push(format!("{id} ran more than once: {outcomes:?}"));
            }
            if outcomes[0].status == "refused" && self.effects.contains_key(id) {
                wrong.push(format!("{id} was refused, and had an effect"));
            }
        }
        wrong.extend(self.strangers(memory));
        wrong.extend(disorder(&memory.told));
        (counts, wrong)
    }

    /// Commands of users in the log that no user has sent.
    fn strangers(&self, memory: &Memory) -> Vec<String> {
        let told: BTreeSet<_> = memory.told.iter().map(|told| &told.id).collect();
        let ours = |id: &&String| id.starts_with("asked-") || id.starts_with("queued-");
        let known =
            |id: &String| told.contains(id) || memory.queued.contains(id) || memory.unknown.contains(id);
        let strange = self.outcomes.keys().filter(ours).filter(|id| !known(id));
        strange.map(|id| format!("{id} is in the log, and nobody knows of it")).collect()
    }

    /// Waits until every King is at the end of this past with the same state, reading on when there is more.
    ///
    /// # Panics
    /// When one of them is not.
    pub async fn equals_every_king(&mut self, site: &Site) {
        for king in KINGS {
            let deadline = Instant::now() + wait::PATIENCE;
            loop {
                let found = site.king(king).await;
                if let Ok(found) = &found
                    && found["event"].as_u64() == Some(self.state.last)
                {
                    let hash = self.state.hash().to_string();
                    assert_eq!(found["state_hash"], hash, "{king} is another than the replay of its log");
                    break;
                }
                assert!(Instant::now() < deadline, "{king} is not at event {}: {found:?}", self.state.last);
                wait::pause().await;
                self.read_on(site).await;
            }
        }
    }

    /// Waits until the queue is worked off.
    ///
    /// # Panics
    /// When it is not.
    pub async fn works_off_the_queue(&mut self, site: &Site) {
        let deadline = Instant::now() + wait::PATIENCE;
        loop {
            self.read_on(site).await;
            let queue = site.client.jetstream.get_stream(INBOX_STREAM).await;
            let last = queue.map(|queue| queue.cached_info().state.last_sequence);
            if last.as_ref().is_ok_and(|last| *last == self.inbox) {
                return;
            }
            assert!(Instant::now() < deadline, "the queue is worked off up to {} of {last:?}", self.inbox);
            wait::pause().await;
        }
    }
}

/// Answers that contradict time: what was sent after another was told must stand after it in the log.
fn disorder(told: &[Told]) -> Vec<String> {
    let mut by_sending: Vec<_> = told.iter().collect();
    by_sending.sort_by_key(|told| told.sent);
    let mut by_telling = by_sending.clone();
    by_telling.sort_by_key(|told| told.told);
    let (mut before, mut wrong) = (by_telling.into_iter().peekable(), Vec::new());
    let mut latest: Option<&Told> = None;
    for one in by_sending {
        while let Some(earlier) = before.next_if(|earlier| earlier.told < one.sent) {
            latest = latest.max_by_event(earlier);
        }
        if let Some(latest) = latest.filter(|latest| latest.event > one.event) {
            wrong
                .push(format!("{one:?} was sent after {latest:?} was told, and stands before it in the log"));
        }
    }
    wrong
}

trait Later<'a> {
    fn max_by_event(self, other: &'a Told) -> Self;
}

impl<'a> Later<'a> for Option<&'a Told> {
    fn max_by_event(self, other: &'a Told) -> Self {
        match self {
            Some(own) if own.event >= other.event => Some(own),
            Some(_) | None => Some(other),
        }
    }
}

/// The messages of a range as one server has them: it answers direct reads itself when it holds a copy.
async fn copy(client: &Client, first: u64, last: u64) -> Vec<Bytes> {
    let stream =
        wait::until("the log is there", async || client.jetstream.get_stream(LOG_STREAM).await).await;
    futures_util::stream::iter(first..=last)
        .map(|sequence| read(&stream, sequence))
        .buffered(READS)
        .collect()
        .await
}

async fn read(stream: &Stream, sequence: u64) -> Bytes {
    let message = wait::until("a server gives a commit", async || stream.direct_get(sequence).await).await;
    assert_eq!(message.sequence, sequence);
    message.payload
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn told(id: &str, sent: u64, told: u64, event: u64) -> Told {
        // Tokio's instants have no beginning of their own; one is enough for all.
        static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        let start = *START.get_or_init(Instant::now);
        let at = |ms| start + Duration::from_millis(ms);
        Told { id: id.into(), sent: at(sent), told: at(told), status: "accepted".into(), event }
    }

    #[test]
    fn order_is_that_of_time_where_time_tells() {
        let overlapping = [told("a", 0, 10, 7), told("b", 5, 15, 3)];
        assert!(disorder(&overlapping).is_empty());
        let wrong = [told("a", 0, 10, 7), told("b", 11, 15, 3)];
        assert_eq!(disorder(&wrong).len(), 1);
        let right = [told("a", 0, 10, 3), told("b", 11, 15, 7), told("c", 12, 14, 6)];
        assert!(disorder(&right).is_empty());
    }

    #[test]
    fn what_the_log_lacks_or_has_twice_is_found() {
        let mut past = Past::default();
        let outcome = |event| Outcome { status: "accepted", event };
        past.outcomes.insert("asked-1".into(), vec![outcome(1), outcome(2)]);
        past.outcomes.insert("asked-2".into(), vec![Outcome { status: "refused", event: 3 }]);
        past.outcomes.insert("asked-9".into(), vec![outcome(5)]);
        past.effects.insert("asked-2".into(), 1);
        let mut memory =
            Memory { told: vec![told("asked-1", 0, 1, 1), told("asked-3", 2, 3, 4)], ..Memory::default() };
        memory.unknown.insert("asked-2".into());
        memory.queued.insert("queued-4".into());
        let (counts, wrong) = past.compare(&memory);
        assert_eq!(counts, Counts { lost: 2, doubled: 1, commands: 3 });
        assert_eq!(wrong.len(), 5, "{wrong:#?}");
    }
}
