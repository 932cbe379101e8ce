//! Events about instances.

use crate::kinds::noun;
use crate::manifest::signal_name;
use crate::report::Stage;
use crate::subject::Output;
use crate::{AppName, InstanceId, PortName, ProcessName, ServantId, Slot, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

noun! {
    /// Events about instances.
    InstanceEvent = "instance" {
        Placed(InstancePlaced) = "placed" @ 1,
        Started(InstanceStarted) = "started" @ 1,
        BecameHealthy(InstanceBecameHealthy) = "became-healthy" @ 1,
        BecameUnhealthy(InstanceBecameUnhealthy) = "became-unhealthy" @ 1,
        Crashed(InstanceCrashed) = "crashed" @ 1,
        Finished(InstanceFinished) = "finished" @ 1,
        CrashLooped(InstanceCrashLooped) = "crash-looped" @ 1,
        Steadied(InstanceSteadied) = "steadied" @ 1,
        Failed(InstanceFailed) = "failed" @ 1,
        PortsReplaced(InstancePortsReplaced) = "ports-replaced" @ 1,
        Halted(InstanceHalted) = "halted" @ 1,
        Retired(InstanceRetired) = "retired" @ 1,
        Stopped(InstanceStopped) = "stopped" @ 1,
        Erred(InstanceErred) = "erred" @ 1,
        RestartOrdered(InstanceRestartOrdered) = "restart-ordered" @ 1,
        WorkersScaled(InstanceWorkersScaled) = "workers-scaled" @ 1,
    }
}

impl InstanceEvent {
    /// The instance it is about.
    pub fn instance(&self) -> InstanceId {
        match self {
            Self::Placed(event) => event.instance,
            Self::Started(event) => event.instance,
            Self::BecameHealthy(event) => event.instance,
            Self::BecameUnhealthy(event) => event.instance,
            Self::Crashed(event) => event.instance,
            Self::Finished(event) => event.instance,
            Self::CrashLooped(event) => event.instance,
            Self::Steadied(event) => event.instance,
            Self::Failed(event) => event.instance,
            Self::PortsReplaced(event) => event.instance,
            Self::Halted(event) => event.instance,
            Self::Retired(event) => event.instance,
            Self::Stopped(event) => event.instance,
            Self::Erred(event) => event.instance,
            Self::RestartOrdered(event) => event.instance,
            Self::WorkersScaled(event) => event.instance,
        }
    }
}

/// It has a place and ports; its servant is told to run it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstancePlaced {
    pub instance: InstanceId,
    pub app: AppName,
    pub process: ProcessName,
    pub release: u32,
    pub servant: ServantId,
    pub ports: BTreeMap<PortName, u16>,
}

/// Its process runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstanceStarted {
    pub instance: InstanceId,
    pub pid: u32,
    /// Which of its workers; none when it has no workers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<Slot>,
}

/// Its health check passes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstanceBecameHealthy {
    pub instance: InstanceId,
}

/// Its health check fails; it is restarted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstanceBecameUnhealthy {
    pub instance: InstanceId,
    pub reason: String,
    /// Which of its workers; none when it is about all that it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<Slot>,
}

/// Its process ended without being told to; it is restarted where `restart_in_ms` says when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstanceCrashed {
    pub instance: InstanceId,
    pub pid: u32,
    pub exit: Exit,
    pub uptime_ms: u64,
    pub restart_in_ms: Option<u64>,
    /// The limit of its memory, in bytes, where something of it was killed because it wanted more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out_of_memory: Option<u64>,
    /// Which of its workers; none when it has no workers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<Slot>,
}

impl InstanceCrashed {
    /// What ended it, in words: `exit code 3`, `killed by SIGKILL`, `out of memory (limit 256 MB)`.
    pub fn how(&self) -> String {
        match self.out_of_memory {
            Some(limit) => out_of_memory(limit),
            None => self.exit.to_string(),
        }
    }
}

/// `out of memory (limit 256 MB)`: in the unit that gives a whole number.
fn out_of_memory(limit: u64) -> String {
    let units = [(30, "GB"), (20, "MB"), (10, "KB")];
    let whole = units.into_iter().find(|(shift, _)| limit.is_multiple_of(1 << shift) && limit > 0);
    let (number, unit) = whole.map_or((limit, "bytes"), |(shift, unit)| (limit >> shift, unit));
    format!("out of memory (limit {number} {unit})")
}

/// Its process ended with 0 and its restart policy leaves it so.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstanceFinished {
    pub instance: InstanceId,
    pub pid: u32,
}

/// It crashed so often in a short time that somebody should look.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstanceCrashLooped {
    pub instance: InstanceId,
    pub crashes: u32,
    pub window_ms: u64,
    /// Which of its workers; none when it has no workers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<Slot>,
}

/// It has left its crash loop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstanceSteadied {
    pub instance: InstanceId,
}

/// It cannot be started on its servant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstanceFailed {
    pub instance: InstanceId,
    pub stage: Stage,
    pub reason: String,
}

/// A stranger held one of its ports; it has these now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstancePortsReplaced {
    pub instance: InstanceId,
    pub taken: u16,
    pub ports: BTreeMap<PortName, u16>,
}

/// Its servant stopped it, because it was itself told to end with all that it runs; it starts again with its servant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstanceHalted {
    pub instance: InstanceId,
}

/// It shall run no more; its servant is told to stop it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstanceRetired {
    pub instance: InstanceId,
    pub reason: RetireReason,
}

/// It is gone and its ports are free.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstanceStopped {
    pub instance: InstanceId,
}

/// Its output tells that something went wrong; see the report for what the fields are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstanceErred {
    pub instance: InstanceId,
    pub output: Output,
    pub number: u64,
    /// When its line was read from the process, by the clock of its host.
    pub read_at: Timestamp,
    pub pattern: String,
    pub fingerprint: String,
    pub headline: String,
    pub lines: Vec<String>,
    pub repeats: u64,
    pub others: u64,
}

/// Its servant is told to restart what it runs: its workers one after another, where it has some.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstanceRestartOrdered {
    pub instance: InstanceId,
}

/// Its servant runs more or fewer workers of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstanceWorkersScaled {
    pub instance: InstanceId,
    /// How many were wanted before; 0 when it begins.
    pub from: u16,
    pub to: u16,
    /// What they used of one CPU each, on average, in percent; none when it begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u16>,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl std::fmt::Display for Exit {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(formatter, "exit code {code}"),
            Self::Signal(signal) => write!(formatter, "killed by {}", signal_name(*signal)),
        }
    }
}

/// Why an instance shall run no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RetireReason {
    /// A newer release took its place.
    Replaced,
    /// Fewer are wanted.
    ScaledDown,
    /// Its app was removed.
    AppRemoved,
    /// Its servant was lost and another runs its successor.
    ServantLost,
    /// Its servant was removed.
    ServantRemoved,
}

impl std::fmt::Display for RetireReason {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Replaced => "replaced by a newer release",
            Self::ScaledDown => "scaled down",
            Self::AppRemoved => "app removed",
            Self::ServantLost => "servant lost",
            Self::ServantRemoved => "servant removed",
        })
    }
}
