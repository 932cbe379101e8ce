//! The one place where time and random ids enter the kingdom. The core gets both as values.

use events::Timestamp;
use std::time::{SystemTime, UNIX_EPOCH};
use uuid::Uuid;

/// The wall clock, in milliseconds since the Unix epoch; 0 on a host whose clock stands before it.
#[allow(clippy::disallowed_methods, reason = "this is the edge that the rule points to")]
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// A fresh id, version 7: ids made later sort later.
#[allow(clippy::disallowed_methods, reason = "this is the edge that the rule points to")]
pub fn fresh_id() -> Uuid {
    Uuid::now_v7()
}
