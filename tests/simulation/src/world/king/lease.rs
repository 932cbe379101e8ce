//! Who tries first: one key of a bucket that its holder renews and the others watch. It chooses and guards nothing.

use super::super::net::{MS, Micros, Net};
use super::super::packet::{Ask, Failure, Node, Reply, Timer};
use super::super::tail::REQUEST;
use crate::jetstream::Message;

const STREAM: &str = "KV_KING_LEASE";
const KEY: &str = "$KV.KING_LEASE.king";
/// How long a revision may stand still.
const LENGTH: Micros = 1200 * MS;
const RENEW: Micros = 400 * MS;
const EXPECTED_REVISION: &str = "Nats-Expected-Last-Subject-Sequence";

/// A King's side of the lease.
pub struct Lease {
    node: Node,
    /// The revision that was seen last, and since when.
    seen: (u64, Micros),
    asked: Option<(u64, Question)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Question {
    Read,
    Take,
    Renew,
}

/// What the lease calls for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    Nothing,
    Elect,
}

impl Lease {
    pub fn new(net: &mut Net, node: Node) -> Self {
        let first = net.random.between(10 * MS, RENEW);
        net.wake(node, first, Timer::Lease);
        Self { node, seen: (0, net.now), asked: None }
    }

    pub fn asked(&self, call: u64) -> bool {
        self.asked.is_some_and(|(asked, _)| asked == call)
    }

    /// Looks whether its holder still renews it.
    pub fn look(&mut self, net: &mut Net) {
        if self.asked.is_some() {
            return self.rest(net);
        }
        let (revision, since) = self.seen;
        if net.now.saturating_sub(since) > LENGTH {
            return self.write(net, revision, Question::Take);
        }
        let ask = Ask::ReadLast { stream: STREAM, subject: KEY.to_owned() };
        self.asked = Some((net.ask(self.node, ask, REQUEST), Question::Read));
        self.rest(net);
    }

    pub fn renew(&mut self, net: &mut Net) {
        self.rest(net);
        if self.asked.is_none() {
            self.write(net, self.seen.0, Question::Renew);
        }
    }

    fn write(&mut self, net: &mut Net, revision: u64, question: Question) {
        let message =
            Message::new(KEY, &[(EXPECTED_REVISION, &revision.to_string())], self.node.to_string());
        self.asked = Some((net.ask(self.node, Ask::Publish(message), REQUEST), question));
        if question == Question::Take {
            self.rest(net);
        }
    }

    pub fn rest(&mut self, net: &mut Net) {
        let jitter = net.random.below(50 * MS);
        net.wake(self.node, RENEW + jitter, Timer::Lease);
    }

    pub fn done(&mut self, net: &mut Net, result: Result<Reply, Failure>) -> Wish {
        let question = self.asked.take().map(|(_, question)| question);
        match (question, result) {
            (Some(Question::Read), Ok(Reply::Found(found))) => {
                let revision = found.map_or(0, |(revision, _)| revision);
                if revision != self.seen.0 {
                    self.seen = (revision, net.now);
                }
            }
            (Some(Question::Take), Ok(Reply::Ack(ack))) => {
                self.seen = (ack.sequence, net.now);
                return Wish::Elect;
            }
            (Some(Question::Renew), Ok(Reply::Ack(ack))) => self.seen = (ack.sequence, net.now),
            // Not clear, or overtaken: the count begins anew.
            (_, _) => self.seen.1 = net.now,
        }
        Wish::Nothing
    }

    pub fn cut(&mut self) {
        self.asked = None;
    }

    /// Another King writes: it holds the lease.
    pub fn lost(&mut self) {
        self.asked = None;
        self.seen.0 = u64::MAX;
    }
}
