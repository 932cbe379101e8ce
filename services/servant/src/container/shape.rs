//! What a container is made of: from the spec of an instance to what the engine is told. Pure. Here stands what no
//! container of the kingdom ever gets, whoever asks for it: privileges, namespaces, devices or folders of its host.

use crate::app_events::place::{INSIDE, Paths};
use crate::app_events::variables;
use crate::spec::Spec;
use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigLogConfig, Mount, MountType, PortBinding, ResourcesUlimits,
    RestartPolicy, RestartPolicyNameEnum,
};
use events::manifest::signal_name;
use events::view::{AssignedContainer, AssignedImage};
use events::{InstanceId, ServantId, ServantName, Volume, VolumeAccess};
use std::collections::{BTreeMap, HashMap};

#[cfg(test)]
mod tests;

const SERVANT: &str = "king.servant";
const INSTANCE: &str = "king.instance";
const RUN: &str = "king.run";

/// What the first process of an image may need to set itself up and to give up its rights; everything else is dropped.
const CAPABILITIES: [&str; 7] =
    ["CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID"];
/// Most processes and threads of a container whose process type sets no limit.
const PIDS: i64 = 4096;
/// How much output the engine keeps of a container until it is read: three files of 16 MB.
const LOG_OPTIONS: [(&str, &str); 2] = [("max-size", "16m"), ("max-file", "3")];

/// Why an instance cannot be a container here, ever.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    #[error("it is no container")]
    NoContainer,
    #[error("the container {0}; this servant refuses that, whoever asks for it")]
    Refused(String),
    #[error("its image is {0:?} and not ready; this is a mistake of the servant")]
    ImageNotReady(AssignedImage),
}

/// By what the containers of a servant, or of one instance of it, are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    pub servant: ServantId,
    pub instance: Option<InstanceId>,
}

impl Labels {
    /// As the engine filters by them.
    pub fn filters(&self) -> Vec<String> {
        let instance = self.instance.map(|instance| format!("{INSTANCE}={instance}"));
        [format!("{SERVANT}={}", self.servant)].into_iter().chain(instance).collect()
    }

    /// The instance and run of a container with these labels; none if it is somebody else's.
    pub fn matching(&self, found: &HashMap<String, String>) -> Option<(String, u64)> {
        let instance = found.get(INSTANCE)?;
        let is_ours = found.get(SERVANT).is_some_and(|servant| *servant == self.servant.to_string())
            && self.instance.is_none_or(|wanted| *instance == wanted.to_string());
        let run = found.get(RUN)?.parse().ok()?;
        is_ours.then(|| (instance.clone(), run))
    }
}

/// The name of a container: two of one run cannot be.
pub fn name(instance: InstanceId, run: u64) -> String {
    format!("king-{instance}-{run}")
}

/// What a container is made for.
#[derive(Clone, Debug)]
pub struct Start {
    pub spec: Spec,
    /// The servant by its name, as the container shall know it.
    pub servant: ServantName,
    /// Where it tells of events, if it can.
    pub events: Option<Paths>,
}

/// A container that can be made.
#[derive(Clone, Debug)]
pub struct Shape {
    pub name: String,
    pub volumes: Vec<VolumeShape>,
    pub body: ContainerCreateBody,
}

/// A volume of an app on this servant.
#[derive(Clone, Debug)]
pub struct VolumeShape {
    /// What the engine calls it.
    pub name: String,
    /// By what it is told from a stranger's of the same name.
    pub labels: HashMap<String, String>,
}

impl Shape {
    /// What the engine is told for one run of an instance.
    ///
    /// # Errors
    /// When it asks for what no container gets.
    pub fn of(start: &Start, servant: ServantId, run: u64) -> Result<Self, ShapeError> {
        let Start { spec, events, servant: _ } = start;
        let container = spec.how.container.as_ref().ok_or(ShapeError::NoContainer)?;
        check(container)?;
        let body = ContainerCreateBody {
            image: Some(image(&container.image)?),
            env: Some(environment(start)),
            // A command is run as it is, whatever entry point the image has.
            entrypoint: spec.how.command.as_ref().map(|_| spec.arguments()),
            cmd: spec.how.command.as_ref().map(|_| Vec::new()),
            exposed_ports: Some(spec.container_ports().values().map(|port| exposed(*port)).collect()),
            labels: Some(labels(spec, servant, run)),
            user: spec.how.supervision.user.clone(),
            stop_signal: spec.how.supervision.stop_signal.map(|signal| signal_name(signal.number())),
            tty: Some(false),
            host_config: Some(host_config(spec, container, events.as_ref())),
            ..ContainerCreateBody::default()
        };
        let volumes = container.volumes.iter().map(|volume| volume_shape(spec, volume, servant)).collect();
        Ok(Self { name: name(spec.instance, run), volumes, body })
    }
}

fn check(container: &AssignedContainer) -> Result<(), ShapeError> {
    match container.volumes.iter().find_map(Volume::rule_broken) {
        Some(rule) => Err(ShapeError::Refused(rule)),
        None => Ok(()),
    }
}

/// What the engine calls the image.
fn image(image: &AssignedImage) -> Result<String, ShapeError> {
    match image {
        AssignedImage::Named(name) => Ok(name.to_string()),
        AssignedImage::Held(digest) => Ok(super::supply::held_name(digest)),
        AssignedImage::Build(_) | AssignedImage::Awaited => Err(ShapeError::ImageNotReady(image.clone())),
    }
}

fn labels(spec: &Spec, servant: ServantId, run: u64) -> HashMap<String, String> {
    [
        (SERVANT, servant.to_string()),
        (INSTANCE, spec.instance.to_string()),
        (RUN, run.to_string()),
        ("king.app", spec.key.app.to_string()),
        ("king.process", spec.process.to_string()),
        ("king.release", spec.key.release.to_string()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

fn environment(start: &Start) -> Vec<String> {
    let servant = ("KING_SERVANT".to_owned(), start.servant.to_string());
    let told = start.events.iter().flat_map(variables).chain([servant]);
    start.spec.environment(0).into_iter().chain(told).map(|(key, value)| format!("{key}={value}")).collect()
}

fn host_config(spec: &Spec, container: &AssignedContainer, events: Option<&Paths>) -> HostConfig {
    let limits = &spec.how.supervision.limits;
    let bytes = limits.memory_bytes.and_then(|bytes| i64::try_from(bytes).ok());
    let options = LOG_OPTIONS.map(|(key, value)| (key.to_owned(), value.to_owned()));
    HostConfig {
        privileged: Some(false),
        network_mode: Some("bridge".to_owned()),
        ipc_mode: Some("private".to_owned()),
        cap_drop: Some(vec!["ALL".to_owned()]),
        cap_add: Some(CAPABILITIES.map(str::to_owned).to_vec()),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        pids_limit: Some(limits.pids.map_or(PIDS, i64::from)),
        memory: bytes,
        // Without swap: a limit that is met by swapping is none.
        memory_swap: bytes,
        nano_cpus: limits.cpu_milli.map(|milli| i64::from(milli) * 1_000_000),
        ulimits: limits.open_files.map(|most| vec![open_files(most)]),
        // The Servant starts it again, by the rules of the process type.
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        auto_remove: Some(false),
        port_bindings: Some(port_bindings(spec)),
        mounts: Some(
            container.volumes.iter().map(|volume| mount(spec, volume)).chain(events.map(bound)).collect(),
        ),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(HashMap::from(options)),
        }),
        ..HostConfig::default()
    }
}

fn open_files(most: u32) -> ResourcesUlimits {
    let most = i64::from(most);
    ResourcesUlimits { name: Some("nofile".to_owned()), soft: Some(most), hard: Some(most) }
}

fn exposed(port: u16) -> String {
    format!("{port}/tcp")
}

/// Each port on the loopback of the host alone, as every instance's.
fn port_bindings(spec: &Spec) -> HashMap<String, Option<Vec<PortBinding>>> {
    let inside = spec.container_ports();
    let binding =
        |host: u16| PortBinding { host_ip: Some("127.0.0.1".to_owned()), host_port: Some(host.to_string()) };
    let bindings = spec.ports.iter().filter_map(|(name, host)| Some((*inside.get(name)?, *host)));
    let mut ports: BTreeMap<u16, Vec<PortBinding>> = BTreeMap::new();
    for (inside, host) in bindings {
        ports.entry(inside).or_default().push(binding(host));
    }
    ports.into_iter().map(|(port, bindings)| (exposed(port), Some(bindings))).collect()
}

fn volume_name(spec: &Spec, volume: &Volume) -> String {
    format!("king.{}.{}", spec.key.app, volume.name)
}

fn volume_shape(spec: &Spec, volume: &Volume, servant: ServantId) -> VolumeShape {
    let labels = [(SERVANT, servant.to_string()), ("king.app", spec.key.app.to_string())];
    VolumeShape {
        name: volume_name(spec, volume),
        labels: labels.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
    }
}

fn mount(spec: &Spec, volume: &Volume) -> Mount {
    Mount {
        typ: Some(MountType::VOLUME),
        source: Some(volume_name(spec, volume)),
        target: Some(volume.path.clone()),
        read_only: Some(volume.access == VolumeAccess::ReadOnly),
        ..Mount::default()
    }
}

/// The folder of its sockets, and nothing else of its host: it can write to what is in there, but make and remove nothing.
fn bound(events: &Paths) -> Mount {
    Mount {
        typ: Some(MountType::BIND),
        source: Some(events.folder.to_string_lossy().into_owned()),
        target: Some(INSIDE.to_owned()),
        read_only: Some(true),
        ..Mount::default()
    }
}

/// Whether a mount is the folder of the sockets of this instance, as far as the mount itself tells.
fn is_of_events(mount: &Mount, instance: InstanceId) -> bool {
    mount.typ == Some(MountType::BIND)
        && mount.target.as_deref() == Some(INSIDE)
        && mount.read_only == Some(true)
        && mount
            .source
            .as_deref()
            .is_some_and(|source| source.ends_with(&format!("/{}", instance.0.simple())))
}

/// Whether a container that is there is shut in as this servant's own are: one that is not was made by somebody else
/// under its labels, and is not taken over.
pub fn is_shut_in(found: &HostConfig, instance: InstanceId) -> bool {
    let of_host = |mode: &Option<String>| mode.as_deref().is_some_and(|mode| mode == "host");
    let is_empty = |list: &Option<Vec<String>>| list.as_ref().is_none_or(Vec::is_empty);
    let is_known = |mount: &Mount| mount.typ == Some(MountType::VOLUME) || is_of_events(mount, instance);
    found.privileged != Some(true)
        && ![&found.network_mode, &found.pid_mode, &found.ipc_mode, &found.uts_mode, &found.userns_mode]
            .into_iter()
            .any(of_host)
        && is_empty(&found.binds)
        && found
            .cap_add
            .iter()
            .flatten()
            .all(|right| CAPABILITIES.contains(&right.trim_start_matches("CAP_")))
        && found.devices.as_ref().is_none_or(Vec::is_empty)
        && found.mounts.iter().flatten().all(is_known)
        && found.security_opt.iter().flatten().any(|option| option.starts_with("no-new-privileges"))
}
