//! Waiting between attempts: exponential, bounded, with jitter.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The shortest wait.
const LEAST: Duration = Duration::from_millis(20);
/// The longest wait.
const MOST: Duration = Duration::from_millis(500);

/// How long to wait before attempt number `attempt`, counted from 0.
pub(crate) fn delay(attempt: usize) -> Duration {
    let doublings = u32::try_from(attempt.min(8)).unwrap_or(8);
    jittered((LEAST * 2u32.pow(doublings)).min(MOST))
}

/// A wait, lengthened by up to a half, so that many that wait for the same thing do not come at once.
pub(crate) fn jittered(wait: Duration) -> Duration {
    wait + wait * random(512) / 1024
}

/// A number below `end`, by chance, for what shall not be the same for many at once.
pub(crate) fn random(end: u32) -> u32 {
    u32::try_from(RandomState::new().hash_one(0) % u64::from(end)).expect("it is below a u32")
}

/// A count of failed attempts with the wait that follows each.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    attempt: usize,
}

impl Backoff {
    /// Waits before the next attempt.
    pub(crate) async fn wait(&mut self) {
        tokio::time::sleep(delay(self.attempt)).await;
        self.attempt += 1;
    }
}
