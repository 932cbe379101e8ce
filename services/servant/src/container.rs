//! Containers: the instances that an engine runs. What the keeper and its holders are to processes, this is to
//! containers: it is told to start, signal and let go, and tells what the reconciler must know. A container outlives the
//! Servant by itself.
//!
//! Read [`shape`] (what a container is, and what none ever gets), [`engine`] (the calls), [`life`] (one instance from start
//! to end), [`output`] (its lines, none lost and none twice), [`watch`] (what the engine has), [`supply`] (images). Nothing here
//! touches what does not carry this servant's labels.

pub mod moment;
pub mod shape;
pub mod engine;
pub mod record;
mod lines;
mod output;
mod watch;
mod life;
mod inquiry;
pub mod supply;

pub use engine::Engine;
pub use inquiry::Inquiry;

use crate::holder::words::{Exit, Told};
use crate::keeper::InstanceFolder;
use crate::memory::Row;
use crate::reconcile::{Adopted, Input, Reported};
use crate::ship::Shipping;
use events::{InstanceId, ServantId};
use life::{Life, Order};
use record::Record;
use shape::Start;
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::{Arc, Mutex};
use tokio::sync::{mpsc, watch as latest};
use watch::Snapshot;

/// Most orders that wait for one container.
const ORDERS: usize = 16;

/// What is heard of a container.
#[derive(Debug)]
pub enum Heard {
    /// For the reconciler.
    Input(Input),
    /// Nothing of it is left, as it was told.
    Left(InstanceId),
}

/// The containers of this servant.
pub struct Containers {
    engine: Engine,
    servant: ServantId,
    boot: String,
    lives: HashMap<InstanceId, mpsc::Sender<Order>>,
    /// The instances that somebody looks after; the rest of this servant's containers is swept away.
    known: Arc<Mutex<BTreeSet<InstanceId>>>,
    snapshots: latest::Receiver<Option<Snapshot>>,
    watching: Option<watch::Watcher>,
    heard: mpsc::Sender<Heard>,
}

impl Containers {
    /// Those that this engine runs for this servant. Nothing is asked of the engine before there is a container.
    pub fn new(engine: Engine, servant: ServantId, boot: String, heard: mpsc::Sender<Heard>) -> Self {
        let known = Arc::default();
        let (watcher, snapshots) = watch::Watcher::new(engine.clone(), servant, Arc::clone(&known));
        Self {
            engine,
            servant,
            boot,
            lives: HashMap::new(),
            known,
            snapshots,
            watching: Some(watcher),
            heard,
        }
    }

    /// Every instance of before is known now: what else carries this servant's labels is a stray, and is watched for.
    pub fn watch(&mut self) {
        if let Some(watcher) = self.watching.take() {
            tokio::spawn(watcher.run());
        }
    }

    /// Whether an instance is looked after here.
    pub fn holds(&self, instance: InstanceId) -> bool {
        self.lives.contains_key(&instance)
    }

    /// Takes over the containers of an instance of before; gives the ends of it that were never told, too. How it stands is taken from its record; what is so is told as
    /// soon as the engine says it.
    pub fn adopt(&mut self, folder: &InstanceFolder, row: &Row, shipping: Shipping) -> (Vec<Exit>, Adopted) {
        let record = Record::read(folder);
        let found = (record.missed(row.exited_run), adopted(&record, row, &self.boot));
        self.attach(folder, row.exited_run, shipping);
        found
    }

    /// Starts the container of an instance, unless it runs.
    ///
    /// # Errors
    /// When what was ordered before is not done yet.
    pub fn start(&mut self, folder: &InstanceFolder, start: Start, shipping: Shipping) -> io::Result<()> {
        if !self.holds(folder.instance) {
            self.attach(folder, 0, shipping);
        }
        self.order(folder.instance, Order::Start(Box::new(start)))
    }

    /// A command that asks for the health of one run.
    pub fn inquiry(&self, instance: InstanceId, run: u64, arguments: Vec<String>) -> Inquiry {
        Inquiry { engine: self.engine.clone(), servant: self.servant, instance, run, arguments }
    }

    /// Signals a container.
    pub fn signal(&mut self, instance: InstanceId, told: Told) {
        if let Err(error) = self.order(instance, Order::Signal(told)) {
            // It is told again, ever more sharply.
            tracing::warn!(%instance, %error, "a signal is put off");
        }
    }

    /// Lets a container go, and says whether one is looked after: when nothing of it is left, that is told.
    pub fn leave(&mut self, instance: InstanceId) -> bool {
        if let Err(error) = self.order(instance, Order::Leave) {
            tracing::error!(%instance, %error, "its container cannot be told to go");
        }
        self.holds(instance)
    }

    /// Forgets an instance that is gone.
    pub fn forget(&mut self, instance: InstanceId) {
        self.lives.remove(&instance);
        self.known.lock().expect("nobody panics with it").remove(&instance);
    }

    fn attach(&mut self, folder: &InstanceFolder, reported_run: u64, shipping: Shipping) {
        let (orders, waiting) = mpsc::channel(ORDERS);
        self.known.lock().expect("nobody panics with it").insert(folder.instance);
        self.lives.insert(folder.instance, orders);
        let life = Life::new(
            self.engine.clone(),
            self.servant,
            self.boot.clone(),
            folder.clone(),
            reported_run,
            shipping,
            self.heard.clone(),
        );
        tokio::spawn(life.run(waiting, self.snapshots.clone()));
    }

    /// Never waits: an engine may hang.
    fn order(&self, instance: InstanceId, order: Order) -> io::Result<()> {
        let Some(life) = self.lives.get(&instance) else {
            return Ok(());
        };
        life.try_send(order)
            .map_err(|_| io::Error::other("the engine has not done what was asked of it before"))
    }
}

fn adopted(record: &Record, row: &Row, boot: &str) -> Adopted {
    if record.is_open(boot) {
        let pid = record.pid.unwrap_or_default();
        let is_reported = if row.started_pid == Some(pid) { Reported::Yes } else { Reported::No };
        return Adopted::Running { pid, is_reported, restarts: row.spec.restarts };
    }
    match &record.exit {
        Some(exit) => {
            let is_reported = if row.exited_run >= exit.run { Reported::Yes } else { Reported::No };
            Adopted::Exited { exit: exit.clone(), is_reported }
        }
        None => Adopted::Idle,
    }
}
