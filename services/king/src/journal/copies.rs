//! The copies: what was confirmed lately, on its way into the journal. Bounded: what does not fit is read from the log later.

use crate::kingdom::Confirmed;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Most bytes of commits that wait, as they stand in the log.
const MOST_BYTES: usize = 16 * 1024 * 1024;
/// Most commits that wait.
const MOST: usize = 4096;

/// The commits that wait to be kept.
#[derive(Default)]
pub struct Copies {
    waiting: Mutex<Waiting>,
    grew: Notify,
}

#[derive(Default)]
struct Waiting {
    commits: VecDeque<Confirmed>,
    bytes: usize,
    /// The sequence of the newest that was confirmed, whether it is here or not.
    newest: u64,
}

/// What there is after a place of the log.
pub(super) enum After {
    Next(Confirmed),
    /// It was confirmed and is not here: the log has it.
    Elsewhere,
    Nothing,
}

impl Copies {
    /// Everything up to here stands in the log.
    pub fn begin(&self, sequence: u64) {
        self.waiting().newest = sequence;
        self.grew.notify_one();
    }

    /// Puts a copy there, if there is room.
    pub fn put(&self, confirmed: Confirmed) {
        let mut waiting = self.waiting();
        waiting.newest = confirmed.sequence;
        let bytes = waiting.bytes + confirmed.payload.len();
        if bytes <= MOST_BYTES && waiting.commits.len() < MOST {
            waiting.bytes = bytes;
            waiting.commits.push_back(confirmed);
        }
        drop(waiting);
        self.grew.notify_one();
    }

    /// Takes the commit after this one. What is older is let go of.
    pub(super) fn take(&self, after: u64) -> After {
        let mut waiting = self.waiting();
        while let Some(first) = waiting.commits.front().map(|first| first.sequence) {
            if first > after + 1 {
                return After::Elsewhere;
            }
            let confirmed = waiting.commits.pop_front().expect("just seen to be there");
            waiting.bytes -= confirmed.payload.len();
            if first == after + 1 {
                return After::Next(confirmed);
            }
        }
        if waiting.newest > after { After::Elsewhere } else { After::Nothing }
    }

    /// Waits until more was confirmed since this was called last.
    pub(super) async fn grown(&self) {
        self.grew.notified().await;
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use events::{Commit, Digest};

    fn confirmed(sequence: u64, bytes: usize) -> Confirmed {
        let commit =
            Commit { epoch: 1, first: sequence, previous: Digest::ZERO, inbox: 0, events: Vec::new() };
        Confirmed { sequence, commit: commit.into(), payload: Bytes::from(vec![0; bytes]) }
    }

    fn next(copies: &Copies, after: u64) -> Option<u64> {
        match copies.take(after) {
            After::Next(confirmed) => Some(confirmed.sequence),
            After::Elsewhere | After::Nothing => None,
        }
    }

    #[test]
    fn they_are_taken_in_order_and_old_ones_passed_over() {
        let copies = Copies::default();
        (5..=8).for_each(|sequence| copies.put(confirmed(sequence, 1)));
        assert!(matches!(copies.take(3), After::Elsewhere), "4 was confirmed before");
        assert_eq!(next(&copies, 4), Some(5));
        assert_eq!(next(&copies, 6), Some(7));
        assert_eq!(next(&copies, 7), Some(8));
        assert!(matches!(copies.take(8), After::Nothing));
    }

    #[test]
    fn what_does_not_fit_is_elsewhere() {
        let copies = Copies::default();
        copies.put(confirmed(1, MOST_BYTES));
        copies.put(confirmed(2, 1));
        assert_eq!(next(&copies, 0), Some(1));
        assert!(matches!(copies.take(1), After::Elsewhere));
        copies.put(confirmed(3, 1));
        assert!(matches!(copies.take(1), After::Elsewhere));
        assert_eq!(next(&copies, 2), Some(3), "once the log gave the second");
    }

    #[test]
    fn what_stood_in_the_log_before_is_elsewhere() {
        let copies = Copies::default();
        copies.begin(9);
        assert!(matches!(copies.take(7), After::Elsewhere));
        assert!(matches!(copies.take(9), After::Nothing));
    }
}
