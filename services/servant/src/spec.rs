//! What the Servant knows of an instance: everything that starting, checking and stopping it needs, in one value.

use crate::holder::words::SocketOrder;
use events::manifest::{CommandLine, HealthCheck, Listen};
use events::view::{AssignedImage, AssignedInstance, AssignedProcess, AssignedRelease, Assignment};
use events::{AppName, Digest, InstanceId, PortName, ProcessName, Slot};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

/// A release on this host. The digest keeps a removed and made again app apart from its old self.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ReleaseKey {
    pub app: AppName,
    pub release: u32,
    pub archive: Digest,
    /// The image of a container, which needs nothing else of its release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<AssignedImage>,
}

impl fmt::Display for ReleaseKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} release {}", self.app, self.release)
    }
}

/// An instance as it shall be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    pub instance: InstanceId,
    pub key: ReleaseKey,
    pub version: semver::Version,
    pub build: Option<CommandLine>,
    pub process: ProcessName,
    pub ports: BTreeMap<PortName, u16>,
    pub how: AssignedProcess,
    /// How often a restart was ordered.
    #[serde(default)]
    pub restarts: u32,
}

impl Spec {
    fn new(instance: &AssignedInstance, release: &AssignedRelease) -> Option<Self> {
        let how = release.processes.get(&instance.process)?.clone();
        if how.command.is_none() && how.container.is_none() {
            return None;
        }
        Some(Self {
            instance: instance.instance,
            key: ReleaseKey {
                app: release.app.clone(),
                release: release.release,
                archive: release.archive,
                image: how.container.as_ref().map(|container| container.image.clone()),
            },
            version: release.version.clone(),
            build: release.build.clone(),
            process: instance.process.clone(),
            ports: instance.ports.clone(),
            how,
            restarts: instance.restarts,
        })
    }

    /// What to execute; nothing where an image says it.
    pub fn arguments(&self) -> Vec<String> {
        self.how.command.as_ref().map(CommandLine::argv).unwrap_or_default()
    }

    /// What runs it.
    pub fn runtime(&self) -> Runtime {
        if self.how.container.is_some() { Runtime::Container } else { Runtime::Process }
    }

    /// The ports that its program listens on, by their names: those of a container are its own.
    pub fn container_ports(&self) -> BTreeMap<PortName, u16> {
        let own = |name: &PortName| self.how.container.as_ref()?.ports.get(name).copied();
        self.ports.iter().map(|(name, port)| (name.clone(), own(name).unwrap_or(*port))).collect()
    }

    /// How its workers come to their sockets; none when it has no workers.
    pub fn listen(&self) -> Option<Listen> {
        self.how.workers.as_ref().map(|workers| workers.listen)
    }

    /// The port that is `PORT` in this slot: the first in the order of the manifest, unless workers have one each.
    pub fn port(&self, slot: Slot) -> Option<u16> {
        self.first_name(slot).and_then(|name| self.ports.get(name)).copied()
    }

    fn first_name(&self, slot: Slot) -> Option<&PortName> {
        let place = match self.listen() {
            Some(Listen::Own) => usize::from(slot),
            Some(Listen::Shared) | None => 0,
        };
        self.how.ports.get(place)
    }

    /// How to tell that the process of this slot is healthy; none when there is nothing to ask, or only a port where its
    /// holder listens and so a connection says nothing.
    pub fn health(&self, slot: Slot) -> Option<HealthTarget> {
        let check = self.how.health.clone().unwrap_or_default();
        let port = match (self.listen(), &check.port) {
            (Some(Listen::Shared), _) if check.path.is_none() => None,
            (Some(Listen::Shared) | None, Some(name)) => self.ports.get(name).copied(),
            (Some(Listen::Own), _) | (_, None) => self.port(slot),
        };
        // A command asks no port.
        let port = port.or(check.command.as_ref().map(|_| 0))?;
        Some(HealthTarget { port, check, runtime: self.runtime() })
    }

    /// The ports that the process of this slot binds itself.
    pub fn bound_ports(&self, slot: Slot) -> Vec<u16> {
        match self.listen() {
            Some(Listen::Shared) => Vec::new(),
            Some(Listen::Own) => self.port(slot).into_iter().collect(),
            None => self.ports.values().copied().collect(),
        }
    }

    /// The sockets that its holder binds and hands to every worker, in the order of the manifest.
    pub fn sockets(&self) -> Vec<SocketOrder> {
        let workers = self.how.workers.as_ref().filter(|workers| workers.listen == Listen::Shared);
        let socket = |name: &PortName| {
            let address = SocketAddr::new(workers?.bound_to(), *self.ports.get(name)?);
            Some(SocketOrder { name: name.to_string(), address, backlog: BACKLOG })
        };
        self.how.ports.iter().filter_map(socket).collect()
    }

    /// What the process of this slot finds in its environment.
    pub fn environment(&self, slot: Slot) -> BTreeMap<String, String> {
        let mut env = self.how.env.clone();
        let ports = self.container_ports();
        if let Some(port) = self.first_name(slot).and_then(|name| ports.get(name)) {
            env.insert("PORT".into(), port.to_string());
        }
        for (name, port) in &ports {
            env.insert(name.variable(), port.to_string());
        }
        env.insert("KING_APP".into(), self.key.app.to_string());
        env.insert("KING_PROCESS".into(), self.process.to_string());
        env.insert("KING_RELEASE".into(), self.key.release.to_string());
        env.insert("KING_VERSION".into(), self.version.to_string());
        env.insert(INSTANCE_VARIABLE.into(), self.instance.to_string());
        env
    }
}

/// Most connections that wait in a shared socket for a worker.
const BACKLOG: u16 = 4096;

/// The variable by which strays of an instance are found.
pub const INSTANCE_VARIABLE: &str = "KING_INSTANCE";

/// What runs an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    /// A holder, as a process of this host.
    Process,
    /// The engine, as a container.
    Container,
}

/// Where and how to ask for health; the port means nothing where a command asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthTarget {
    pub port: u16,
    pub runtime: Runtime,
    pub check: HealthCheck,
}

/// The instances of an assignment. One that names a release or process type that the assignment lacks is left out and
/// given by its id: it cannot be started.
pub fn specs(assignment: &Assignment) -> (Vec<Spec>, Vec<InstanceId>) {
    let releases: BTreeMap<_, _> =
        assignment.releases.iter().map(|release| ((&release.app, release.release), release)).collect();
    let (mut whole, mut broken) = (Vec::new(), Vec::new());
    for instance in &assignment.instances {
        let release = releases.get(&(&instance.app, instance.release));
        match release.and_then(|release| Spec::new(instance, release)) {
            Some(spec) => whole.push(spec),
            None => broken.push(instance.instance),
        }
    }
    (whole, broken)
}
