//! Runs of commands on servants: those that go on, and the newest of those that have ended, bounded in number. The log
//! has all of them.

use events::event::ExecRequested;
use events::exec::ExecOutcome;
use events::limits::EXECS;
use events::{Actor, EventNumber, ExecId, ServantId, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The runs that are remembered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Execs(pub BTreeMap<ExecId, Exec>);

/// A run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exec {
    /// The number of the event that asked for it: the oldest is forgotten first.
    pub number: EventNumber,
    pub at: Timestamp,
    pub actor: Actor,
    pub requested: ExecRequested,
    /// Who cancelled it.
    pub cancelled_by: Option<Actor>,
    /// One for each of its servants.
    pub runs: BTreeMap<ServantId, ExecRun>,
}

/// A run on one of its servants; empty while it goes on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExecRun {
    pub ended: Option<(Timestamp, ExecOutcome)>,
}

impl Exec {
    /// Whether it goes on anywhere.
    pub fn is_open(&self) -> bool {
        self.runs.values().any(|run| run.ended.is_none())
    }

    /// Whether it goes on on this servant.
    pub fn is_open_on(&self, servant: ServantId) -> bool {
        self.runs.get(&servant).is_some_and(|run| run.ended.is_none())
    }

    /// The servants on which it goes on.
    pub fn open_on(&self) -> impl Iterator<Item = ServantId> + '_ {
        self.runs.iter().filter(|(_, run)| run.ended.is_none()).map(|(servant, _)| *servant)
    }
}

impl Execs {
    /// Whether none is remembered.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The run of this id.
    pub fn get(&self, exec: ExecId) -> Option<&Exec> {
        self.0.get(&exec)
    }

    /// What goes on on a servant, oldest first.
    pub fn on(&self, servant: ServantId) -> Vec<(ExecId, &Exec)> {
        let open = self.0.iter().filter(|(_, exec)| exec.is_open_on(servant));
        let mut open: Vec<_> = open.map(|(id, exec)| (*id, exec)).collect();
        open.sort_by_key(|(_, exec)| exec.number);
        open
    }

    /// Whether one more can be remembered.
    pub fn has_room(&self) -> bool {
        self.0.len() < EXECS || self.oldest_ended().is_some()
    }

    /// The run that is forgotten when one more comes.
    pub fn forgotten_next(&self) -> Option<ExecId> {
        (self.0.len() >= EXECS).then(|| self.oldest_ended()).flatten()
    }

    fn oldest_ended(&self) -> Option<ExecId> {
        let ended = self.0.iter().filter(|(_, exec)| !exec.is_open());
        ended.min_by_key(|(_, exec)| exec.number).map(|(id, _)| *id)
    }
}
