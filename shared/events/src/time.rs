//! Time as the kingdom stores it: milliseconds since 1970-01-01T00:00:00Z, given by the edge.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A moment, in milliseconds since the Unix epoch. Order in the log never rests on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// How many milliseconds later than `earlier` this is; 0 if it is not later.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with milliseconds: `2026-11-20T10:47:00.123Z`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = i64::try_from(self.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
        match moment {
            Some(moment) => write!(formatter, "{moment:.3}"),
            None => write!(formatter, "{} ms", self.0),
        }
    }
}
