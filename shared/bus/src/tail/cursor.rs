//! Where a reader of a stream is, as a machine without a socket: which message is the next one, which was seen before,
//! and when what comes makes no sense any more.

/// What a jump in the stream's sequences means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holes {
    /// Lost messages: the stream never forgets and is read whole.
    Forbidden,
    /// Nothing: the stream forgets, or only some subjects are read.
    Natural,
}

/// The machine.
#[derive(Clone, Copy, Debug)]
pub struct Cursor {
    last: u64,
    /// The consumer's own count of what it delivered.
    delivered: u64,
    holes: Holes,
}

/// What to do with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is the next one.
    Deliver,
    /// It was delivered before.
    Skip,
    /// The consumer missed a message: it has to be made anew.
    Reopen,
    /// The stream lost what was between.
    Gap,
}

impl Cursor {
    /// A reader that has seen everything up to a sequence.
    pub fn after(last: u64, holes: Holes) -> Self {
        Self { last, delivered: 0, holes }
    }

    /// The sequence of the last message that was delivered.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// A new consumer begins behind [`Cursor::last`], with a count of its own.
    pub fn opened(&mut self) {
        self.delivered = 0;
    }

    /// A message came, with its place in the stream and in the consumer's count.
    pub fn take(&mut self, sequence: u64, count: u64) -> Taken {
        if count != self.delivered + 1 {
            return Taken::Reopen;
        }
        self.delivered = count;
        if sequence <= self.last {
            return Taken::Skip;
        }
        if self.holes == Holes::Forbidden && sequence != self.last + 1 {
            return Taken::Gap;
        }
        self.last = sequence;
        Taken::Deliver
    }

    /// Whether a stream that ends here lost what was read from it.
    pub fn is_cut_by(&self, end: u64) -> bool {
        self.holes == Holes::Forbidden && end < self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_once_and_in_order() {
        let mut cursor = Cursor::after(4, Holes::Forbidden);
        assert_eq!(
            [cursor.take(4, 1), cursor.take(5, 2), cursor.take(7, 4)],
            [Taken::Skip, Taken::Deliver, Taken::Reopen]
        );
        cursor.opened();
        assert_eq!((cursor.take(7, 1), cursor.last()), (Taken::Gap, 5));
    }

    #[test]
    fn a_filtered_stream_has_holes() {
        let mut cursor = Cursor::after(0, Holes::Natural);
        assert_eq!((cursor.take(7, 1), cursor.last()), (Taken::Deliver, 7));
        assert!(!cursor.is_cut_by(3) && Cursor::after(7, Holes::Forbidden).is_cut_by(6));
    }
}
