//! What travels between a node and the server, and what a node is told.

use crate::jetstream::{Ack, Entry, Message, Refusal, State};
use bytes::Bytes;

/// The number of a node.
pub type Node = usize;

/// A question that waits for its answer.
#[derive(Clone, Debug)]
pub enum Ask {
    Publish(Message),
    Read {
        stream: &'static str,
        sequence: u64,
    },
    ReadLast {
        stream: &'static str,
        subject: String,
    },
    State {
        stream: &'static str,
    },
    Purge {
        stream: &'static str,
        before: u64,
    },
    /// To whoever listens to the subject.
    Request(Message),
}

/// From a node to the server.
#[derive(Clone, Debug)]
pub enum Up {
    Call { call: u64, ask: Ask },
    Tell(Message),
    Answer { to: Asker, payload: Bytes },
    Subscribe { pattern: String },
    Unsubscribe { pattern: String },
    Consume(Consume),
    Stop { consumer: u64 },
}

/// Make a consumer without acknowledgements.
#[derive(Clone, Debug)]
pub struct Consume {
    pub consumer: u64,
    pub stream: &'static str,
    pub after: u64,
    pub filters: Vec<String>,
}

/// Who waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asker {
    pub node: Node,
    pub call: u64,
}

/// From the server to a node.
#[derive(Clone, Debug)]
pub enum Down {
    Reply { call: u64, result: Result<Reply, Failure> },
    Message { message: Message, asker: Option<Asker> },
    Entry { consumer: u64, entry: Entry },
}

/// The answer to a question.
#[derive(Clone, Debug)]
pub enum Reply {
    Ack(Ack),
    Found(Option<(u64, Message)>),
    State(State),
    Purged,
    Answer(Bytes),
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    TimedOut,
    NoResponders,
    /// The connection was cut; it may have been sent.
    Cut,
    /// There is no connection, and nothing was sent.
    NotSent,
    Refused(Refusal),
}

impl Failure {
    /// Whether it may be done all the same.
    pub fn is_ambiguous(&self) -> bool {
        matches!(self, Self::TimedOut | Self::Cut)
    }
}

/// What a node is told.
#[derive(Clone, Debug)]
pub enum Came {
    /// Its process was started.
    Booted,
    /// What came of a question.
    Done {
        call: u64,
        result: Result<Reply, Failure>,
    },
    Heard {
        message: Message,
        asker: Option<Asker>,
    },
    Entry {
        consumer: u64,
        entry: Entry,
    },
    /// The connection was cut.
    Cut,
    /// The connection stands again; the subscriptions are made anew.
    Connected,
    /// Nothing comes of a consumer any more, not even a heartbeat.
    Silent {
        consumer: u64,
    },
    Timer(Timer),
}

/// What a node waits for by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    Tick,
    Beat,
    Lease,
    /// Something that failed is tried again; the number says what.
    Again(u64),
    /// A tail is made anew.
    Reopen,
    /// A watched key is read plainly.
    Look,
    /// Something that takes its time has come to its end; the number says what.
    Ready(u64),
}
