//! The numbers of an outbox, as a machine without a disk: which number is the next, which are durable, and what the side
//! file must say before one may be given.

pub use crate::side_file::Side;

/// Most entries that wait.
pub const OUTBOX_COUNT: usize = 100_000;
/// Most bytes that wait.
pub const OUTBOX_BYTES: usize = 64 * 1024 * 1024;
/// How many numbers the side file reserves at a time.
const BLOCK: u64 = 1024;

/// How much an outbox may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub count: usize,
    pub bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { count: OUTBOX_COUNT, bytes: OUTBOX_BYTES }
    }
}

/// What a store holds when it is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    /// The highest number; 0 when there is none.
    pub last: u64,
    pub count: usize,
    pub bytes: usize,
}

/// Whether a store is the one that was left, or begins empty in the place of one that was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    Yes,
    No,
}

/// How a sync of the store came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Synced {
    Yes,
    No,
}

/// The machine.
#[derive(Clone, Copy, Debug)]
pub struct Ledger {
    bounds: Bounds,
    side: Side,
    next: u64,
    /// The last number that is durable.
    durable: u64,
    count: usize,
    bytes: usize,
    /// Whether a sync has failed: then nobody knows what of the store is on the disk, and the next sync does not say.
    is_stopped: bool,
}

/// How an entry can be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// Store it under this number, then call [`Ledger::taken`].
    Take(u64),
    /// Write the side file first, then call [`Ledger::reserved`] and offer it again.
    Reserve(Side),
    /// A bound is reached.
    Full,
    /// A sync has failed.
    Stopped,
}

impl Ledger {
    /// The ledger of a store that was just opened and flushed, with what the side file said. The next block of numbers has
    /// to be reserved before anything else: [`Ledger::reservation`].
    pub fn open(side: Option<Side>, kept: Kept, holding: Holding, now_ms: u64, bounds: Bounds) -> Self {
        let side = match (side, kept) {
            (Some(side), Kept::Yes) => side,
            // The store or the side file was lost. The clock helps where both were, and no memory is left.
            (old, Kept::Yes | Kept::No) => {
                Side { epoch: now_ms.max(old.map_or(0, |side| side.epoch) + 1), acknowledged: 0, reserved: 0 }
            }
        };
        let Holding { last, count, bytes } = holding;
        Self {
            bounds,
            side,
            next: last.max(side.reserved) + 1,
            durable: last,
            count,
            bytes,
            is_stopped: false,
        }
    }

    /// The life of the outbox: higher after its store was lost.
    pub fn epoch(&self) -> u64 {
        self.side.epoch
    }

    /// The last number that was given.
    pub fn last(&self) -> u64 {
        self.next - 1
    }

    /// How many entries wait, durable or not.
    pub fn count(&self) -> usize {
        self.count
    }

    /// How many bytes wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether an entry is durable, so that it may be shown.
    pub fn shows(&self, number: u64) -> bool {
        number <= self.durable
    }

    /// The last number that is durable.
    pub fn durable(&self) -> u64 {
        self.durable
    }

    /// What it takes to take an entry of this size.
    pub fn offer(&self, bytes: usize) -> Offer {
        if self.is_stopped {
            Offer::Stopped
        } else if self.count >= self.bounds.count || self.bytes + bytes > self.bounds.bytes {
            Offer::Full
        } else if self.next > self.side.reserved {
            Offer::Reserve(self.reservation())
        } else {
            Offer::Take(self.next)
        }
    }

    /// What the side file must say so that the next block of numbers can be given.
    pub fn reservation(&self) -> Side {
        Side { reserved: self.next + BLOCK, ..self.side }
    }

    /// The side file says this now, durably.
    pub fn reserved(&mut self, side: Side) {
        self.side = side;
    }

    /// An entry of this size is stored under the number that was offered.
    pub fn taken(&mut self, bytes: usize) {
        self.next += 1;
        self.count += 1;
        self.bytes += bytes;
    }

    /// Whether a sync has failed: nothing more is taken, and nothing more becomes durable, until the store is opened anew.
    pub fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    /// A sync that began when this was the last number has ended: everything up to it is durable, or nothing more ever is. Gives
    /// what the side file shall say when few numbers are left.
    pub fn synced(&mut self, last: u64, synced: Synced) -> Option<Side> {
        match synced {
            Synced::Yes => {}
            Synced::No => self.is_stopped = true,
        }
        if self.is_stopped {
            return None;
        }
        self.durable = self.durable.max(last);
        (self.side.reserved < self.next + BLOCK / 2).then(|| self.reservation())
    }

    /// Everything up to this number was acknowledged.
    pub fn acknowledged(&mut self, number: u64) {
        self.side.acknowledged = self.side.acknowledged.max(number.min(self.next - 1));
    }

    /// So many entries of so many bytes were deleted.
    pub fn deleted(&mut self, count: usize, bytes: usize) {
        self.count -= count;
        self.bytes -= bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(side: Option<Side>, kept: Kept, last: u64) -> Ledger {
        let holding = Holding { last, ..Holding::default() };
        let mut ledger = Ledger::open(side, kept, holding, 1_000, Bounds::default());
        ledger.reserved(ledger.reservation());
        ledger
    }

    #[test]
    fn no_number_is_given_before_it_is_reserved() {
        let ledger = Ledger::open(None, Kept::No, Holding::default(), 5, Bounds::default());
        assert_eq!(ledger.offer(1), Offer::Reserve(Side { epoch: 5, acknowledged: 0, reserved: 1 + BLOCK }));
    }

    #[test]
    fn after_a_crash_the_numbers_go_on_behind_all_that_may_have_been_given() {
        let before = opened(None, Kept::No, 0);
        let after = opened(Some(before.reservation()), Kept::Yes, 3);
        assert_eq!(after.offer(1), Offer::Take(2 + BLOCK));
        assert_eq!(after.epoch(), before.epoch());
    }

    #[test]
    fn a_lost_store_is_another_life() {
        let before = opened(None, Kept::No, 0);
        assert_eq!(opened(Some(before.reservation()), Kept::No, 0).epoch(), before.epoch() + 1);
    }

    #[test]
    fn after_a_sync_that_failed_nothing_becomes_durable_and_nothing_is_taken() {
        let mut ledger = opened(None, Kept::No, 0);
        ledger.taken(1);
        assert_eq!(ledger.synced(1, Synced::Yes), None);
        ledger.taken(1);
        assert_eq!(ledger.synced(2, Synced::No), None);
        assert_eq!(
            ledger.synced(2, Synced::Yes),
            None,
            "a later sync says nothing of what the first has lost"
        );
        assert!(ledger.is_stopped() && ledger.shows(1) && !ledger.shows(2));
        assert_eq!(ledger.offer(1), Offer::Stopped);
    }

    #[test]
    fn what_is_not_flushed_does_not_show() {
        let mut ledger = opened(None, Kept::No, 0);
        ledger.taken(1);
        assert!(!ledger.shows(1));
        assert_eq!(ledger.synced(1, Synced::Yes), None);
        assert!(ledger.shows(1));
    }
}
