//! A reign: the writer and its effects, for as long as this King writes.

use crate::effects::{self, EffectError};
use crate::election::{ElectionError, Fold};
use crate::follower::Follower;
use crate::http::{Metrics, Readiness};
use crate::kingdom::Kingdom;
use crate::lane::Lane;
use crate::writer::run::Parts as WriterParts;
use crate::writer::{Ears, Ledger, Writer, WriterError};
use bus::Bus;
use bus::connect::SubscribeError;
use bus::log::{AppendError, Log};
use events::KingId;
use realm::Candidate;
use service::Shutdown;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::task::JoinSet;

/// Why a reign could not begin, or ended for a reason that is no other King.
#[derive(Debug, thiserror::Error)]
pub enum ReignError {
    #[error("commands cannot be heard")]
    Subscribe(#[from] SubscribeError),
    #[error("the writer ended")]
    Writer(#[from] WriterError),
}

/// What a reign rests on. Cheap to clone.
#[derive(Clone)]
pub struct Parts {
    pub candidate: Candidate,
    pub lane: Arc<Lane>,
    pub bus: Bus,
    pub log: Log,
    pub kingdom: Kingdom,
    pub metrics: Arc<Metrics>,
    pub readiness: Readiness,
    /// What the writer takes while it hands over.
    pub ledger: Ledger,
    /// What a King hears that shall follow another.
    pub prepared: Prepared,
}

impl Parts {
    /// The King whose parts they are.
    pub fn king(&self) -> KingId {
        self.candidate.king
    }

    /// Follows again after a reign.
    pub(super) async fn resume(&self) -> Result<Follower, ElectionError> {
        self.kingdom.end_views();
        loop {
            match Follower::resume(self.log.clone(), self.kingdom.clone()).await {
                Err(ElectionError::Read(error)) => {
                    let reason = service::chain(&error);
                    tracing::warn!(reason, "the log cannot be read, so it is not followed yet");
                }
                resumed => return resumed,
            }
        }
    }

    /// What was heard since the King before prepared this one, if it has handed over since; else it hears from now on.
    async fn ears(&self) -> Result<Ears, SubscribeError> {
        match self.prepared.take() {
            Some(ears) => Ok(ears),
            None => Ears::open(&self.bus, self.ledger.clone()).await,
        }
    }
}

/// The ears of a backup that was told to prepare. Clones share them.
#[derive(Clone, Default)]
pub struct Prepared {
    slot: Arc<Mutex<Option<(Ears, Ready)>>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ready {
    /// The King before still takes what is heard.
    Not,
    Yes,
}

impl Prepared {
    /// Keeps what is heard from now on.
    pub fn put(&self, ears: Ears) {
        *self.slot() = Some((ears, Ready::Not));
    }

    /// The King before has taken the last that is its own, and these among what was heard here.
    pub fn hand_over(&self, taken: &[u64]) -> bool {
        let mut slot = self.slot();
        let Some((ears, ready)) = slot.as_mut() else { return false };
        ears.pass_over(taken);
        *ready = Ready::Yes;
        true
    }

    /// Forgets what was heard.
    pub fn clear(&self) {
        *self.slot() = None;
    }

    fn take(&self) -> Option<Ears> {
        self.slot().take().filter(|(_, ready)| *ready == Ready::Yes).map(|(ears, _)| ears)
    }

    fn slot(&self) -> MutexGuard<'_, Option<(Ears, Ready)>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How the writer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It was told to, and all that it took is answered.
    Drained,
    /// Another King writes.
    Deposed,
}

/// What one of the tasks came to.
enum Ended {
    Writer(Result<(), WriterError>),
    Views(Result<(), EffectError>),
    Other,
}

/// A reign under way.
pub(super) struct Reign {
    tasks: JoinSet<Ended>,
    drain: Shutdown,
}

impl Reign {
    /// Begins to take commands and to perform effects, from the election on.
    pub async fn begin(parts: &Parts, fold: Fold) -> Result<Self, ReignError> {
        let ears = parts.ears().await?;
        let Parts { lane, bus, log, kingdom, metrics, readiness, .. } = parts.clone();
        let parts = WriterParts {
            bus: bus.clone(),
            log,
            kingdom: kingdom.clone(),
            metrics: metrics.clone(),
            readiness,
            ears,
        };
        let writer = Writer::new(parts, fold).await?;
        kingdom.begin_views();
        let (drain, never) = (Shutdown::by_hand(), Shutdown::by_hand());
        let mut tasks = JoinSet::new();
        let writing = writer.run(drain.clone());
        tasks.spawn_on(async move { Ended::Writer(writing.await) }, lane.handle());
        let views = effects::write_views(bus.clone(), kingdom.clone(), metrics.clone(), never.clone());
        tasks.spawn(async move { Ended::Views(views.await) });
        let publishing = effects::publish_events(bus.clone(), kingdom.clone(), metrics, never.clone());
        let purging = effects::purge_inbox(bus, kingdom, never);
        tasks.spawn(async move {
            tokio::join!(publishing, purging);
            Ended::Other
        });
        Ok(Self { tasks, drain })
    }

    /// Takes no more.
    pub fn drain(&self) {
        self.drain.request();
    }

    /// Waits until the writer has ended, for itself or because another King writes. Can be cancelled.
    pub async fn ended(&mut self) -> Result<End, ReignError> {
        loop {
            let ended = self.tasks.join_next().await;
            match ended.expect("the effects go on until they are stopped").expect("no task of a reign panics")
            {
                Ended::Writer(Ok(())) => return Ok(End::Drained),
                Ended::Writer(Err(WriterError::Append(AppendError::Deposed { sequence }))) => {
                    tracing::warn!(sequence, "another King writes; this one follows it from here on");
                    return Ok(End::Deposed);
                }
                Ended::Writer(Err(error)) => return Err(error.into()),
                Ended::Views(Err(EffectError::Superseded(error))) => {
                    tracing::warn!(%error, "another King writes; this one follows it from here on");
                    return Ok(End::Deposed);
                }
                Ended::Views(Ok(())) | Ended::Other => {}
            }
        }
    }

    /// Stops everything at once: nothing is written, sent or answered after it.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}
