//! Queries about telemetry: what servants and instances use now and used within the last minutes. Every King answers from
//! its own memory.

use crate::metric::{SeriesKind, Tags};
use crate::{AppName, DomainName, InstanceId, ProcessName, SeriesName, ServantId, ServantName, Timestamp};
use serde::{Deserialize, Serialize};

/// The question of `servant.metrics` and `instance.metrics`. An empty one asks for everything.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricsQuestion {
    /// Only this servant, or what is on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub servant: Option<ServantName>,
    /// Only instances of this app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<AppName>,
    /// Only this instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceId>,
    /// With what was so within so many seconds, at most 600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history_s: Option<u32>,
    /// Go on after the page that ended with this: the `next` of its reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// What a servant uses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServantMetrics {
    pub servant: ServantId,
    pub name: ServantName,
    pub domain: DomainName,
    /// How old the newest figures are.
    pub age_ms: u64,
    /// The newest frame.
    pub frame: u64,
    /// Frames that never came, of those that this King has followed.
    pub missed: u64,
    /// Of those, how many the servant dropped itself because the bus was away.
    pub dropped: u64,
    /// Processor time that the newest frame took the servant.
    pub cost_us: u32,
    /// Of all processors together.
    pub cpu_percent: f64,
    pub iowait_percent: f64,
    pub steal_percent: f64,
    pub cores_percent: Vec<f64>,
    pub memory_bytes: u64,
    pub memory_used_bytes: u64,
    pub swap_bytes: u64,
    pub swap_used_bytes: u64,
    /// Of the file system of its data.
    pub disk_bytes: u64,
    pub disk_free_bytes: u64,
    pub read_bytes_per_s: u64,
    pub written_bytes_per_s: u64,
    pub received_bytes_per_s: u64,
    pub sent_bytes_per_s: u64,
    pub networks: Vec<NetworkItem>,
    /// Over 1, 5 and 15 minutes.
    pub load: [f64; 3],
    pub processes: u32,
    pub uptime_s: u64,
    pub instances: u32,
    pub top_by_cpu: Vec<ProcessItem>,
    pub top_by_memory: Vec<ProcessItem>,
    /// Oldest first, when it was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<UsagePoint>,
}

/// A network interface of a servant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkItem {
    pub name: String,
    pub received_bytes_per_s: u64,
    pub sent_bytes_per_s: u64,
    pub faults: u64,
}

/// A process that takes much.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProcessItem {
    pub pid: u32,
    pub name: String,
    /// Of one processor.
    pub cpu_percent: f64,
    pub memory_bytes: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceId>,
}

/// What an instance uses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstanceMetrics {
    pub instance: InstanceId,
    pub app: AppName,
    pub process: ProcessName,
    pub servant: ServantName,
    pub age_ms: u64,
    /// Of one processor.
    pub cpu_percent: f64,
    pub memory_bytes: u64,
    pub descriptors: u32,
    pub processes: u32,
    pub threads: u32,
    pub restarts: u32,
    /// Lines of app events that were dropped or could not be read.
    pub lost: u64,
    /// Gauges and counters of the app.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub series: Vec<SeriesItem>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<UsagePoint>,
}

/// A gauge or counter that an app keeps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeriesItem {
    pub name: SeriesName,
    #[serde(default, skip_serializing_if = "Tags::is_empty")]
    pub tags: Tags,
    pub kind: SeriesKind,
    pub value: f64,
}

/// What was used over some time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct UsagePoint {
    /// When it began, by the clock of the host.
    pub at: Timestamp,
    /// How many frames it is made of: one within the last minute, up to ten before.
    pub frames: u32,
    /// The mean; of all processors together for a servant, of one for an instance.
    pub cpu_percent: f64,
    /// The most.
    pub memory_bytes: u64,
}
