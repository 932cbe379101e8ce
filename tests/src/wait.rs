//! Waiting for a condition that can be seen, with an end. The only place of the tests that sleeps.

use std::fmt::Display;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(15);

/// Long enough for anything that works, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(45);

/// Looks until there is a value, and gives it.
///
/// # Panics
/// When there is none after `patience`, with the last reason.
pub async fn within<T, E: Display>(
    patience: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> Result<T, E>,
) -> T {
    let deadline = Instant::now() + patience;
    loop {
        match look().await {
            Ok(value) => return value,
            Err(reason) if Instant::now() >= deadline => {
                panic!("waited {patience:?} until {what}; the last look said: {reason}")
            }
            Err(_) => pause().await,
        }
    }
}

/// [`within`] the usual patience.
///
/// # Panics
/// As [`within`].
pub async fn until<T, E: Display>(what: &str, look: impl AsyncFnMut() -> Result<T, E>) -> T {
    within(PATIENCE, what, look).await
}

/// The time between two looks, for loops that cannot be a closure.
pub async fn pause() {
    sleep(LOOK_EVERY).await;
}

/// A condition as a look: `Ok` when it holds, else the reason.
///
/// # Errors
/// When it does not hold.
pub fn holds(condition: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if condition { Ok(()) } else { Err(otherwise()) }
}
