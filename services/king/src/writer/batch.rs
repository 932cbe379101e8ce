//! What is collected for the next commit: the events, once as they are and once as they will stand in the log.
//!
//! Each event is encoded once, behind room for the head of the commit, which is not known before the commit goes out; so
//! nothing is copied again. A batch has room from the start for as much as the one before it took.

use bytes::Bytes;
use events::{Commit, Event, EventNumber, wire};
use realm::Record;

/// Room for the head of a commit.
const HEAD_BYTES: usize = 256;

/// Events that will be one commit, and who waits for it.
pub(super) struct Batch<T> {
    pub first: EventNumber,
    /// The events, encoded behind room for the head.
    pub record: Record,
    pub waiting: Vec<T>,
}

impl<T> Batch<T> {
    /// A batch with little room.
    pub fn new(first: EventNumber) -> Self {
        Self::with_room(first, 0, 0)
    }

    /// The batch after this one.
    pub fn next(&self, first: EventNumber) -> Self {
        Self::with_room(first, self.len(), self.bytes())
    }

    fn with_room(first: EventNumber, events: usize, bytes: usize) -> Self {
        // An eighth more, for no two batches are of one size.
        let mut encoded = Vec::with_capacity(HEAD_BYTES + bytes + bytes / 8);
        encoded.resize(HEAD_BYTES, 0);
        let record = Record { events: Vec::with_capacity(events + events / 8), encoded };
        Self { first, record, waiting: Vec::new() }
    }

    /// How many events it has.
    pub fn len(&self) -> usize {
        self.record.events.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.record.events.is_empty()
    }

    /// How many bytes its events take.
    pub fn bytes(&self) -> usize {
        self.record.encoded.len() - HEAD_BYTES
    }

    /// The bytes of the commit, its events, and who waits for it. `head` is the commit without events.
    pub fn into_commit(self, head: &Commit) -> (Bytes, Vec<Event>, Vec<T>) {
        let Record { mut events, mut encoded } = self.record;
        let head = encode_head(head, events.len());
        let begin = HEAD_BYTES.checked_sub(head.len()).expect("a head holds five numbers and a hash");
        encoded[begin..HEAD_BYTES].copy_from_slice(&head);
        // What is kept for long must not hold much more than it needs.
        if encoded.len() < encoded.capacity() / 2 {
            encoded.shrink_to_fit();
        }
        if events.len() < events.capacity() / 2 {
            events.shrink_to_fit();
        }
        (Bytes::from(encoded).slice(begin..), events, self.waiting)
    }
}

/// The bytes of a commit up to its first event: its last field is an empty list, which becomes the begin of a list of so
/// many.
fn encode_head(head: &Commit, events: usize) -> Vec<u8> {
    const EMPTY_ARRAY: u8 = 0x90;
    const ARRAY_32: u8 = 0xdd;
    let mut bytes = wire::encode(head);
    assert_eq!(bytes.pop(), Some(EMPTY_ARRAY), "the events are the last field of a commit");
    let count = u32::try_from(events).expect("a commit holds a bounded number of events");
    bytes.push(ARRAY_32);
    bytes.extend_from_slice(&count.to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::Digest;

    #[test]
    fn the_largest_head_has_room() {
        let previous = Digest::of(b"any");
        let head = Commit { epoch: u64::MAX, first: u64::MAX, previous, inbox: u64::MAX, events: Vec::new() };
        assert!(encode_head(&head, u32::MAX as usize).len() <= HEAD_BYTES);
    }

    #[test]
    fn a_small_batch_after_a_large_one_gives_its_room_back() {
        let large = Batch::<()>::with_room(1, 1024, 200_000);
        let head = Commit { epoch: 1, first: 1, previous: Digest::ZERO, inbox: 0, events: Vec::new() };
        let (payload, events, _) = large.into_commit(&head);
        assert!(events.capacity() < 1024);
        assert_eq!(wire::decode::<Commit>(&payload).unwrap(), head);
    }
}
