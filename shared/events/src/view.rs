//! Views: projections that others read from the key-value bucket. Each carries the epoch and event number that it
//! reflects; a reader refuses a lower pair than it has seen.

use crate::exec::{Limits, Stdio};
use crate::manifest::{CommandLine, Errors, HealthCheck, Restart, Supervision, Workers};
use crate::{
    AppName, Digest, DomainName, EventNumber, ExecId, ImageName, InstanceId, PortName, ProcessName,
    ServantId, ServantName, Volume,
};
use semver::Version;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A view with the place in the log that it reflects.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stamped<T> {
    #[serde(flatten)]
    pub stamp: Stamp,
    pub view: T,
}

/// A place in the log under an epoch; ordered by epoch, then event number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Stamp {
    pub epoch: u64,
    pub event: EventNumber,
}

/// Everything that one servant must be running: its desired state, whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Assignment {
    /// The releases that its instances run, each once.
    pub releases: Vec<AssignedRelease>,
    pub instances: Vec<AssignedInstance>,
    /// Instances that must not run any more; the servant reports each as stopped once it is sure of it, also those
    /// that it never started.
    #[serde(default)]
    pub stopping: Vec<InstanceId>,
}

/// A release as a servant needs it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AssignedRelease {
    pub app: AppName,
    pub release: u32,
    pub version: Version,
    /// The archive to fetch: a tar stream packed with zstd.
    pub archive: Digest,
    /// Run once in the unpacked archive before the first instance starts.
    pub build: Option<CommandLine>,
    pub processes: BTreeMap<ProcessName, AssignedProcess>,
}

/// A process type as a servant needs it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AssignedProcess {
    /// What to run; absent where the image says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandLine>,
    /// Run it as a container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<AssignedContainer>,
    /// The whole environment but for the ports.
    pub env: BTreeMap<String, String>,
    /// The ports in the order of the manifest: the first is `PORT`.
    pub ports: Vec<PortName>,
    pub health: Option<HealthCheck>,
    pub restart: Restart,
    pub stop_grace_ms: u64,
    /// Which lines of its output are errors, beyond those that anybody would take for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errors: Option<Errors>,
    #[serde(default, skip_serializing_if = "Supervision::is_empty")]
    pub supervision: Supervision,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<Workers>,
}

/// What a process type that runs as a container needs beyond what every one needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AssignedContainer {
    pub image: AssignedImage,
    /// Where it listens, by the names of its ports; those that are absent: where they are published.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ports: BTreeMap<PortName, u16>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
}

/// Where a servant gets an image.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AssignedImage {
    /// The engine has it, or pulls it.
    Named(ImageName),
    /// The kingdom holds it under this digest.
    Held(Digest),
    /// This servant builds it from this Dockerfile in the archive, for all.
    Build(String),
    /// Another servant builds it: it is waited for.
    Awaited,
}

/// An instance as a servant needs it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AssignedInstance {
    pub instance: InstanceId,
    pub app: AppName,
    pub release: u32,
    pub process: ProcessName,
    pub ports: BTreeMap<PortName, u16>,
    /// How often a restart was ordered: what was started before the last one is to be restarted.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub restarts: u32,
}

fn is_zero(restarts: &u32) -> bool {
    *restarts == 0
}

/// The runs of commands that go on on one servant, or shall begin there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Execs {
    pub runs: Vec<AssignedExec>,
}

/// A run as a servant needs it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AssignedExec {
    pub exec: ExecId,
    pub command: Vec<String>,
    pub stdio: Stdio,
    pub limits: Limits,
    /// The instance whose environment and folder it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceId>,
    pub wish: ExecWish,
}

/// What shall become of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExecWish {
    Run,
    Cancel,
}

/// The servants of a domain, for its Foreman.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Domain {
    pub domain: DomainName,
    pub servants: Vec<DomainServant>,
}

/// A servant as its Foreman needs it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DomainServant {
    pub servant: ServantId,
    pub name: ServantName,
    pub lost: bool,
}

/// A heartbeat, every second from servant to Foreman.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Beat {
    pub servant: ServantId,
}
