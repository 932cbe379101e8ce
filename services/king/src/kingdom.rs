//! The kingdom as readers see it: the confirmed state, and what follows from each confirmed commit.
//!
//! The writer moves it on, or in a backup whoever follows the log, and only with what is stored. Queries, views, the event stream and the
//! Git remote read it.

use crate::feed::{Feed, Placement};
use crate::http::Metrics;
use crate::journal::Copies;
use bytes::Bytes;
use events::plan::PlanItem;
use events::view::Stamp;
use events::{Command, Commit, Event, EventNumber};
use realm::project::{self, ViewKey};
use realm::{Context, State, plan};
use service::Shutdown;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// A commit with so many events was collected while the one before was in flight: the writer is busy.
const BUSY_EVENTS: usize = 32;
/// For how long one such commit counts, in milliseconds.
const BUSY_MS: u64 = 50;
/// How often who waits for the writer looks whether it is still busy.
const BUSY_LOOK: Duration = Duration::from_millis(100);

/// The confirmed state. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct Kingdom {
    shared: Arc<Shared>,
}

/// A commit that is stored.
#[derive(Clone, Debug)]
pub struct Confirmed {
    pub sequence: u64,
    pub commit: Arc<Commit>,
    /// Its bytes, as the log has them.
    pub payload: Bytes,
}

struct Shared {
    state: RwLock<State>,
    feed: Feed,
    copies: Copies,
    /// Whether this King writes the views.
    views: AtomicBool,
    stale: Mutex<BTreeSet<ViewKey>>,
    stale_grew: Notify,
    /// When the writer was last seen to be busy, in milliseconds since `started`; 0 for never.
    busy_ms: AtomicU64,
    started: Instant,
    metrics: Arc<Metrics>,
}

impl Kingdom {
    /// The kingdom before the log has been read.
    pub fn new(feed: Feed, metrics: Arc<Metrics>) -> Self {
        Self {
            shared: Arc::new(Shared {
                state: RwLock::new(State::default()),
                feed,
                copies: Copies::default(),
                views: AtomicBool::new(false),
                stale: Mutex::new(BTreeSet::new()),
                stale_grew: Notify::new(),
                busy_ms: AtomicU64::new(0),
                started: Instant::now(),
                metrics,
            }),
        }
    }

    /// The log has been folded up to the commit of this sequence.
    pub fn begin(&self, state: State, sequence: u64) {
        let last = state.last;
        self.shared.feed.seed(
            state.instances.iter().map(|(id, instance)| {
                (*id, Placement { app: instance.app.clone(), servant: instance.servant })
            }),
        );
        *self.shared.state.write().unwrap_or_else(PoisonError::into_inner) = state;
        self.shared.copies.begin(sequence);
        self.shared.feed.begin(sequence, last);
        self.measure(sequence);
    }

    /// A reign begins: every view counts as stale, for the King before may have died before it wrote it.
    pub(crate) fn begin_views(&self) {
        let keys = self.read(project::all);
        *self.stale() = keys;
        self.shared.views.store(true, Ordering::Release);
        self.shared.stale_grew.notify_one();
    }

    /// A reign ends: another King writes the views.
    pub(crate) fn end_views(&self) {
        self.shared.views.store(false, Ordering::Release);
        self.stale().clear();
    }

    /// The confirmed state, and the sequence of the commit that it reflects. For the one who moves it on.
    pub(crate) fn place(&self) -> (State, u64) {
        (self.read(Clone::clone), self.shared.feed.newest().map_or(0, |newest| newest.sequence))
    }

    /// Reads the confirmed state. Keep it short: the writer waits.
    pub fn read<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        look(&self.shared.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What a command would lead to, and the newest event that this rests on. It is tried on the confirmed state and taken
    /// back before anybody else can look: this takes as long as the command itself, however large the state is.
    pub fn plan(&self, command: &Command, context: &Context) -> (EventNumber, PlanItem) {
        let mut state = self.shared.state.write().unwrap_or_else(PoisonError::into_inner);
        let item = plan::plan(&mut state, command, context);
        (state.last, item)
    }

    /// Waits until the confirmed state reflects this event; false when it does not within the time.
    pub async fn reached(&self, event: EventNumber, within: Duration) -> bool {
        self.shared.feed.reached(event, within).await
    }

    /// The confirmed commits, for the journal.
    pub(crate) fn copies(&self) -> &Copies {
        &self.shared.copies
    }

    /// The confirmed events, to be followed.
    pub fn feed(&self) -> &Feed {
        &self.shared.feed
    }

    /// A commit is stored: the state moves on, and the views that it changes become stale.
    pub(crate) fn confirm(&self, confirmed: Confirmed) {
        let Confirmed { sequence, commit, payload } = &confirmed;
        let keys = {
            let mut state = self.shared.state.write().unwrap_or_else(PoisonError::into_inner);
            advance(&mut state, &commit.events, commit.inbox)
        };
        if commit.events.len() >= BUSY_EVENTS {
            self.shared.busy_ms.store(self.elapsed_ms(), Ordering::Relaxed);
        }
        self.shared.feed.push(*sequence, payload.len(), commit.clone());
        self.measure(*sequence);
        self.shared.copies.put(confirmed);
        if !keys.is_empty() && self.shared.views.load(Ordering::Acquire) {
            self.stale().extend(keys);
            self.shared.stale_grew.notify_one();
        }
    }

    fn measure(&self, sequence: u64) {
        let (epoch, inbox, event) = self.read(|state| (state.epoch, state.inbox, state.last));
        let metrics = &self.shared.metrics;
        metrics.log_sequence.set(sequence);
        metrics.epoch.set(epoch);
        metrics.inbox_sequence.set(inbox);
        metrics.event_number.set(event);
    }

    /// Whether the writer has just had more to do than it could do at once. What can wait shall wait then.
    pub(crate) fn is_busy(&self) -> bool {
        let busy_ms = self.shared.busy_ms.load(Ordering::Relaxed);
        busy_ms > 0 && self.elapsed_ms() < busy_ms + BUSY_MS
    }

    /// What nobody waits for waits while the writer has all hands full; but not for longer than this.
    pub(crate) async fn let_the_writer_go_first(&self, most: Duration, shutdown: &Shutdown) {
        let until = Instant::now() + most;
        while self.is_busy() && Instant::now() < until && !shutdown.is_requested() {
            tokio::select! {
                () = tokio::time::sleep(BUSY_LOOK) => {}
                () = shutdown.requested() => {}
            }
        }
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.shared.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The views to write anew; waits until there is one.
    pub(crate) async fn stale_views(&self) -> BTreeSet<ViewKey> {
        loop {
            let keys = std::mem::take(&mut *self.stale());
            if !keys.is_empty() {
                return keys;
            }
            self.shared.stale_grew.notified().await;
        }
    }

    /// A view could not be written and has to be tried again.
    pub(crate) fn mark_stale(&self, key: ViewKey) {
        self.stale().insert(key);
        self.shared.stale_grew.notify_one();
    }

    /// The place in the log that a projection made now reflects.
    pub(crate) fn stamp(state: &State) -> Stamp {
        Stamp { epoch: state.epoch, event: state.last }
    }

    fn stale(&self) -> MutexGuard<'_, BTreeSet<ViewKey>> {
        self.shared.stale.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Moves a confirmed state on by the events of a stored commit; gives the views that become stale.
pub fn advance(state: &mut State, events: &[Event], inbox: u64) -> BTreeSet<ViewKey> {
    let mut keys = BTreeSet::new();
    for event in events {
        project::touched(state, event, &mut keys);
        realm::apply(state, event);
    }
    state.inbox = state.inbox.max(inbox);
    keys
}
