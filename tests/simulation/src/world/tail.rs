//! A reader of a stream, as nodes use it: the real cursor, and what the real shell does around it.

use super::net::{MS, Net};
use super::packet::{Ask, Failure, Node, Reply, Timer};
use crate::coverage::Sight;
use crate::jetstream::Entry;
use bus::tail::{Cursor, Holes, Taken};

/// How long a request to JetStream may take.
pub const REQUEST: u64 = 1000 * MS;
const REOPEN: u64 = 100 * MS;

/// A reader.
pub struct Tail {
    node: Node,
    stream: &'static str,
    filters: Vec<String>,
    holes: Holes,
    pub cursor: Cursor,
    consumer: Option<u64>,
    /// The question for the length of the stream, before a consumer is made.
    measuring: Option<u64>,
    is_reopening: bool,
}

/// What came of something for a reader.
pub enum Read {
    /// It was not for this reader, or nothing came of it.
    Nothing,
    /// The next message.
    Next(Entry),
    /// The stream lost what was read from it, or what is between.
    Lost,
}

impl Tail {
    /// Follows a stream from the message after a sequence.
    pub fn open(
        net: &mut Net,
        node: Node,
        stream: &'static str,
        filters: Vec<String>,
        holes: Holes,
        after: u64,
    ) -> Self {
        let cursor = Cursor::after(after, holes);
        let mut tail = Self {
            node,
            stream,
            filters,
            holes,
            cursor,
            consumer: None,
            measuring: None,
            is_reopening: false,
        };
        tail.begin(net);
        tail
    }

    fn begin(&mut self, net: &mut Net) {
        if !net.is_connected(self.node) {
            self.is_reopening = true;
            return net.wake(self.node, REOPEN, Timer::Reopen);
        }
        self.is_reopening = false;
        if let Some(consumer) = self.consumer.take() {
            net.stop(self.node, consumer);
        }
        match self.holes {
            Holes::Forbidden => {
                self.measuring = Some(net.ask(self.node, Ask::State { stream: self.stream }, REQUEST));
            }
            Holes::Natural => self.consume(net),
        }
    }

    fn consume(&mut self, net: &mut Net) {
        self.cursor.opened();
        self.consumer = Some(net.consume(self.node, self.stream, self.cursor.last(), &self.filters));
    }

    /// A consumer is made anew after a moment.
    pub fn reopen(&mut self, net: &mut Net) {
        if self.is_reopening {
            return;
        }
        if self.cursor.last() > 0 {
            net.saw(Sight::TailReopened);
        }
        self.is_reopening = true;
        if let Some(consumer) = self.consumer.take() {
            net.stop(self.node, consumer);
        }
        net.wake(self.node, REOPEN, Timer::Reopen);
    }

    /// The moment has passed.
    pub fn reopened(&mut self, net: &mut Net) {
        if self.is_reopening {
            self.begin(net);
        }
    }

    /// An answer came; whether it was for this reader, and tells that the stream is cut.
    pub fn done(&mut self, net: &mut Net, call: u64, result: &Result<Reply, Failure>) -> Read {
        if self.measuring != Some(call) {
            return Read::Nothing;
        }
        self.measuring = None;
        match result {
            Ok(Reply::State(state)) if self.cursor.is_cut_by(state.last) => return Read::Lost,
            Ok(_) => self.consume(net),
            Err(_) => self.reopen(net),
        }
        Read::Nothing
    }

    /// A message came.
    pub fn entry(&mut self, net: &mut Net, consumer: u64, entry: Entry) -> Read {
        if self.consumer != Some(consumer) {
            return Read::Nothing;
        }
        match self.cursor.take(entry.sequence, entry.count) {
            Taken::Deliver => Read::Next(entry),
            Taken::Skip => Read::Nothing,
            Taken::Reopen => {
                self.reopen(net);
                Read::Nothing
            }
            Taken::Gap => Read::Lost,
        }
    }

    /// Nothing comes of a consumer any more.
    pub fn silent(&mut self, net: &mut Net, consumer: u64) {
        if self.consumer == Some(consumer) {
            self.reopen(net);
        }
    }

    /// The connection was cut.
    pub fn cut(&mut self, net: &mut Net) {
        self.measuring = None;
        self.reopen(net);
    }

    /// It is followed no more.
    pub fn close(self, net: &mut Net) {
        if let Some(consumer) = self.consumer {
            net.stop(self.node, consumer);
        }
    }

    /// Whether it was this reader's question.
    pub fn asked(&self, call: u64) -> bool {
        self.measuring == Some(call)
    }
}
