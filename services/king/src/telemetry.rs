//! Telemetry as this King knows it: the newest frame of each servant and the last ten minutes, in memory, bounded. Nothing
//! of it is truth: it is followed from `KING_METRICS`, is never stored, and a King that starts reads what is still there.

mod history;
mod book;
mod answers;
mod exposition;

pub use answers::MetricsItems;
pub use exposition::Exposed;

use crate::kingdom::Kingdom;
use book::Book;
use bus::Bus;
use bus::metrics::FrameTail;
use bus::provision::Limits;
use service::{Shutdown, clock};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};
use tokio::time::{MissedTickBehavior, interval};

/// How often servants that are silent for long are forgotten.
const SWEEP: Duration = Duration::from_secs(30);

/// What is known. Clones share it.
#[derive(Clone)]
pub struct Telemetry {
    kingdom: Kingdom,
    book: Arc<RwLock<Book>>,
}

impl Telemetry {
    /// Nothing is known yet.
    pub fn new(kingdom: Kingdom) -> Self {
        Self { kingdom, book: Arc::default() }
    }

    /// Follows the frames until the end is asked for.
    pub async fn follow(self, bus: Bus, limits: Limits, shutdown: Shutdown) {
        let (mut frames, mut sweep) = (FrameTail::new(&bus, &limits), interval(SWEEP));
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let (frame, stored_at) = tokio::select! {
                next = frames.next() => next,
                _ = sweep.tick() => {
                    self.write().sweep(Instant::now());
                    continue;
                }
                () = shutdown.requested() => return,
            };
            // By the clock of the server, not of the host: they are told apart less often.
            let (now, age) = (Instant::now(), Duration::from_millis(clock::now().since(stored_at)));
            let heard = now.checked_sub(age).unwrap_or(now);
            self.write().take(frame, heard);
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Book> {
        self.book.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Book> {
        self.book.write().unwrap_or_else(PoisonError::into_inner)
    }
}
