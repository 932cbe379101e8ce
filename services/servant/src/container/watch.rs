//! Watching the engine: one list of this servant's containers, taken anew whenever the engine says that something
//! happened, and every few seconds in any case. What nobody looks after is swept away.

use super::engine::{Asked, Engine, Listed, Named};
use super::shape::Labels;
use events::{InstanceId, ServantId};
use futures_util::{Stream, StreamExt};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// How often the engine is asked even when it says nothing.
const LOOK: Duration = Duration::from_secs(2);
/// How long an engine that does not answer is left alone.
const AWAY: Duration = Duration::from_secs(1);
/// How long events are gathered before the engine is asked what came of them.
const GATHER: Duration = Duration::from_millis(5);

/// This servant's containers by their ids, and whether each runs.
pub type Snapshot = Arc<BTreeMap<String, bool>>;

/// The one who asks.
pub struct Watcher {
    engine: Engine,
    labels: Labels,
    known: Arc<Mutex<BTreeSet<InstanceId>>>,
    latest: watch::Sender<Option<Snapshot>>,
}

impl Watcher {
    /// What it sees goes to the receiver: nothing while the engine does not answer.
    pub fn new(
        engine: Engine,
        servant: ServantId,
        known: Arc<Mutex<BTreeSet<InstanceId>>>,
    ) -> (Self, watch::Receiver<Option<Snapshot>>) {
        let (latest, seen) = watch::channel(None);
        let labels = Labels { servant, instance: None };
        (Self { engine, labels, known, latest }, seen)
    }

    /// Watches for as long as anybody wants to know.
    pub async fn run(self) {
        let mut events = None;
        let mut was_away = false;
        while !self.latest.is_closed() {
            if self.known().is_empty() && was_away {
                // A host without an engine, and nothing to run on one: nobody needs to hear of it.
                tokio::time::sleep(LOOK).await;
            }
            match self.engine.list(&self.labels).await {
                Ok(listed) => {
                    was_away = false;
                    self.sweep(&listed).await;
                    self.show(listed);
                    self.wait(&mut events).await;
                }
                Err(error) => {
                    events = None;
                    if !std::mem::replace(&mut was_away, true) && !self.known().is_empty() {
                        tracing::error!(%error, "what the containers do is not known; asking until it is");
                    }
                    let _ = self.latest.send_replace(None);
                    tokio::time::sleep(AWAY).await;
                }
            }
        }
    }

    fn known(&self) -> BTreeSet<InstanceId> {
        self.known.lock().expect("nobody panics with it").clone()
    }

    fn show(&self, listed: Vec<Listed>) {
        let containers = listed.into_iter().map(|it| (it.id, it.is_running)).collect();
        self.latest.send_replace(Some(Arc::new(containers)));
    }

    /// Until something happens, or for a while.
    async fn wait(&self, events: &mut Option<Events>) {
        if events.is_none() {
            match self.engine.events(&self.labels).await {
                // What happened before it was opened is not told: so the list is taken again at once.
                Ok(stream) => {
                    *events = Some(Box::pin(stream.map(|event| event.map_err(drop))));
                    return;
                }
                Err(error) => tracing::debug!(%error, "no events of the engine"),
            }
        }
        let Some(stream) = events else {
            return tokio::time::sleep(LOOK).await;
        };
        match tokio::time::timeout(LOOK, stream.next()).await {
            Ok(Some(Ok(()))) => tokio::time::sleep(GATHER).await,
            Ok(Some(Err(())) | None) => *events = None,
            Err(_) => {}
        }
    }

    /// Removes what carries this servant's labels and belongs to no instance that it knows.
    async fn sweep(&self, listed: &[Listed]) {
        let known = self.known();
        let is_stray = |it: &&Listed| !it.instance.parse().is_ok_and(|id: InstanceId| known.contains(&id));
        for stray in listed.iter().filter(is_stray) {
            if let Err(error) = self.remove(stray).await {
                tracing::warn!(container = stray.id, %error, "a container that nobody needs could not be removed");
            }
        }
    }

    async fn remove(&self, stray: &Listed) -> Asked<()> {
        if let Named::Own(own) = self.engine.find(&stray.id, &self.labels).await? {
            tracing::warn!(
                container = stray.id,
                instance = stray.instance,
                "removing a container that nobody needs"
            );
            self.engine.remove(&own).await?;
        }
        Ok(())
    }
}

type Events = std::pin::Pin<Box<dyn Stream<Item = Result<(), ()>> + Send>>;
