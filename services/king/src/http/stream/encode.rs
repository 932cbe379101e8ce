//! Events as the lines of server-sent events.

use crate::http::limits::RETRY_MS;
use bytes::Bytes;
use events::{Event, EventNumber};
use std::io::Write;

/// A comment: clients ignore it, connections live by it.
pub(super) const HEARTBEAT: &[u8] = b":\n\n";

/// Lines to be sent.
#[derive(Default)]
pub(super) struct Lines(Vec<u8>);

impl Lines {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How long the client shall wait before it comes again.
    pub fn retry(&mut self) {
        self.write(format_args!("retry: {RETRY_MS}\n"));
    }

    /// A number alone: the client remembers it and shows nothing.
    pub fn place(&mut self, event: EventNumber) {
        self.write(format_args!("id: {event}\n\n"));
    }

    /// An event with its whole envelope on one line: JSON writes line ends inside texts as escapes.
    pub fn event(&mut self, event: &Event) {
        self.write(format_args!("id: {}\nevent: {}\ndata: ", event.id, event.fact.kind()));
        serde_json::to_writer(&mut self.0, event).expect("an event has text keys and encodes as JSON");
        self.0.extend_from_slice(b"\n\n");
    }

    /// The last message of a stream that cannot go on.
    pub fn broken(&mut self, problem: &[u8]) {
        self.0.extend_from_slice(b"event: broken\ndata: ");
        self.0.extend_from_slice(problem);
        self.0.extend_from_slice(b"\n\n");
    }

    /// What was written, leaving nothing.
    pub fn take(&mut self) -> Bytes {
        std::mem::take(&mut self.0).into()
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        self.0.write_fmt(text).expect("writing to memory cannot fail");
    }
}
