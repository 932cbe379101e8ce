//! What an app says of itself: its process types and what they need. `king.yaml` and `Procfile` are parsed into this
//! by the King; here is only the shape, and the rules that hold wherever it came from.

mod errors;
mod supervision;
mod workers;

pub use errors::Errors;
pub use supervision::{LIMITS_CPU, LIMITS_MEMORY, LIMITS_PIDS, Limits, StopSignal, Supervision, signal_name};
pub use workers::{Listen, WORKER_CPU, Workers};

use crate::limits::{
    COMMAND_LINE_BYTES, ENVIRONMENT_BYTES, HEALTH_MS, INSTANCES_PER_PROCESS, KEY_BYTES, KEYS_PER_SCOPE,
    PORTS_PER_PROCESS, PROCESSES_PER_APP, STOP_GRACE_MS, VALUE_BYTES, VOLUMES_PER_PROCESS,
};
use crate::{Image, PortName, ProcessName, Volume};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The manifest of one version of an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Run once per release on each servant, in the unpacked archive, before any process starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<CommandLine>,
    /// Tools with version requirements that every process type needs: `node: ">= 18"`, `git: "*"`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub needs: BTreeMap<String, semver::VersionReq>,
    /// The process types by name.
    pub processes: BTreeMap<ProcessName, Process>,
    /// Which lines of the output of all process types are errors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errors: Option<Errors>,
}

/// A process type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Process {
    /// What to run; with an image it may be absent: then the image says what to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandLine>,
    /// Run it as a container of this image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
    /// Where a container listens, by the names of its ports; those that are absent: where `PORT_<NAME>` says.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub container_ports: BTreeMap<PortName, u16>,
    /// Volumes of the app that a container sees.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
    /// How many instances the first deploy makes when it names no count.
    #[serde(default = "one")]
    pub count: u32,
    /// Environment variables; shared configuration overrides them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Ports to give out. The first is `PORT` in the environment, each is `PORT_<NAME>`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortName>,
    /// How to tell that an instance is healthy; without one, its port accepts, or it has been alive for 1 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthCheck>,
    /// What to do when it exits.
    #[serde(default)]
    pub restart: Restart,
    /// From the signal that tells it to end to SIGKILL when it is stopped, in milliseconds.
    #[serde(default = "ten_seconds")]
    pub stop_grace_ms: u64,
    /// Tools that this process type needs beyond those of the whole app.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub needs: BTreeMap<String, semver::VersionReq>,
    /// Which lines of its output are errors, beside what is said for the whole app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errors: Option<Errors>,
    /// What it may use, as whom it runs, how it ends and what it waits for.
    #[serde(default, skip_serializing_if = "Supervision::is_empty")]
    pub supervision: Supervision,
    /// How many processes an instance runs, when it is not one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<Workers>,
}

fn one() -> u32 {
    1
}

fn ten_seconds() -> u64 {
    10_000
}

impl Process {
    /// A process type as a Procfile line gives it: `web` has the port `http`, others have none.
    pub fn from_command(name: &ProcessName, command: CommandLine) -> Self {
        Self { command: Some(command), ..Self::named(name) }
    }

    /// A process type that runs nothing yet: `web` has the port `http`, others have none.
    pub fn named(name: &ProcessName) -> Self {
        let ports = if *name == ProcessName::web() { vec![PortName::http()] } else { Vec::new() };
        Self {
            command: None,
            image: None,
            container_ports: BTreeMap::new(),
            volumes: Vec::new(),
            count: one(),
            env: BTreeMap::new(),
            ports,
            health: None,
            restart: Restart::default(),
            stop_grace_ms: ten_seconds(),
            needs: BTreeMap::new(),
            errors: None,
            supervision: Supervision::default(),
            workers: None,
        }
    }
}

/// A command: a text for `/bin/sh -c`, or a list of arguments run as they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum CommandLine {
    Shell(String),
    Exec(Vec<String>),
}

impl CommandLine {
    /// The argument vector to execute.
    pub fn argv(&self) -> Vec<String> {
        match self {
            Self::Shell(text) => vec!["/bin/sh".into(), "-c".into(), text.clone()],
            Self::Exec(arguments) => arguments.clone(),
        }
    }

    fn rule_broken(&self) -> Option<String> {
        let (bytes, blank, nul) = match self {
            Self::Shell(text) => (text.len(), text.trim().is_empty(), text.contains('\0')),
            Self::Exec(list) => (
                list.iter().map(String::len).sum(),
                list.first().is_none_or(|program| program.is_empty()),
                list.iter().any(|argument| argument.contains('\0')),
            ),
        };
        if blank {
            Some("is empty".into())
        } else if nul {
            Some("holds a NUL byte".into())
        } else if bytes > COMMAND_LINE_BYTES {
            Some(format!("is {bytes} bytes long; at most {COMMAND_LINE_BYTES}"))
        } else {
            None
        }
    }
}

/// A health check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthCheck {
    /// A command that must end with 0, run as the instance is; then no port is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandLine>,
    /// An absolute path that must answer 200 to 399; without it, the port must accept a connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Which port to ask; the first when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<PortName>,
    /// Time between checks once healthy, in milliseconds.
    #[serde(default = "HealthCheck::interval")]
    pub interval_ms: u64,
    /// Time one check may take, in milliseconds.
    #[serde(default = "HealthCheck::timeout")]
    pub timeout_ms: u64,
    /// Time from the start in which failing checks are not yet held against the instance, in milliseconds.
    #[serde(default = "HealthCheck::grace")]
    pub grace_ms: u64,
    /// Failed checks in a row after which a healthy instance counts as unhealthy and is restarted.
    #[serde(default = "HealthCheck::failures")]
    pub failures: u32,
}

impl HealthCheck {
    fn interval() -> u64 {
        5000
    }
    fn timeout() -> u64 {
        2000
    }
    fn grace() -> u64 {
        60_000
    }
    fn failures() -> u32 {
        3
    }
}

impl Default for HealthCheck {
    fn default() -> Self {
        Self {
            command: None,
            path: None,
            port: None,
            interval_ms: Self::interval(),
            timeout_ms: Self::timeout(),
            grace_ms: Self::grace(),
            failures: Self::failures(),
        }
    }
}

/// What to do when an instance exits by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// Start it again, whatever its exit code.
    #[default]
    Always,
    /// Start it again unless it exited with 0.
    OnFailure,
    /// Leave it.
    Never,
}

/// A rule that a manifest breaks, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {rule}")]
pub struct ManifestError {
    /// The path of the field: `processes.web.ports`.
    pub field: String,
    /// What is wrong with it, and the rule.
    pub rule: String,
}

fn broken(field: impl Into<String>, rule: impl Into<String>) -> Result<(), ManifestError> {
    Err(ManifestError { field: field.into(), rule: rule.into() })
}

impl Manifest {
    /// Checks every rule that the shape alone does not.
    ///
    /// # Errors
    /// The first rule that is broken, in the order of the fields.
    pub fn check(&self) -> Result<(), ManifestError> {
        if let Some(rule) = self.build.as_ref().and_then(CommandLine::rule_broken) {
            return broken("build", rule);
        }
        check_needs("needs", &self.needs)?;
        if self.processes.is_empty() {
            return broken("processes", "is empty; name at least one process type, such as `web`");
        }
        if self.processes.len() > PROCESSES_PER_APP {
            return broken("processes", format!("has {}; at most {PROCESSES_PER_APP}", self.processes.len()));
        }
        check_errors("errors", self.errors.as_ref())?;
        self.processes.iter().try_for_each(|(name, process)| process.check(&format!("processes.{name}")))?;
        supervision::check_order(self)
    }

    /// The process type that a bare count means: `web`, or the only one.
    pub fn main_process(&self) -> Option<&ProcessName> {
        let web = ProcessName::web();
        match self.processes.get_key_value(&web) {
            Some((name, _)) => Some(name),
            None if self.processes.len() == 1 => self.processes.keys().next(),
            None => None,
        }
    }
}

impl Process {
    fn check(&self, at: &str) -> Result<(), ManifestError> {
        if let Some(rule) = self.command.as_ref().and_then(CommandLine::rule_broken) {
            return broken(format!("{at}.command"), rule);
        }
        self.check_container(at)?;
        if self.count > INSTANCES_PER_PROCESS {
            return broken(
                format!("{at}.count"),
                format!("is {}; at most {INSTANCES_PER_PROCESS}", self.count),
            );
        }
        check_environment(&format!("{at}.env"), &self.env)?;
        if self.ports.len() > PORTS_PER_PROCESS {
            return broken(
                format!("{at}.ports"),
                format!("has {}; at most {PORTS_PER_PROCESS}", self.ports.len()),
            );
        }
        if let Some(twice) = self.ports.iter().enumerate().find(|(i, port)| self.ports[..*i].contains(port)) {
            return broken(format!("{at}.ports"), format!("names {:?} twice", twice.1));
        }
        if self.stop_grace_ms > STOP_GRACE_MS {
            return broken(
                format!("{at}.stop_grace_ms"),
                format!("is {}; at most {STOP_GRACE_MS}", self.stop_grace_ms),
            );
        }
        check_needs(&format!("{at}.needs"), &self.needs)?;
        check_errors(&format!("{at}.errors"), self.errors.as_ref())?;
        self.supervision.check(at)?;
        if let Some(workers) = &self.workers {
            workers.check(&format!("{at}.workers"), self)?;
        }
        self.health.as_ref().map_or(Ok(()), |health| health.check(&format!("{at}.health"), &self.ports))
    }
}

impl Process {
    /// What only a container has, and what it may have.
    fn check_container(&self, at: &str) -> Result<(), ManifestError> {
        let Some(image) = &self.image else {
            return match self.command {
                None => broken(at, "has neither a `command` nor an `image`"),
                Some(_) if !self.volumes.is_empty() => {
                    broken(format!("{at}.volumes"), "needs an `image`: a process sees the host's own files")
                }
                Some(_) if !self.container_ports.is_empty() => {
                    broken(format!("{at}.ports"), "gives the port of a container, and there is no `image`")
                }
                Some(_) => Ok(()),
            };
        };
        if let Some(rule) = image.rule_broken() {
            return broken(format!("{at}.image"), rule);
        }
        if let Some((name, _)) =
            self.container_ports.iter().find(|(name, port)| **port == 0 || !self.ports.contains(name))
        {
            return broken(format!("{at}.ports"), format!("gives {name} a port of 0, or does not list it"));
        }
        if self.supervision.limits.nice.is_some() {
            return broken(format!("{at}.limits.nice"), "cannot be had for a container; use `cpu`");
        }
        if self.volumes.len() > VOLUMES_PER_PROCESS {
            return broken(
                format!("{at}.volumes"),
                format!("has {}; at most {VOLUMES_PER_PROCESS}", self.volumes.len()),
            );
        }
        match self.volumes.iter().find_map(Volume::rule_broken) {
            Some(rule) => broken(format!("{at}.volumes"), rule),
            None => Ok(()),
        }
    }
}

impl HealthCheck {
    fn check(&self, at: &str, ports: &[PortName]) -> Result<(), ManifestError> {
        if let Some(rule) = self.command.as_ref().and_then(CommandLine::rule_broken) {
            return broken(format!("{at}.command"), rule);
        }
        if self.command.is_some() && (self.path.is_some() || self.port.is_some()) {
            return broken(format!("{at}.command"), "stands beside a path or port; ask in one way");
        }
        if ports.is_empty() && self.command.is_none() {
            return broken(
                at,
                "needs a port to ask, and the process type has none: add `ports: [http]`, or ask a `command`",
            );
        }
        if let Some(port) = self.port.as_ref().filter(|port| !ports.contains(port)) {
            return broken(format!("{at}.port"), format!("names {port:?}, which is not in `ports`"));
        }
        if let Some(path) = &self.path {
            let plain = path.bytes().all(|byte| byte.is_ascii_graphic());
            if !path.starts_with('/') || !plain || path.len() > 1024 {
                return broken(
                    format!("{at}.path"),
                    "must start with '/' and hold at most 1024 printable characters",
                );
            }
        }
        for (field, value) in
            [("interval_ms", self.interval_ms), ("timeout_ms", self.timeout_ms), ("grace_ms", self.grace_ms)]
        {
            if !(1..=HEALTH_MS).contains(&value) {
                return broken(format!("{at}.{field}"), format!("is {value}; from 1 to {HEALTH_MS}"));
            }
        }
        if !(1..=100).contains(&self.failures) {
            return broken(format!("{at}.failures"), format!("is {}; from 1 to 100", self.failures));
        }
        Ok(())
    }
}

fn check_errors(at: &str, errors: Option<&Errors>) -> Result<(), ManifestError> {
    errors.map_or(Ok(()), |errors| errors.check(at))
}

fn check_needs(at: &str, needs: &BTreeMap<String, semver::VersionReq>) -> Result<(), ManifestError> {
    for tool in needs.keys() {
        let plain =
            tool.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if !plain || tool.is_empty() || tool.len() > 63 {
            let tool = crate::name::cut(tool);
            return broken(format!("{at}.{tool}"), "is not the name of a tool: 1 to 63 of a-z, 0-9 and '-'");
        }
    }
    if needs.len() > crate::limits::CAPABILITIES {
        return broken(at, format!("has {}; at most {}", needs.len(), crate::limits::CAPABILITIES));
    }
    Ok(())
}

/// Checks the names, sizes and number of environment variables or configuration keys.
///
/// # Errors
/// The first rule that is broken; `at` is the path that the error names.
pub fn check_environment(at: &str, environment: &BTreeMap<String, String>) -> Result<(), ManifestError> {
    if environment.len() > KEYS_PER_SCOPE {
        return broken(at, format!("has {} keys; at most {KEYS_PER_SCOPE}", environment.len()));
    }
    let mut bytes = 0;
    for (key, value) in environment {
        check_key(at, key)?;
        if value.len() > VALUE_BYTES {
            return broken(
                format!("{at}.{key}"),
                format!("is {} bytes long; at most {VALUE_BYTES}", value.len()),
            );
        }
        if value.contains('\0') {
            return broken(format!("{at}.{key}"), "holds a NUL byte");
        }
        bytes += key.len() + value.len();
    }
    if bytes > ENVIRONMENT_BYTES {
        return broken(at, format!("holds {bytes} bytes; at most {ENVIRONMENT_BYTES}"));
    }
    Ok(())
}

/// Checks the name of one environment variable or configuration key.
///
/// # Errors
/// The rule, with the offending name cut to a printable length.
pub fn check_key(at: &str, key: &str) -> Result<(), ManifestError> {
    let mut bytes = key.bytes();
    let first = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    let rest = bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let shown = crate::name::cut(key);
    if !first || !rest || key.len() > KEY_BYTES {
        return broken(
            at,
            format!("has the key {shown:?}: 1 to {KEY_BYTES} of A-Z, a-z, 0-9 and '_', no digit first"),
        );
    }
    if key == "PORT" || key.starts_with("PORT_") || key.starts_with("KING_") {
        return broken(
            at,
            format!("has the key {shown:?}: PORT, PORT_* and KING_* are given by the kingdom"),
        );
    }
    Ok(())
}
