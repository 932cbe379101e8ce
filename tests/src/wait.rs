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
    look: impl AsyncFnMut() -> Result<T, E>,
) -> T {
    match attempt(LOOK_EVERY, patience, look).await {
        Ok(value) => value,
        Err(reason) => panic!("waited {patience:?} until {what}; the last look said: {reason}"),
    }
}

/// Looks until there is a value, with so much time between two looks: for looks that change what they look at. Gives the
/// last reason when there is none after `patience`.
///
/// # Errors
/// That reason.
pub async fn attempt<T, E>(
    every: Duration,
    patience: Duration,
    mut look: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T, E> {
    let deadline = Instant::now() + patience;
    loop {
        match look().await {
            Err(_) if Instant::now() < deadline => pause_of(every).await,
            looked => return looked,
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
    pause_of(LOOK_EVERY).await;
}

/// [`pause`], for loops whose looks have a pace of their own.
pub async fn pause_of(every: Duration) {
    sleep(every).await;
}

/// A condition as a look: `Ok` when it holds, else the reason.
///
/// # Errors
/// When it does not hold.
pub fn holds(condition: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if condition { Ok(()) } else { Err(otherwise()) }
}
