//! What runs on hosts: once, where it was assigned, on ports of its own.

use super::Judge;
use crate::world::packet::Node;
use events::view::{Assignment, Stamp, Stamped};
use events::{EventNumber, InstanceId};
use std::collections::BTreeMap;

/// A running process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    pub servant: Node,
    pub pid: u32,
    pub ports: Vec<u16>,
}

#[derive(Default)]
pub(super) struct HostsJudge {
    running: BTreeMap<InstanceId, Process>,
    acted: BTreeMap<Node, Stamp>,
}

impl Judge {
    /// A servant acts on an assignment, which has to be on its disk.
    pub fn acts(&mut self, node: Node, assignment: &Stamped<Assignment>, on_disk: Option<Stamp>) {
        let stamp = assignment.stamp;
        let before = self.hosts.acted.insert(node, stamp);
        self.require(
            before.is_none_or(|before| before <= stamp),
            "a servant's assignments never go back",
            || format!("servant {node} went from {before:?} to {stamp:?}"),
        );
        self.require(on_disk == Some(stamp), "an assignment is stored before it is acted on", || {
            format!("{stamp:?} is acted on; {on_disk:?} is on the disk")
        });
        let stored = self.log.state.last;
        self.require(stamp.event <= stored, "no view rests on an event that is not stored", || {
            format!("{stamp:?} beyond {stored}")
        });
    }

    /// A process starts.
    pub fn starts(&mut self, instance: InstanceId, process: Process) {
        let other = self
            .hosts
            .running
            .values()
            .find(|other| {
                other.servant == process.servant
                    && other.ports.iter().any(|port| process.ports.contains(port))
            })
            .cloned();
        self.require(other.is_none(), "two processes of a host never share a port", || {
            format!("{instance} {process:?} and {other:?}")
        });
        let before = self.hosts.running.insert(instance, process.clone());
        self.require(before.is_none(), "an instance runs once", || {
            format!("{instance} runs as {before:?} and as {process:?}")
        });
    }

    /// A process has ended.
    pub fn ends(&mut self, instance: InstanceId) {
        self.hosts.running.remove(&instance);
    }

    /// What runs on a servant.
    pub fn running_on(&self, node: Node) -> Vec<InstanceId> {
        self.hosts.running.iter().filter(|(_, process)| process.servant == node).map(|(id, _)| *id).collect()
    }

    /// The log says that an instance is gone.
    pub(super) fn is_gone(&mut self, instance: InstanceId, event: EventNumber) {
        let running = self.hosts.running.get(&instance).cloned();
        self.require(running.is_none(), "what is reported to be stopped does not run", || {
            format!("event {event} says that {instance} is gone, and {running:?} runs")
        });
    }
}
