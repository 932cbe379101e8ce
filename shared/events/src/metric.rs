//! Telemetry as it travels: one frame per servant each second, numbered, never repeated. A lost one is no harm: its number
//! is missing, and the next one tells how it is by then.
//!
//! Frames are small: whole numbers instead of fractions, one column per figure instead of one map per instance, and what
//! changes seldom ([`Top`], series) only now and then.

use crate::{DomainName, InstanceId, SeriesName, ServantId, ServantName, Timestamp, wire};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version of the shape of [`Frame`].
pub const SCHEMA: u16 = 1;

/// What a servant measured since its frame before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Frame {
    /// The version of this shape.
    pub schema: u16,
    pub servant: ServantId,
    pub name: ServantName,
    pub domain: DomainName,
    /// When the process of the servant was started: numbers begin anew with it.
    pub life: Timestamp,
    /// From 1 within a life, without gaps: what is missing was lost on the way.
    pub number: u64,
    /// When it was measured, by the clock of the host.
    pub at: Timestamp,
    /// The time since the frame before, over which figures are taken.
    pub interval_ms: u32,
    /// Frames of this life that were dropped because the bus did not take them.
    pub dropped: u64,
    /// Processor time that measuring took, in microseconds.
    pub cost_us: u32,
    pub host: Host,
    pub instances: Instances,
    /// Instances beyond what one frame holds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out: u32,
    /// Now and then: the processes that take the most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top: Option<Top>,
    /// Series of apps that changed; now and then all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub series: Vec<Series>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// The host as a whole. Shares of processors are in thousandths, sizes in KiB, traffic in bytes since the frame before.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// Of all processors together: busy, waiting for disks, taken by the hypervisor.
    pub cpu: u16,
    pub iowait: u16,
    pub steal: u16,
    /// Each processor: busy.
    pub cores: Vec<u16>,
    pub memory_kib: u64,
    /// What can be had without swapping.
    pub available_kib: u64,
    pub swap_kib: u64,
    pub swap_free_kib: u64,
    /// Over 1, 5 and 15 minutes, in hundredths.
    pub load: [u32; 3],
    pub processes: u32,
    pub uptime_s: u64,
    /// The file system of the data folder.
    pub disk_kib: u64,
    pub disk_free_kib: u64,
    /// All disks together.
    pub read: u64,
    pub written: u64,
    /// The busiest interfaces, the rest under [`OTHER_INTERFACES`].
    pub networks: Vec<Network>,
}

/// The name under which interfaces beyond [`crate::limits::INTERFACES`] are summed up.
pub const OTHER_INTERFACES: &str = "*";

/// A network interface.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Network {
    pub name: String,
    pub received: u64,
    pub sent: u64,
    /// Packets that were damaged or dropped.
    pub faults: u64,
}

/// The instances, a column per figure; the first of each column belongs to the first instance, and so on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Instances {
    pub ids: Vec<InstanceId>,
    /// In thousandths of one processor.
    pub cpu: Vec<u32>,
    pub memory_kib: Vec<u32>,
    pub descriptors: Vec<u32>,
    pub processes: Vec<u32>,
    pub threads: Vec<u32>,
    /// How often it was started again.
    pub restarts: Vec<u32>,
    /// Lines of app events that were dropped or could not be read.
    pub lost: Vec<u64>,
}

/// The figures of one instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstanceFigures {
    pub instance: InstanceId,
    /// In thousandths of one processor.
    pub cpu: u32,
    pub memory_kib: u32,
    pub descriptors: u32,
    pub processes: u32,
    pub threads: u32,
    pub restarts: u32,
    pub lost: u64,
}

impl Instances {
    /// Adds an instance.
    pub fn push(&mut self, figures: InstanceFigures) {
        self.ids.push(figures.instance);
        self.cpu.push(figures.cpu);
        self.memory_kib.push(figures.memory_kib);
        self.descriptors.push(figures.descriptors);
        self.processes.push(figures.processes);
        self.threads.push(figures.threads);
        self.restarts.push(figures.restarts);
        self.lost.push(figures.lost);
    }

    /// One row for each instance.
    pub fn rows(&self) -> impl Iterator<Item = InstanceFigures> + '_ {
        self.ids.iter().enumerate().map(|(at, &instance)| InstanceFigures {
            instance,
            cpu: self.cpu[at],
            memory_kib: self.memory_kib[at],
            descriptors: self.descriptors[at],
            processes: self.processes[at],
            threads: self.threads[at],
            restarts: self.restarts[at],
            lost: self.lost[at],
        })
    }

    fn is_even(&self) -> bool {
        let wide = [&self.cpu, &self.memory_kib, &self.descriptors, &self.processes, &self.threads];
        let length = self.ids.len();
        wide.iter().all(|column| column.len() == length)
            && self.restarts.len() == length
            && self.lost.len() == length
    }
}

/// The processes that take the most, largest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Top {
    pub by_cpu: Vec<ProcessFigures>,
    pub by_memory: Vec<ProcessFigures>,
}

/// A process of the host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProcessFigures {
    pub pid: u32,
    /// The name of its program, at most 15 bytes (proc(5), `comm`).
    pub name: String,
    /// In thousandths of one processor, over the seconds since it was looked at before.
    pub cpu: u32,
    pub memory_kib: u64,
    /// The instance that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceId>,
}

/// A gauge or counter that an app keeps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Series {
    pub instance: InstanceId,
    pub name: SeriesName,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: Tags,
    pub kind: SeriesKind,
    /// The last value of a gauge; all that was added to a counter.
    pub value: f64,
}

/// What tells series of one name apart.
pub type Tags = BTreeMap<SeriesName, String>;

/// What the value of a series is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SeriesKind {
    /// Set to what is.
    Gauge,
    /// Only grows.
    Counter,
}

/// Why some bytes are no frame.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error(transparent)]
    Unreadable(#[from] wire::WireError),
    #[error("the frame has schema {found}; this build reads {SCHEMA}")]
    Schema { found: u16 },
    #[error("the columns of the instances have different lengths")]
    Uneven,
}

impl Frame {
    /// Reads a frame.
    ///
    /// # Errors
    /// When the bytes are none, or of a version that this build does not know.
    pub fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        let frame: Self = wire::decode(bytes)?;
        if frame.schema != SCHEMA {
            return Err(FrameError::Schema { found: frame.schema });
        }
        if frame.instances.is_even() { Ok(frame) } else { Err(FrameError::Uneven) }
    }
}
