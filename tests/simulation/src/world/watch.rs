//! A follower of one key of the views, as nodes use it: the real rule of what is news, a tail, and a plain read now and
//! then.

use super::net::{Net, SECOND};
use super::packet::{Ask, Failure, Node, Reply, Timer};
use super::tail::{REQUEST, Read, Tail};
use crate::jetstream::{Entry, Message};
use bus::tail::Holes;
use bus::views::rule::{Content, Seen};
use bytes::Bytes;

const STREAM: &str = "KV_KING_VIEWS";
/// Between two plain reads.
const CHECK: u64 = 3 * SECOND;
/// Before the next when one failed.
const SOON: u64 = SECOND / 2;

/// A follower of a key.
pub struct Watch {
    node: Node,
    subject: String,
    seen: Seen,
    tail: Option<Tail>,
    reading: Option<u64>,
}

impl Watch {
    /// Follows a key.
    pub fn open(net: &mut Net, node: Node, key: &str) -> Self {
        let subject = format!("$KV.KING_VIEWS.{key}");
        let mut watch = Self { node, subject, seen: Seen::default(), tail: None, reading: None };
        watch.look(net);
        watch
    }

    /// Reads the key plainly.
    pub fn look(&mut self, net: &mut Net) {
        let ask = Ask::ReadLast { stream: STREAM, subject: self.subject.clone() };
        self.reading = Some(net.ask(self.node, ask, REQUEST));
    }

    /// An answer came; the view, when it is news.
    pub fn done(&mut self, net: &mut Net, call: u64, result: &Result<Reply, Failure>) -> Option<Bytes> {
        if let Some(tail) = &mut self.tail {
            tail.done(net, call, result);
        }
        if self.reading != Some(call) {
            return None;
        }
        self.reading = None;
        let Ok(Reply::Found(found)) = result else {
            net.wake(self.node, SOON, Timer::Look);
            return None;
        };
        net.wake(self.node, CHECK, Timer::Look);
        let revision = found.as_ref().map_or(0, |(revision, _)| *revision);
        if self.tail.is_none() || self.seen.is_cut_by(revision) {
            let filters = vec![self.subject.clone()];
            self.tail = Some(Tail::open(net, self.node, STREAM, filters, Holes::Natural, revision));
        }
        if self.seen.is_at(revision) {
            return None;
        }
        self.deliver(revision, found.as_ref().map(|(_, message)| message))
    }

    /// A message came; the view, when it is news.
    pub fn entry(&mut self, net: &mut Net, consumer: u64, entry: Entry) -> Option<Bytes> {
        match self.tail.as_mut()?.entry(net, consumer, entry) {
            Read::Next(entry) if !self.seen.is_ahead_of(entry.sequence) => {
                self.deliver(entry.sequence, Some(&entry.message))
            }
            Read::Next(_) | Read::Nothing | Read::Lost => None,
        }
    }

    fn deliver(&mut self, revision: u64, message: Option<&Message>) -> Option<Bytes> {
        let content = if message.is_some() { Content::View } else { Content::Nothing };
        let is_news = self.seen.deliver(revision, content);
        message.filter(|_| is_news).map(|message| message.payload.clone())
    }

    /// The connection was cut.
    pub fn cut(&mut self, net: &mut Net) {
        if let Some(tail) = &mut self.tail {
            tail.cut(net);
        }
    }

    /// Nothing comes of a consumer any more.
    pub fn silent(&mut self, net: &mut Net, consumer: u64) {
        if let Some(tail) = &mut self.tail {
            tail.silent(net, consumer);
        }
    }

    /// The moment before a tail is made anew has passed.
    pub fn reopened(&mut self, net: &mut Net) {
        if let Some(tail) = &mut self.tail {
            tail.reopened(net);
        }
    }
}
