//! Telemetry: what the host and the instances use, measured every second and cheap enough that nobody notices.
//!
//! One thread of its own reads files of `/proc` that stay open, into one buffer. What is dear is spread over several
//! seconds: every process of the host is looked at once in [`census::CYCLE`] seconds, descriptors are counted in turn.
//! Frames leave by [`outgoing`], never by the outbox of reports: a lost one is no harm. [`Usage`] is for decisions of this
//! servant itself.
//!
//! Read [`proc`] (how a file is read), [`host`], [`census`], [`tree`] and [`cgroup`] (whose figures are whose), then
//! [`sampler`].

pub mod proc;
pub mod host;
pub mod census;
pub mod cgroup;
pub mod tree;
pub mod instances;
pub mod sampler;
pub mod outgoing;
mod roster;

pub use outgoing::Outgoing;
pub use roster::{Roster, Watched};

use crate::app_events::Hub;
use crate::reports::Sender;
use events::InstanceId;
use sampler::Sampler;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How often everything is measured.
pub const INTERVAL: Duration = Duration::from_secs(1);

/// What the instances of this servant used within the last second.
pub type Usage = Arc<BTreeMap<InstanceId, InstanceUsage>>;

/// What one instance used within the last second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InstanceUsage {
    /// In thousandths of one processor.
    pub cpu: u32,
    pub memory_kib: u32,
}

/// The thread that measures. It ends when this is dropped.
pub struct Telemetry {
    pub roster: Roster,
    pub outgoing: Outgoing,
    usage: watch::Receiver<Usage>,
    stop: Arc<Stop>,
    thread: Option<JoinHandle<()>>,
}

impl Telemetry {
    /// Begins to measure. `data` lies on the file system whose room is told.
    ///
    /// # Errors
    /// When `/proc` cannot be read, or no thread can be started.
    pub fn start(sender: &Sender, data: PathBuf, hub: Hub) -> io::Result<Self> {
        let (roster, outgoing, stop) = (Roster::default(), Outgoing::default(), Arc::new(Stop::default()));
        let (telling, usage) = watch::channel(Usage::default());
        let sampler = Sampler::new(sender, data, roster.clone(), hub)?;
        let (frames, until) = (outgoing.clone(), stop.clone());
        let work = move || measure(sampler, &frames, &telling, &until);
        let thread = std::thread::Builder::new().name("telemetry".to_owned()).spawn(work)?;
        Ok(Self { roster, outgoing, usage, stop, thread: Some(thread) })
    }

    /// What the instances used, told anew every second.
    pub fn usage(&self) -> watch::Receiver<Usage> {
        self.usage.clone()
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        self.stop.request();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("measuring panicked");
        }
    }
}

fn measure(mut sampler: Sampler, frames: &Outgoing, usage: &watch::Sender<Usage>, stop: &Stop) {
    let mut next = Instant::now() + INTERVAL;
    while !stop.wait_until(next) {
        let frame = sampler.sample(Instant::now(), service::clock::now());
        usage.send_replace(usage_of(&frame.instances));
        frames.push(frame);
        // A host that stood still is measured over that time, not once for each second of it.
        next = (next + INTERVAL).max(Instant::now());
    }
}

fn usage_of(instances: &events::metric::Instances) -> Usage {
    let row = |row: events::metric::InstanceFigures| {
        (row.instance, InstanceUsage { cpu: row.cpu, memory_kib: row.memory_kib })
    };
    Arc::new(instances.rows().map(row).collect())
}

/// Tells the thread to end.
#[derive(Default)]
struct Stop {
    is_requested: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    fn request(&self) {
        *self.is_requested.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    /// Whether the end was asked for by then.
    fn wait_until(&self, moment: Instant) -> bool {
        let mut is_requested = self.is_requested.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let left = moment.saturating_duration_since(Instant::now());
            if *is_requested || left.is_zero() {
                return *is_requested;
            }
            let waited = self.changed.wait_timeout(is_requested, left);
            is_requested = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
