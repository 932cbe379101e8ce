//! The processes of a host, each with its holder: both live on when the Servant dies.

use crate::judge::Process;
use crate::world::king::BEGINNING;
use crate::world::net::Net;
use crate::world::packet::Node;
use events::{InstanceId, Timestamp};
use servant::holder::words::{Exit, Run, State, Told};
use servant::spec::Spec;
use std::collections::BTreeMap;

/// A holder, or what it left in its folder.
#[derive(Clone, Debug)]
pub struct Holder {
    pub spec: Spec,
    /// What it has recorded.
    pub state: State,
    pub is_alive: bool,
    /// Of the process that runs.
    pub pid: Option<u32>,
    began_ms: u64,
    told: Told,
}

/// All of them.
#[derive(Default)]
pub struct Host {
    holders: BTreeMap<InstanceId, Holder>,
    pids: u32,
}

impl Host {
    pub fn holders(&self) -> &BTreeMap<InstanceId, Holder> {
        &self.holders
    }

    pub fn holder(&self, id: InstanceId) -> Option<&Holder> {
        self.holders.get(&id)
    }

    /// Whether a stranger or another instance has one of its ports.
    pub fn taken(&self, spec: &Spec) -> Option<u16> {
        let others = self.holders.values().filter(|holder| holder.pid.is_some());
        let ports: Vec<u16> = others.flat_map(|holder| holder.spec.ports.values().copied()).collect();
        spec.ports.values().copied().find(|port| ports.contains(port))
    }

    /// Starts a process; none when one runs already.
    pub fn start(&mut self, net: &mut Net, node: Node, spec: &Spec) -> Option<u32> {
        let runs = self.holders.get(&spec.instance).is_some_and(|holder| holder.pid.is_some());
        if runs {
            return None;
        }
        self.pids += 1;
        let pid = self.pids;
        let mut state = self.holders.get(&spec.instance).map_or_else(State::default, |it| it.state.clone());
        state.begin(Run {
            slot: 0,
            run: state.last_run() + 1,
            pid,
            start_ticks: net.ms(),
            boot: "boot".to_owned(),
            at: Timestamp(BEGINNING + net.ms()),
        });
        let ports = spec.ports.values().copied().collect();
        net.judge.starts(spec.instance, Process { servant: node, pid, ports });
        self.holders.insert(
            spec.instance,
            Holder {
                spec: spec.clone(),
                state,
                is_alive: true,
                pid: Some(pid),
                began_ms: net.ms(),
                told: Told::Nothing,
            },
        );
        Some(pid)
    }

    /// How it is told to end.
    pub fn tell(&mut self, id: InstanceId, told: Told) -> bool {
        let Some(holder) = self.holders.get_mut(&id).filter(|holder| holder.pid.is_some()) else {
            return false;
        };
        holder.told = told;
        true
    }

    /// A process ends; its holder records it.
    pub fn end(&mut self, net: &mut Net, id: InstanceId, code: Option<i32>) -> Option<Exit> {
        let holder = self.holders.get_mut(&id)?;
        let pid = holder.pid.take()?;
        net.judge.ends(id);
        let exit = Exit {
            slot: 0,
            run: holder.state.last_run(),
            pid,
            code,
            signal: code.is_none().then_some(15),
            at: Timestamp(BEGINNING + net.ms()),
            uptime_ms: net.ms().saturating_sub(holder.began_ms),
            told: holder.told,
            out_of_memory: false,
        };
        holder.state.end(exit.clone());
        Some(exit)
    }

    /// A holder leaves, with nothing that runs; false when something does.
    pub fn leave(&mut self, id: InstanceId) -> bool {
        let is_free = self.holders.get(&id).is_none_or(|holder| holder.pid.is_none());
        if is_free && let Some(holder) = self.holders.get_mut(&id) {
            holder.is_alive = false;
        }
        is_free
    }

    /// Nothing of it is left.
    pub fn forget(&mut self, id: InstanceId) {
        if self.holders.get(&id).is_some_and(|holder| holder.pid.is_none()) {
            self.holders.remove(&id);
        }
    }

    /// What runs.
    pub fn running(&self) -> Vec<InstanceId> {
        self.holders.iter().filter(|(_, holder)| holder.pid.is_some()).map(|(id, _)| *id).collect()
    }
}
