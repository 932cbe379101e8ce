//! Queries and their replies: reads that every King answers from its state.

pub mod king;
pub mod metrics;

pub use king::{KingPlace, KingRole};
pub use metrics::{InstanceMetrics, MetricsQuestion, ServantMetrics};

use crate::disk::Disk;
use crate::event::LeftOut;
use crate::exec::{ExecOutcome, Limits, Stdio};
use crate::{
    Actor, AppName, CommandId, CommitHash, DomainName, Event, EventNumber, ExecId, ImageName, InstanceId,
    KingKey, Labels, Outcome, PortName, ProcessName, Selector, ServantId, ServantName, Timestamp,
};
use semver::Version;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The kinds of query, as they stand in `king.query.<kind>`.
pub const KINDS: &[&str] = &[
    "app.ls",
    "app.show",
    "version.ls",
    "release.ls",
    "instance.ls",
    "servant.ls",
    "config.ls",
    "command.show",
    "alert.ls",
    "king.show",
    "exec.ls",
    "exec.show",
    "why.instance",
    "why-not.app",
    "event.ls",
    "event.show",
    "state.show",
    "state.diff",
    "audit.key",
    "audit.checkpoint",
    "king.ls",
    "servant.metrics",
    "instance.metrics",
];

/// A question. An empty payload asks for everything.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// Only what belongs to this app; needed by `app.show`, `version.ls` and `release.ls`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<AppName>,
    /// Only what is on this servant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub servant: Option<ServantName>,
    /// Only the configuration of this process type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessName>,
    /// The command whose outcome is asked for; needed by `command.show`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<CommandId>,
    /// The instance that is asked for; needed by `why.instance`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceId>,
    /// The run that is asked for; needed by `exec.show`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec: Option<ExecId>,
    /// Go on after the page that ended with this: the `next` of its reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Wait until the state reflects this event, for at most 5 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_event: Option<EventNumber>,
}

/// A point in the past: after this event, or at this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Moment {
    Event(EventNumber),
    Time(Timestamp),
}

/// Which events: the question of `event.ls`, and with `number` of `event.show`. An empty one asks for the newest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventQuestion {
    /// Only from this event or time on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Moment>,
    /// Only up to this event or time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Moment>,
    /// Only what this actor did: `kingctl:ada`, or `ada` for whatever tool she used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<Actor>,
    /// Only events about this noun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noun: Option<String>,
    /// Only those about this app: its versions, releases, configuration and instances too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<AppName>,
    /// Only those about this servant: the instances on it too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub servant: Option<ServantName>,
    /// The newest so many of those that match; a page holds at most `EVENTS_PER_PAGE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Go on with what is older than the page before: the `next` of its reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// The event whose chain is asked for; needed by `event.show`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<EventNumber>,
    /// Wait until the answer reflects this event, for at most 5 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_event: Option<EventNumber>,
}

/// An event with what led to it and what it led to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChainItem {
    pub event: Event,
    /// From what led to it directly up to the first that is known: a command of somebody, or a report.
    pub causes: Vec<ChainLink>,
    pub consequences: Vec<ChainLink>,
    /// There are more consequences than are shown.
    pub cut: bool,
}

/// An event in a chain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChainLink {
    pub event: Event,
    /// What it led to, in the order of the log; empty in a list of causes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub led_to: Vec<ChainLink>,
}

/// The question of `state.show` and `state.diff`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateQuestion {
    /// Which moment; for a difference the earlier one.
    pub at: Moment,
    /// The later moment of a difference; now, when it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Moment>,
    /// Only things of this noun; `state.show` without one tells how many there are of each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noun: Option<String>,
    /// As in a question about now.
    #[serde(default)]
    pub question: Question,
}

/// What a state is as a whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StateItem {
    /// The event after which it was so.
    pub event: EventNumber,
    /// When that event was decided.
    pub at: Timestamp,
    pub epoch: u64,
    /// The King that wrote.
    pub king: Option<crate::KingId>,
    pub state_hash: crate::Digest,
    pub apps: u64,
    pub versions: u64,
    pub releases: u64,
    pub instances: u64,
    pub servants: u64,
    /// Servants that were lost.
    pub lost: u64,
    /// Configuration keys.
    pub config: u64,
    /// Mails that were planned and not yet sent.
    pub alerts: u64,
}

/// The reply: what was asked for, and the event that it reflects.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply<T> {
    /// The items, and the number of the newest event that they reflect.
    Ok {
        event: EventNumber,
        items: Vec<T>,
        /// There is more: ask again with this as `after`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<String>,
    },
    Refused(crate::Refusal),
}

/// An app in a list, and how its deploy goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AppItem {
    pub app: AppName,
    /// The newest version, by semver precedence.
    pub newest: Option<Version>,
    /// The version and release that shall run; none before the first deploy.
    pub version: Option<Version>,
    pub release: Option<u32>,
    pub phase: AppPhase,
    pub processes: Vec<ProcessItem>,
    /// What stands in the way, in words, when something does.
    pub obstacles: Vec<String>,
    /// The images that the kingdom holds for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<ImageName>,
    pub created_at: Timestamp,
}

/// How what runs relates to what shall run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AppPhase {
    /// Nothing was ever deployed.
    New,
    /// All that shall run does.
    Settled,
    /// On the way there.
    Settling,
    /// An instance of the release that shall run failed or loops: it will not get there by itself.
    Failing,
}

/// A process type and its instances.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProcessItem {
    pub process: ProcessName,
    /// How many shall run.
    pub wanted: u32,
    /// How many of the release that shall run are healthy.
    pub healthy: u32,
    /// How many of the release that shall run have a place.
    pub placed: u32,
    /// How many of earlier releases, or too many, are still there.
    pub old: u32,
}

/// A version in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VersionItem {
    pub app: AppName,
    pub version: Version,
    pub commit: Option<CommitHash>,
    pub archive: crate::Digest,
    pub published_at: Timestamp,
}

/// A release in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReleaseItem {
    pub app: AppName,
    pub release: u32,
    pub version: Version,
    /// Whether it is the one that shall run.
    pub current: bool,
    pub created_at: Timestamp,
}

/// An instance in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstanceItem {
    pub instance: InstanceId,
    pub app: AppName,
    pub process: ProcessName,
    pub release: u32,
    pub version: Option<Version>,
    pub servant: ServantName,
    pub phase: InstancePhase,
    pub pid: Option<u32>,
    /// How many workers its servant wants of it; none when it has none, or they were not counted yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<u16>,
    pub ports: BTreeMap<PortName, u16>,
    /// Crashes so far.
    pub crashes: u32,
    /// The reason of the phase, when there is one.
    pub reason: Option<String>,
    /// When the phase began.
    pub since: Timestamp,
}

/// Where an instance is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InstancePhase {
    /// Has a place; its process has not been started yet.
    Placed,
    /// Its process runs; its health is not known yet.
    Started,
    Healthy,
    Unhealthy,
    /// Ended without being told to; waits for its restart.
    Crashed,
    /// Ended with 0 and is left so.
    Finished,
    /// Cannot be started.
    Failed,
    /// Told to stop.
    Stopping,
}

impl std::fmt::Display for InstancePhase {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(match self {
            Self::Placed => "placed",
            Self::Started => "started",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::Crashed => "crashed",
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Stopping => "stopping",
        })
    }
}

/// A servant in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServantItem {
    pub servant: ServantId,
    pub name: ServantName,
    pub domain: DomainName,
    pub lost: bool,
    pub since: Timestamp,
    pub instances: u32,
    pub capabilities: BTreeMap<String, String>,
    pub cpus: u32,
    pub memory_bytes: u64,
    #[serde(default)]
    pub labels: Labels,
    /// How full its disk is; none while it never was.
    #[serde(default)]
    pub disk: Option<Disk>,
}

/// A run of a command on servants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExecItem {
    pub exec: ExecId,
    pub command: Vec<String>,
    /// Who asked for it.
    pub actor: Actor,
    pub requested_at: Timestamp,
    pub selector: Option<Selector>,
    pub instance: Option<InstanceId>,
    pub stdio: Stdio,
    pub limits: Limits,
    /// Who cancelled it, if anybody.
    pub cancelled_by: Option<Actor>,
    pub runs: Vec<ExecRunItem>,
    pub left_out: Vec<LeftOut>,
}

/// A run on one of its servants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExecRunItem {
    pub servant: ServantName,
    /// Whether nothing is heard of the servant now.
    pub lost: bool,
    /// How it ended; none while it goes on.
    pub outcome: Option<ExecOutcome>,
    pub ended_at: Option<Timestamp>,
}

/// A configuration key in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConfigItem {
    pub app: Option<AppName>,
    pub process: Option<ProcessName>,
    pub key: String,
    pub value: String,
    /// The revision of the configuration that set it.
    pub revision: u64,
}

/// The outcome of a command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CommandItem {
    pub id: CommandId,
    pub command: String,
    pub at: Timestamp,
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// A mail that is planned and not yet sent or given up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlertItem {
    pub mail: uuid::Uuid,
    pub incident: String,
    pub subject: String,
    pub planned_at: Timestamp,
}

/// The King that answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KingItem {
    pub king: crate::KingId,
    pub epoch: u64,
    pub event: EventNumber,
    /// BLAKE3 over the state: equal on every King that reflects the same event.
    pub state_hash: crate::Digest,
    /// The newest event that is published on its own subject.
    pub published: EventNumber,
    pub version: String,
}

/// What is other about one thing between two moments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DifferenceItem {
    /// `app`, `version`, `release`, `config`, `servant`, `instance`, `alert` or `king`.
    pub noun: String,
    /// The name or id of the thing.
    pub name: String,
    pub change: Change,
    /// Every field of what was added or removed; of what was changed, those that differ.
    pub fields: Vec<FieldChange>,
}

/// What happened to a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    Added,
    Removed,
    Changed,
}

/// A field before and after; none where it was not there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FieldChange {
    /// With dots where it lies in another: `counts.web`.
    pub field: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<serde_json::Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<serde_json::Value>,
}

/// A key by which signatures of Kings are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyItem {
    pub key: KingKey,
    /// Whether it is that of the King that answers.
    pub answers: bool,
}
