//! The King's journal at work: a start from the last snapshot and the commits after it, and the keeper that adds to both.
//!
//! The keeper gets each commit as it is confirmed, or from the log when it is behind, and folds a state of its own, so that
//! neither the writer nor a reader ever waits for a snapshot. It decides nothing: whether log and journal agree is the matter of [`crate::watch`].

pub mod snapshot;
mod restore;
mod keeper;
mod copies;
mod intake;

pub use copies::Copies;
pub use keeper::{Keeper, KeeperError};
pub use restore::{RestoreError, Restored, restore};

/// So many events after a snapshot the next is taken, when nothing more urgent is to be done.
pub const SNAPSHOT_EVENTS: u64 = 50_000;
/// So many events after a snapshot the next is taken in any case.
pub const SNAPSHOT_EVENTS_MOST: u64 = 100_000;
