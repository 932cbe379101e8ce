//! Frames on their way out. While the bus is away the newest are kept and older ones are dropped and counted.

use bus::{Bus, metrics};
use events::limits::MESSAGE_BYTES;
use events::metric::Frame;
use events::{DomainName, wire};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// Most frames that wait.
pub const KEPT: usize = 60;
/// How long to wait when the bus took none.
const PAUSE: Duration = Duration::from_millis(500);

/// The frames that wait. Clones share them.
#[derive(Clone, Default)]
pub struct Outgoing {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    waiting: Mutex<Waiting>,
    wake: Notify,
}

#[derive(Default)]
struct Waiting {
    frames: VecDeque<Frame>,
    dropped: u64,
}

impl Outgoing {
    /// Takes a frame; drops the oldest when too many wait.
    pub fn push(&self, frame: Frame) {
        let mut waiting = self.lock();
        waiting.frames.push_back(frame);
        waiting.trim();
        drop(waiting);
        self.inner.wake.notify_one();
    }

    /// Publishes frames for ever.
    pub async fn send(self, bus: Bus, domain: DomainName) {
        loop {
            let Some(frame) = self.pop() else {
                self.inner.wake.notified().await;
                continue;
            };
            let payload = wire::encode(&frame);
            if payload.len() > MESSAGE_BYTES {
                tracing::warn!(
                    bytes = payload.len(),
                    most = MESSAGE_BYTES,
                    "a frame of telemetry is too large"
                );
                self.lock().dropped += 1;
                continue;
            }
            if let Err(error) = metrics::publish(&bus, &domain, payload).await {
                tracing::debug!(%error, "telemetry waits");
                self.put_back(frame);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    fn pop(&self) -> Option<Frame> {
        let mut waiting = self.lock();
        let mut frame = waiting.frames.pop_front()?;
        frame.dropped = waiting.dropped;
        Some(frame)
    }

    fn put_back(&self, frame: Frame) {
        let mut waiting = self.lock();
        waiting.frames.push_front(frame);
        waiting.trim();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.inner.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn trim(&mut self) {
        while self.frames.len() > KEPT {
            self.frames.pop_front();
            self.dropped += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::sampler::tests::frame;

    #[test]
    fn the_newest_are_kept_and_the_rest_is_counted() {
        let outgoing = Outgoing::default();
        (1..=100).for_each(|number| outgoing.push(frame(number)));
        let first = outgoing.pop().unwrap();
        assert_eq!((first.number, first.dropped), (41, 40));
        outgoing.push(frame(101));
        outgoing.put_back(first);
        let again = outgoing.pop().unwrap();
        assert_eq!((again.number, again.dropped), (42, 41), "the oldest gave way");
        assert_eq!(std::iter::from_fn(|| outgoing.pop()).count(), KEPT - 1);
    }
}
