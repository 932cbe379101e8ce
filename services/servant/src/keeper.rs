//! The Servant's side of the holders: it starts them, talks to them, finds them again after its own death, and cleans up
//! after one that was killed.

pub mod folder;
mod nursery;
mod link;
mod sweep;

pub use folder::{InstanceFolder, prepare};
pub use sweep::sweep;

use crate::cgroup::Cgroups;
use crate::holder::stem::Birth;
use crate::holder::words::{Exit, Order, Run, Said, SignalOrder, StartOrder, State, Told};
use crate::holder::{LOCK, runs};
use crate::spec::INSTANCE_VARIABLE;
use events::InstanceId;
use events::limits::WORKERS;
use nursery::Nursery;
use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

/// The host, as long as it is not started anew.
#[derive(Clone, Debug)]
pub struct Host {
    /// The kernel's boot id.
    pub boot: String,
    pub cgroups: Arc<Cgroups>,
}

/// What a holder said, or that it is gone.
#[derive(Debug)]
pub struct Heard {
    pub instance: InstanceId,
    pub what: HeardWhat,
}

#[derive(Debug)]
pub enum HeardWhat {
    Said(Said),
    /// The connection was cut and made anew; this is how it stands.
    Again(State),
    /// It ended, as it was told to.
    Left,
    /// It was killed; what it held was swept away. How the runs that were under way ended.
    Lost(Vec<Exit>),
}

/// How an instance was found at the start.
#[derive(Debug)]
pub enum Found {
    /// Its holder lives, and says this.
    Held(State),
    /// It has no holder; this is what is recorded, with an end made up for a run that lost its holder.
    Unheld(State),
    /// Whether its holder lives is not known yet; this is what is recorded. What is so is heard later.
    Unknown(State),
}

impl Found {
    /// What is known of its runs.
    pub fn state(&self) -> &State {
        match self {
            Self::Held(state) | Self::Unheld(state) | Self::Unknown(state) => state,
        }
    }
}

/// What was seen of an instance, before it is taken over.
pub struct Seen {
    found: Found,
    stream: Option<UnixStream>,
}

/// How long looking for the holder of an instance may keep others waiting.
const LOOK: Duration = Duration::from_secs(2);

/// Looks for the holder of an instance that was known before, for a short while.
///
/// # Errors
/// When the folder cannot be read.
pub async fn look(folder: &InstanceFolder, host: &Host) -> io::Result<Seen> {
    match tokio::time::timeout(LOOK, link::connect(folder)).await {
        Ok(Some((stream, state))) => return Ok(Seen { found: Found::Held(state), stream: Some(stream) }),
        // Takes its bounded time: a second sweep beside this one might hit what is started after it.
        Ok(None) => match unheld(folder, host).await {
            Ok(state) => return Ok(Seen { found: Found::Unheld(state), stream: None }),
            Err(error) => {
                tracing::error!(instance = %folder.instance, %error, "what it left could not be swept away; trying again");
            }
        },
        Err(_) => tracing::warn!(instance = %folder.instance, "its holder is waited for"),
    }
    let recorded = runs::read(&folder.path)?;
    let is_of_now = recorded.open().iter().all(|run| run.boot == host.boot);
    let state = if is_of_now { recorded } else { State::default() };
    Ok(Seen { found: Found::Unknown(state), stream: None })
}

/// The holders of this servant.
pub struct Keeper {
    nursery: Nursery,
    host: Host,
    links: HashMap<InstanceId, mpsc::Sender<Order>>,
    heard: mpsc::Sender<Heard>,
}

/// Most orders that wait for one holder: all of its workers may be started and told to end together.
const ORDERS: usize = 2 * WORKERS as usize;

impl Keeper {
    /// `program` is this same program, which can be a holder; `instances` is where the folders of instances are.
    pub fn new(program: PathBuf, instances: PathBuf, host: Host, heard: mpsc::Sender<Heard>) -> Self {
        let mut nursery = Nursery::new(program, instances);
        nursery.prepare();
        Self { nursery, host, links: HashMap::new(), heard }
    }

    /// Takes over the holder of an instance that was seen, or may be there.
    pub fn adopt(&mut self, folder: &InstanceFolder, seen: Seen) -> Found {
        match &seen.found {
            Found::Held(_) | Found::Unknown(_) => self.attach(folder, seen.stream),
            Found::Unheld(_) => {}
        }
        seen.found
    }

    /// Starts the process of an instance, under its holder or a new one.
    ///
    /// # Errors
    /// When no holder can be started.
    pub fn start(&mut self, folder: &InstanceFolder, order: StartOrder) -> io::Result<()> {
        if !self.links.contains_key(&folder.instance) {
            match self.spawn(folder)? {
                Some(stream) => self.attach(folder, Some(stream)),
                None => {
                    // Its state is heard as soon as it answers.
                    self.attach(folder, None);
                    return Err(io::Error::other(
                        "a holder that was not known holds it; connecting to that one",
                    ));
                }
            }
        }
        self.order(folder.instance, Order::Start(Box::new(order)))
    }

    /// Signals what runs in a slot of an instance, which its holder kills by itself when the grace is over.
    pub fn signal(&mut self, instance: InstanceId, order: SignalOrder) {
        let is_crowded = self.links.get(&instance).is_some_and(|link| link.capacity() <= ORDERS / 2);
        // A holder that hears nothing needs no more of them; the rest of the queue is for other orders.
        if !is_crowded && let Err(error) = self.order(instance, Order::Signal(order)) {
            tracing::warn!(%instance, %error, "a signal is put off");
        }
    }

    /// Lets the holder go; says whether there is one, which will say that it left.
    pub fn leave(&mut self, instance: InstanceId) -> bool {
        if let Err(error) = self.order(instance, Order::Leave) {
            // It goes when the Servant is started anew.
            tracing::error!(%instance, %error, "its holder cannot be told to leave");
        }
        self.links.contains_key(&instance)
    }

    /// Forgets a holder that is gone.
    pub fn forget(&mut self, instance: InstanceId) {
        self.links.remove(&instance);
    }

    /// Never waits: a holder may hang.
    fn order(&mut self, instance: InstanceId, order: Order) -> io::Result<()> {
        let Some(link) = self.links.get(&instance) else {
            return Ok(());
        };
        match link.try_send(order) {
            Ok(()) => Ok(()),
            Err(TrySendError::Closed(_)) => {
                // The link's end is told by the link itself.
                tracing::debug!(%instance, "the holder is gone");
                Ok(())
            }
            Err(TrySendError::Full(_)) => Err(io::Error::other("its holder does not answer")),
        }
    }

    fn attach(&mut self, folder: &InstanceFolder, stream: Option<UnixStream>) {
        let (orders, waiting) = mpsc::channel(ORDERS);
        self.links.insert(folder.instance, orders);
        tokio::spawn(link::run(folder.clone(), self.host.clone(), stream, waiting, self.heard.clone()));
    }

    /// Starts a holder; none when another one holds the folder already.
    fn spawn(&mut self, folder: &InstanceFolder) -> io::Result<Option<UnixStream>> {
        let (ours, servant) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let log = File::options().create(true).append(true).open(folder.path.join("holder.log"))?;
        // Locked here and inherited: from the order on there is a holder, whatever becomes of the Servant.
        let lock = File::options().create(true).append(true).open(folder.path.join(LOCK))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        self.nursery.bear(&Birth { folder: folder.path.clone(), servant, lock, log })?;
        UnixStream::from_std(ours).map(Some)
    }
}

/// What is recorded of an instance without a holder. What its holder left behind, if it was killed, is swept away,
/// whatever is recorded: a holder may be killed after it has started a process and before it has said so anywhere.
async fn unheld(folder: &InstanceFolder, host: &Host) -> io::Result<State> {
    let mut state = runs::read(&folder.path)?;
    let open = state.open();
    let mains =
        open.iter().filter(|run| run.boot == host.boot).map(|run| (run.pid, run.start_ticks)).collect();
    let mark = format!("{INSTANCE_VARIABLE}={}", folder.instance);
    let (instance, cgroups) = (folder.instance, host.cgroups.clone());
    let swept = tokio::task::spawn_blocking(move || {
        cgroups.sweep(instance);
        sweep(&mark, mains)
    });
    swept.await.map_err(io::Error::other)??;
    if open.iter().any(|run| run.boot != host.boot) {
        // The host was started anew: nobody is to blame.
        return Ok(State::default());
    }
    open.iter().for_each(|run| state.end(killed(run)));
    Ok(state)
}

/// The end of a process that was swept away.
fn killed(run: &Run) -> Exit {
    let at = service::clock::now();
    Exit {
        slot: run.slot,
        run: run.run,
        pid: run.pid,
        code: None,
        signal: Some(9),
        at,
        uptime_ms: at.since(run.at),
        told: Told::Nothing,
        out_of_memory: false,
    }
}
