//! What goes in and what comes out.

use bytes::Bytes;

/// Headers in their order; names as they were sent.
pub type Headers = Vec<(String, String)>;

/// A message as it is published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    pub subject: String,
    pub headers: Headers,
    pub payload: Bytes,
}

impl Message {
    /// A message.
    pub fn new(subject: impl Into<String>, headers: &[(&str, &str)], payload: impl Into<Bytes>) -> Self {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { subject: subject.into(), headers, payload: payload.into() }
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// A header that holds a number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.header(name)?.parse().ok()
    }
}

/// An acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    pub sequence: u64,
    /// Nothing was stored: a message of this id is at this place.
    pub duplicate: bool,
}

/// A stored message as a consumer delivers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub sequence: u64,
    /// The consumer's own count, from 1.
    pub count: u64,
    /// How many more there are for this consumer.
    pub pending: u64,
    pub message: Message,
}

/// A refusal by JetStream's own code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub code: u64,
    /// The actual last sequence, where the refusal names it.
    pub last: Option<u64>,
}

impl Refusal {
    /// A refusal that names no sequence.
    pub fn of(code: u64) -> Self {
        Self { code, last: None }
    }
}

/// JetStream's codes, as far as the kingdom meets them (`server/errors.json` of nats-server).
pub mod code {
    pub const NO_MESSAGE: u64 = 10037;
    pub const MESSAGE_TOO_LARGE: u64 = 10054;
    pub const PURGE_DENIED: u64 = 10110;
    pub const DELETE_DENIED: u64 = 10057;
    pub const NAME_IN_USE: u64 = 10058;
    pub const STREAM_NOT_FOUND: u64 = 10059;
    pub const OTHER_STREAM: u64 = 10060;
    pub const WRONG_LAST_ID: u64 = 10070;
    pub const WRONG_LAST_SEQUENCE: u64 = 10071;
    pub const STORE_FAILED: u64 = 10077;
    pub const UNAVAILABLE: u64 = 10008;
}
