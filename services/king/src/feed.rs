//! The feed: every confirmed event, for readers that follow.
//!
//! The King's writer pushes each confirmed commit; a reader takes them from the ring in memory and, when it has fallen
//! out of the ring or asks for the past, from the log. It never waits for a reader and holds nothing for one: a reader
//! that is slow reads the log again later. So what it holds is bounded, however many readers there are. It decides
//! nothing; the web's event stream in `http::stream` is its first user.

mod ring;
mod history;
mod placements;
mod follow;

pub use follow::{Batch, FeedError, Follow};
pub use history::{History, ReadError};
pub use placements::Placement;

use events::{Commit, Event, EventNumber, InstanceId};
use placements::Placements;
use ring::Ring;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::watch;

/// How many events the ring holds when nothing else is said.
pub const RING_EVENTS: usize = 4_096;
/// How many bytes of commits the ring holds at most, as they stand in the log.
const RING_BYTES: usize = 32 * 1024 * 1024;

/// The newest confirmed commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Newest {
    /// Its sequence in the log; 0 for an empty log.
    pub sequence: u64,
    /// The number of its last event; 0 for an empty log.
    pub event: EventNumber,
}

/// What confirmed events can be followed. Cheap to clone; all clones are the same feed.
#[derive(Clone)]
pub struct Feed {
    shared: Arc<Shared>,
}

struct Shared {
    ring: Mutex<Ring>,
    newest: watch::Sender<Option<Newest>>,
    placements: Placements,
    history: History,
}

impl Feed {
    /// A feed with an empty ring over a log. Nothing can be followed before [`Feed::begin`] or the first push.
    pub fn new(history: History, ring_events: usize) -> Self {
        Self {
            shared: Arc::new(Shared {
                ring: Mutex::new(Ring::new(ring_events, RING_BYTES)),
                newest: watch::Sender::new(None),
                placements: Placements::default(),
                history,
            }),
        }
    }

    /// The log has been folded up to this commit: what came before is read from the log when asked for.
    pub fn begin(&self, sequence: u64, event: EventNumber) {
        self.advance(Newest { sequence, event });
    }

    /// Remembers where instances are placed: those of a state that was read rather than followed.
    pub fn seed(&self, places: impl Iterator<Item = (InstanceId, Placement)>) {
        self.shared.placements.seed(places);
    }

    /// A commit is confirmed: its sequence, its size in the log in bytes, and itself. To be called in the log's order;
    /// a repeat is ignored, and a gap empties the ring, so that readers take what is missing from the log.
    pub fn push(&self, sequence: u64, bytes: usize, commit: Arc<Commit>) {
        commit.events.iter().for_each(|event| self.shared.placements.note(event));
        let before = self.newest().map_or(0, |newest| newest.event);
        let last = commit.events.last().map_or(before, |event| event.id);
        if last > before {
            self.ring().push(sequence, bytes, commit);
        }
        self.advance(Newest { sequence, event: last });
    }

    /// The newest confirmed commit; none while the log has not been read yet.
    pub fn newest(&self) -> Option<Newest> {
        *self.shared.newest.borrow()
    }

    /// Waits until this event is confirmed; false when it is not within the time.
    pub async fn reached(&self, event: EventNumber, within: Duration) -> bool {
        let mut newest = self.shared.newest.subscribe();
        let there = newest.wait_for(|newest| newest.is_some_and(|newest| newest.event >= event));
        tokio::time::timeout(within, there).await.is_ok_and(|there| there.is_ok())
    }

    /// Follows every event after this one, in order, without a gap. One in the future is waited for.
    pub fn follow(&self, after: EventNumber) -> Follow {
        Follow::new(self.clone(), after)
    }

    /// Where an instance was placed, for good: an instance never moves. `before` is the sequence of a commit in which it
    /// is spoken of; its placing stands there or earlier.
    ///
    /// What was placed lately is remembered; anything else is looked for in the log, backwards from `before`.
    ///
    /// # Errors
    /// When a commit of the log cannot be read as one.
    pub async fn placement(&self, instance: InstanceId, before: u64) -> Result<Option<Placement>, FeedError> {
        self.shared.placements.find(instance, before, &self.shared.history).await
    }

    /// Where an instance was placed, if it is remembered.
    pub fn remembered(&self, instance: InstanceId) -> Option<Placement> {
        self.shared.placements.get(instance)
    }

    /// Remembers the placing that an event from the log tells of.
    pub(crate) fn note(&self, event: &Event) {
        self.shared.placements.note(event);
    }

    fn advance(&self, to: Newest) {
        self.shared.newest.send_if_modified(|newest| {
            let ahead = newest.is_none_or(|newest| newest.sequence < to.sequence);
            if ahead {
                *newest = Some(to);
            }
            ahead
        });
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.shared.ring.lock().expect("nothing panics while it holds the ring")
    }
}
