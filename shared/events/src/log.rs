//! The output of instances as it travels: batches of numbered lines.

use crate::Timestamp;
use serde::{Deserialize, Serialize};

/// Consecutive lines of one output stream of one instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogBatch {
    /// The number of the first line, from 1 for each stream of an instance; a reader drops what it has seen.
    pub first: u64,
    pub lines: Vec<LogLine>,
}

/// One line without its newline; or a piece of one that is too long.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogLine {
    /// When it was read from the pipe.
    pub at: Timestamp,
    /// The bytes as they came: not necessarily UTF-8.
    #[serde(with = "crate::wire::bytes")]
    pub text: Vec<u8>,
}
