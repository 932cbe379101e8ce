//! The output of instances as it travels: batches of numbered lines, and what is missing between them.

use crate::{ProcessName, Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Consecutive lines of one output stream of one instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogBatch {
    /// The number of the first line, from 1 for each stream of an instance; a reader drops what it has seen.
    pub first: u64,
    /// None where a gap is all there is to tell.
    pub lines: Vec<LogLine>,
    /// The process type of the instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessName>,
    /// How many bytes the stream had given before the first line, newlines included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
    /// What is missing right before the first line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap: Option<Gap>,
}

impl LogBatch {
    /// A batch of lines and nothing else.
    pub fn of(first: u64, lines: Vec<LogLine>) -> Self {
        Self { first, lines, process: None, position: None, gap: None }
    }

    /// The number of the line after the last.
    pub fn next(&self) -> u64 {
        self.first + self.lines.len() as u64
    }
}

/// One line without its newline; or a piece of one that is too long.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogLine {
    /// When its beginning was read from the pipe.
    pub at: Timestamp,
    /// The bytes as they came: not necessarily UTF-8.
    #[serde(with = "crate::wire::bytes")]
    pub text: Vec<u8>,
    /// It goes on with the line of the number before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub continued: bool,
    /// No newline came after it: its line goes on with the next number, or the process ended within it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub open: bool,
}

impl LogLine {
    /// A whole line.
    pub fn whole(at: Timestamp, text: impl Into<Vec<u8>>) -> Self {
        Self { at, text: text.into(), continued: false, open: false }
    }

    /// How many bytes it was in the output.
    pub fn bytes(&self) -> u64 {
        self.text.len() as u64 + u64::from(!self.open)
    }
}

/// Lines that are missing for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// How many.
    pub lines: u64,
    /// How many bytes they were, newlines included, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    pub reason: GapReason,
}

/// Why lines are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GapReason {
    /// More than the spool holds waited to be stored: the oldest went.
    SpoolFull,
    /// The spool could not be written, for instance because the disk was full.
    WriteFailed,
    /// They are no longer kept, or never came: told by a reader from the numbers.
    NotStored,
}

impl fmt::Display for GapReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::SpoolFull => "the spool was full",
            Self::WriteFailed => "the spool could not be written",
            Self::NotStored => "they are not stored any more",
        })
    }
}
