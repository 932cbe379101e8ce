//! What can happen to instances, and what can be done about it.

use crate::container::supply::Built;
use crate::holder::words::{Exit, Told};
use crate::spec::{HealthTarget, ReleaseKey, Spec};
use events::report::{Exited, InstanceNews, Stage};
use events::{InstanceId, Slot};
use std::collections::BTreeMap;

/// Milliseconds on a clock that never goes back; from where does not matter.
pub type Moment = u64;

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// At the start: an instance that is remembered or found, before anything is assigned.
    Known {
        spec: Box<Spec>,
        /// Crashes before that which were not reported, though a successor was started.
        missed: Vec<Exit>,
        /// What was found in each slot.
        adopted: BTreeMap<Slot, Adopted>,
        looping: bool,
        /// How many workers the King was told of last.
        workers: u16,
    },
    /// What shall run, whole and stored. `broken` cannot be started: the assignment contradicts itself.
    Assigned {
        specs: Vec<Spec>,
        broken: Vec<InstanceId>,
    },
    /// A release is fetched, unpacked and built.
    ReleaseReady(ReleaseKey),
    ReleaseFailed {
        key: ReleaseKey,
        stage: Stage,
        reason: String,
    },
    /// The image that this instance was to build for all; the next assignment names it.
    ImageBuilt {
        instance: InstanceId,
        built: Built,
    },
    Started {
        instance: InstanceId,
        slot: Slot,
        pid: u32,
    },
    StartFailed {
        instance: InstanceId,
        slot: Slot,
        trouble: StartTrouble,
    },
    /// Its process has ended, with all that it left.
    Exited {
        instance: InstanceId,
        exit: Exit,
    },
    /// A health check of this run passed.
    Passed {
        instance: InstanceId,
        slot: Slot,
        run: u64,
    },
    CheckFailed {
        instance: InstanceId,
        slot: Slot,
        run: u64,
        reason: String,
    },
    /// What its workers used of one CPU each since the last look, on average, in thousandths.
    Load {
        instance: InstanceId,
        mean_permille: u32,
    },
    /// Its holder is gone: it is no more.
    Gone(InstanceId),
    /// Time has passed.
    Tick,
    /// Stop all instances, for the Servant ends; they shall run again when it is back.
    End,
}

/// How a slot of an instance was found at the start.
#[derive(Clone, Debug, PartialEq)]
pub enum Adopted {
    /// Nothing of it runs and nothing is owed.
    Idle,
    Running {
        pid: u32,
        is_reported: Reported,
        /// How many restarts were ordered before it was started.
        restarts: u32,
    },
    Exited {
        exit: Exit,
        is_reported: Reported,
    },
}

impl Adopted {
    /// Whether something of it runs, or its end is to be told.
    pub fn matters(&self) -> bool {
        match self {
            Self::Idle => false,
            Self::Running { .. } => true,
            Self::Exited { exit, is_reported } => *is_reported == Reported::No && exit.told == Told::Nothing,
        }
    }
}

/// Whether the King was told, or will be: the report is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reported {
    Yes,
    No,
}

/// Why a process could not be started.
#[derive(Clone, Debug, PartialEq)]
pub enum StartTrouble {
    /// A stranger has the port.
    PortTaken(u16),
    /// Its release is no longer on this host.
    ReleaseGone,
    /// It may work later.
    Passing(String),
    /// It will not work.
    Hopeless(String),
}

/// What shall be done. Every action may be done again safely.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Durably, before anything of an instance is forgotten. A start need not wait for it: what is not reported yet is
    /// told again by the holder.
    Report(InstanceNews),
    /// The same, with the run that has ended: once reported, it is not reported again.
    ReportExit {
        news: Exited,
        run: u64,
    },
    /// Fetch, unpack and build the release of this instance.
    Prepare(Box<Spec>),
    /// Probe its ports and start its process, with a holder if it has none.
    Start {
        spec: Box<Spec>,
        slot: Slot,
    },
    Signal {
        instance: InstanceId,
        slot: Slot,
        told: Told,
    },
    /// Ask for its health once.
    Check {
        instance: InstanceId,
        slot: Slot,
        run: u64,
        target: HealthTarget,
    },
    /// Let its holder go; ship what is left of its output; forget it.
    Forget(InstanceId),
    /// Let its holder go; keep its folder.
    Dismiss(InstanceId),
}
