//! The past of the kingdom: what happened, why, what was true then, and whether the log still says what it said.
//!
//! Everything here rests on one small trait, [`history::History`]: commits in order, and the newest snapshot before a
//! place. A King's journal is one, a backup file ([`backup`]) is another; so the King and `kingctl` without a King answer
//! alike. Read on with [`moment`] (which point in the past), [`travel`] (the state then), [`index`] and [`find`] (which
//! events), [`chain`] (why), [`verify`] (is it still the same log), [`export`] (for other tools).
//!
//! Nothing here reads a clock, draws a random number, waits or speaks to a bus.

pub mod history;
pub mod moment;
pub mod travel;
pub mod about;
pub mod index;
pub mod find;
pub mod chain;
pub mod verify;
pub mod export;
pub mod backup;

pub use history::{History, HistoryError, Place, Snapshot, StoredCommit};
pub use index::Index;
