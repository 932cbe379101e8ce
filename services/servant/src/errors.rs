//! Errors in the output of an instance: lines that tell of one, with the lines around them, at a bounded rate.
//!
//! Pure: lines and times come in, alarms come out. It looks at what the reader of the spool reads anyway, never in the
//! holder. Read [`patterns`] (which lines), [`watch`] (what belongs to one error), [`limit`] (which of them are told).

pub mod patterns;
mod watch;
mod limit;

pub use patterns::Patterns;
pub use watch::Watch;

use events::report::Erred;
use events::subject::Output;
use events::{InstanceId, Timestamp};

/// An error that was found in the output of an instance.
#[derive(Clone, Debug, PartialEq)]
pub struct Alarm {
    pub output: Output,
    /// The number of its line.
    pub number: u64,
    pub at: Timestamp,
    pub pattern: String,
    pub fingerprint: u64,
    pub headline: String,
    pub lines: Vec<String>,
    /// How many more of it there were that were not told.
    pub repeats: u64,
    /// How many of others were not told.
    pub others: u64,
}

impl Alarm {
    /// As it is reported.
    pub fn news(self, instance: InstanceId) -> Erred {
        Erred {
            instance,
            output: self.output,
            number: self.number,
            at: self.at,
            pattern: self.pattern,
            fingerprint: format!("{:016x}", self.fingerprint),
            headline: self.headline,
            lines: self.lines,
            repeats: self.repeats,
            others: self.others,
        }
    }
}

#[cfg(test)]
mod tests;
