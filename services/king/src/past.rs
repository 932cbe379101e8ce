//! The past as this King tells it: events found by what they are about, chains, states of any moment, signatures.
//!
//! Commits come from the King's journal, and the newest, which the journal may not have yet, from the log; all of them from
//! the log, while there is no journal. What is asked is worked out on threads that may block, so neither the writer nor a
//! reader of the present ever waits for it.

mod view;
mod stream;
mod answers;
mod checkpoints;

pub use answers::{PastItems, PastPage};
pub use checkpoints::sign_now_and_then;

use crate::feed::Newest;
use crate::kingdom::Kingdom;
use crate::signer::Signer;
use audit::history::{History, HistoryError};
use audit::{Index, StoredCommit};
use bus::journal::Journal;
use bus::log::Log;
use events::EventNumber;
use realm::State;
use service::Shutdown;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;
use tokio::time::MissedTickBehavior;
use view::View;

/// Most commits that are read from the log because the journal has not got them yet. If it lags more, the answer reflects
/// what it has.
const AHEAD: u64 = 64;
/// How often the index learns what came since, so that a question finds little left to do.
const INDEX_EVERY: Duration = Duration::from_secs(1);
/// How long the index lets a busy writer go first: a question teaches it what it lacks anyway.
const INDEX_YIELD: Duration = Duration::from_secs(30);
/// Most commits that the index learns without letting questions in between.
const INDEX_COMMITS: usize = 1024;

/// What a King knows of the past. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct Past {
    shared: Arc<Shared>,
}

struct Shared {
    kingdom: Kingdom,
    log: Log,
    signer: Signer,
    journal: OnceLock<(Journal, Thaw)>,
    index: RwLock<Indexed>,
    /// The state of a list whose next page will be asked for.
    kept: Mutex<Option<Arc<State>>>,
}

/// Makes a state of the bytes of a snapshot; none when they give none.
pub type Thaw = fn(&[u8]) -> Option<State>;

#[derive(Default)]
struct Indexed {
    index: Index,
    /// The last commit that is in it.
    sequence: u64,
}

impl Past {
    /// The past of a kingdom, from the log alone until [`Past::begin`].
    pub fn new(kingdom: Kingdom, log: Log, signer: Signer) -> Self {
        Self {
            shared: Arc::new(Shared {
                kingdom,
                log,
                signer,
                journal: OnceLock::new(),
                index: RwLock::default(),
                kept: Mutex::new(None),
            }),
        }
    }

    /// The journal is there. A second one is passed over: a King has one.
    pub fn begin(&self, journal: Journal, thaw: Thaw) {
        self.shared.journal.get_or_init(|| (journal, thaw));
    }

    /// Keeps the index near the end of the log until the end is asked for.
    pub async fn keep_index(self, shutdown: Shutdown) {
        let mut tick = tokio::time::interval(INDEX_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = shutdown.requested() => return,
            }
            self.shared.kingdom.let_the_writer_go_first(INDEX_YIELD, &shutdown).await;
            let (past, shutdown) = (self.clone(), shutdown.clone());
            let learned = match self.view().await {
                Ok(Some(view)) => tokio::task::spawn_blocking(move || past.learn_all(&view, &shutdown)).await,
                Ok(None) => continue,
                Err(error) => Ok(Err(error)),
            };
            if let Err(error) = learned.expect("the index does not panic") {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the index of events does not go on"
                );
            }
        }
    }

    fn learn_all(&self, view: &View, shutdown: &Shutdown) -> Result<(), HistoryError> {
        while !shutdown.is_requested() && self.learn(view, INDEX_COMMITS)? {}
        Ok(())
    }

    /// Teaches the index some commits; whether there may be more.
    fn learn(&self, view: &View, most: usize) -> Result<bool, HistoryError> {
        let mut indexed = self.shared.index.write().unwrap_or_else(PoisonError::into_inner);
        let mut learned = 0;
        for stored in view.commits(indexed.sequence)?.take(most) {
            let stored = stored?;
            stored.read()?.events.iter().for_each(|event| indexed.index.note(event));
            indexed.sequence = stored.sequence;
            learned += 1;
        }
        Ok(learned == most)
    }

    /// The past up to now, as far as the journal is not too far behind; none while the King starts.
    async fn view(&self) -> Result<Option<View>, HistoryError> {
        let Some(newest) = self.shared.kingdom.feed().newest() else { return Ok(None) };
        let Some((journal, thaw)) = self.shared.journal.get() else {
            return Ok(Some(View::of_log(self.shared.log.clone(), newest)));
        };
        let after = journal.last().sequence;
        Ok(Some(View::of_journal(journal.clone(), *thaw, self.ahead(after, newest).await?)))
    }

    /// The commits after those of the journal, from the log.
    async fn ahead(&self, after: u64, newest: Newest) -> Result<Vec<StoredCommit>, HistoryError> {
        if newest.sequence > after + AHEAD {
            return Ok(Vec::new());
        }
        let mut commits = Vec::new();
        for sequence in after + 1..=newest.sequence {
            let read = self.shared.log.read(sequence).await.map_err(HistoryError::read)?;
            let bytes = read.ok_or(HistoryError::Missing { sequence })?;
            commits.push(StoredCommit { sequence, bytes });
        }
        Ok(commits)
    }

    /// Looks at the index once it knows all of a view.
    fn with_index<R>(&self, view: &View, look: impl FnOnce(&Index) -> R) -> Result<R, HistoryError> {
        while self.learn(view, INDEX_COMMITS)? {}
        Ok(look(&self.shared.index.read().unwrap_or_else(PoisonError::into_inner).index))
    }

    /// A state that was kept for the next page, if it is the one that is wanted.
    fn take_kept(&self, event: EventNumber) -> Option<Arc<State>> {
        let mut kept = self.shared.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.take_if(|state| state.last == event)
    }

    fn keep(&self, state: Arc<State>) {
        *self.shared.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(state);
    }
}
