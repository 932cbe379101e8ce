//! Pauses between attempts: doubling, with jitter that is made of the mail's id, so that no random source is needed.

use uuid::Uuid;

/// The first and the longest pause, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    first: u64,
    longest: u64,
}

/// Between attempts of a command that the King did not answer.
pub(super) const COMMAND: Pace = Pace { first: 100, longest: 5000 };
/// Between attempts of a mail that a server did not take.
pub(super) const MAIL: Pace = Pace { first: 1000, longest: 60_000 };

/// The pause after so many failed attempts: up to a quarter longer than the doubling says.
pub(super) fn after(attempts: u32, mail: Uuid, pace: Pace) -> u64 {
    let doubled = pace.first.saturating_mul(1 << attempts.saturating_sub(1).min(20)).min(pace.longest);
    let byte = mail.as_bytes()[attempts as usize % 16];
    doubled + doubled / 4 * u64::from(byte) / 255
}
