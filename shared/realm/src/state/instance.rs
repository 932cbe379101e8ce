//! An instance: one running copy of a process type, on a servant, with its ports.

use events::query::InstancePhase;
use events::subject::Output;
use events::{AppName, PortName, ProcessName, ServantId, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// An instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    pub app: AppName,
    pub process: ProcessName,
    pub release: u32,
    pub servant: ServantId,
    pub ports: BTreeMap<PortName, u16>,
    pub phase: InstancePhase,
    pub pid: Option<u32>,
    /// Crashes so far.
    pub crashes: u32,
    /// Whether it is in a crash loop.
    pub looping: bool,
    /// The last line of each output stream that told of an error.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub erred: BTreeMap<Output, u64>,
    /// How many workers its servant wants of it; none when it has none, or they were not counted yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<u16>,
    /// How often a restart of it was ordered.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub restarts: u32,
    /// Why it is in its phase, when that is not plain.
    pub reason: Option<String>,
    /// When its phase began.
    pub since: Timestamp,
}

fn is_zero(restarts: &u32) -> bool {
    *restarts == 0
}

impl Instance {
    /// Whether it was told to stop.
    pub fn is_retired(&self) -> bool {
        self.phase == InstancePhase::Stopping
    }

    /// Whether it has done its work and is left so.
    pub fn is_finished(&self) -> bool {
        self.phase == InstancePhase::Finished
    }

    /// Whether its process ended by itself and was not started again yet.
    pub fn has_ended(&self) -> bool {
        matches!(self.phase, InstancePhase::Crashed | InstancePhase::Finished)
    }

    /// Whether it waits to be started again with its servant or its host.
    pub fn is_halted(&self) -> bool {
        self.phase == InstancePhase::Placed && self.reason.is_some()
    }

    /// Whether its process was never started, since its placing or a restart of its host.
    pub fn is_untouched(&self) -> bool {
        self.phase == InstancePhase::Placed && self.reason.is_none()
    }

    /// Whether it does what it is there for: it is healthy and not between two crashes of a loop, or has done its work.
    pub fn is_well(&self) -> bool {
        match self.phase {
            InstancePhase::Healthy => !self.looping,
            InstancePhase::Finished => true,
            InstancePhase::Placed
            | InstancePhase::Started
            | InstancePhase::Unhealthy
            | InstancePhase::Crashed
            | InstancePhase::Failed
            | InstancePhase::Stopping => false,
        }
    }

    /// Whether it will not become healthy by itself.
    pub fn is_hopeless(&self) -> bool {
        !self.is_retired() && (self.phase == InstancePhase::Failed || self.looping)
    }

    pub(crate) fn enter(&mut self, phase: InstancePhase, at: Timestamp, reason: Option<String>) {
        self.phase = phase;
        self.since = at;
        self.reason = reason;
    }
}
