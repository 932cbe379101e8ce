//! Views as they become stale: read, compared by the real rule, written at the revision that was read.

use super::super::net::Net;
use super::super::packet::{Ask, Failure, Node, Reply, Timer};
use super::super::tail::REQUEST;
use super::{RETRY, again};
use crate::coverage::Sight;
use crate::jetstream::{Message, code};
use bus::views::rule::{self, Standing, Step};
use events::view::Stamp;
use events::wire;
use king::effects;
use realm::State;
use realm::project::{self, ViewKey};
use std::collections::BTreeSet;

const STREAM: &str = "KV_KING_VIEWS";
const EXPECTED_REVISION: &str = "Nats-Expected-Last-Subject-Sequence";

/// What is to be written.
pub struct Views {
    node: Node,
    stale: BTreeSet<ViewKey>,
    job: Option<Job>,
    is_waiting: bool,
}

struct Job {
    key: ViewKey,
    subject: String,
    bytes: Vec<u8>,
    stamp: Stamp,
    call: u64,
    is_writing: bool,
}

impl Views {
    /// Every view of a state is stale when a King takes over.
    pub fn new(node: Node, state: &State) -> Self {
        Self { node, stale: project::all(state), job: None, is_waiting: false }
    }

    pub fn mark(&mut self, keys: BTreeSet<ViewKey>) {
        self.stale.extend(keys);
    }

    pub fn is_idle(&self) -> bool {
        self.stale.is_empty() && self.job.is_none()
    }

    /// The next view, when none is under way.
    pub fn go_on(&mut self, net: &mut Net, state: &State) {
        if self.job.is_some() || self.is_waiting {
            return;
        }
        let Some(key) = self.stale.pop_first() else { return };
        let (name, bytes, stamp) = effects::view(state, &key);
        let subject = format!("$KV.KING_VIEWS.{name}");
        let call = net.ask(self.node, Ask::ReadLast { stream: STREAM, subject: subject.clone() }, REQUEST);
        self.job = Some(Job { key, subject, bytes, stamp, call, is_writing: false });
    }

    /// An answer came; whether a later King's view was met.
    pub fn done(&mut self, net: &mut Net, state: &State, call: u64, result: &Result<Reply, Failure>) -> bool {
        let Some(job) = self.job.take_if(|job| job.call == call) else { return false };
        match result {
            Ok(Reply::Found(found)) if !job.is_writing => {
                return self.stands(net, job, found.as_ref());
            }
            Ok(Reply::Ack(_)) => {}
            Err(Failure::Refused(refusal)) if refusal.code == code::WRONG_LAST_SEQUENCE => {
                net.saw(Sight::ViewOvertaken);
                self.stale.insert(job.key);
            }
            Ok(_) | Err(_) => {
                self.stale.insert(job.key);
                self.is_waiting = true;
                net.wake(self.node, RETRY, Timer::Again(again::VIEWS));
            }
        }
        self.go_on(net, state);
        false
    }

    /// The moment before another try has passed.
    pub fn again(&mut self) {
        self.is_waiting = false;
    }

    fn stands(&mut self, net: &mut Net, mut job: Job, found: Option<&(u64, Message)>) -> bool {
        let standing = found.map(|(revision, message)| Standing {
            revision: *revision,
            stamp: wire::decode(&message.payload).ok(),
            is_same: message.payload == job.bytes,
        });
        match rule::step(standing.as_ref(), job.stamp) {
            Step::Done => false,
            Step::Superseded(_) => true,
            Step::Write { revision } => {
                let headers = [(EXPECTED_REVISION, revision.to_string())];
                let headers: Vec<(&str, &str)> =
                    headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
                let message = Message::new(job.subject.clone(), &headers, job.bytes.clone());
                job.call = net.ask(self.node, Ask::Publish(message), REQUEST);
                job.is_writing = true;
                self.job = Some(job);
                false
            }
        }
    }
}
