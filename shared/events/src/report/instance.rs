//! Reports about instances, by the servant that runs them.

use crate::kinds::noun;
use crate::subject::Output;
use crate::{Digest, EventName, Fields, InstanceId, Slot, Timestamp};
use serde::{Deserialize, Serialize};

noun! {
    /// Reports about instances.
    InstanceNews = "instance" {
        Started(Started) = "started" @ 1,
        Ready(Ready) = "ready" @ 1,
        Unhealthy(Unhealthy) = "unhealthy" @ 1,
        Exited(Exited) = "exited" @ 1,
        Looping(Looping) = "looping" @ 1,
        Steady(Steady) = "steady" @ 1,
        Failed(Failed) = "failed" @ 1,
        PortTaken(PortTaken) = "port-taken" @ 1,
        ImageBuilt(ImageBuilt) = "image-built" @ 1,
        Stopped(Stopped) = "stopped" @ 1,
        Emitted(Emitted) = "emitted" @ 1,
        Erred(Erred) = "erred" @ 1,
        Scaled(Scaled) = "scaled" @ 1,
    }
}

impl InstanceNews {
    /// The instance it is about.
    pub fn instance(&self) -> InstanceId {
        match self {
            Self::Started(news) => news.instance,
            Self::Ready(news) => news.instance,
            Self::Unhealthy(news) => news.instance,
            Self::Exited(news) => news.instance,
            Self::Looping(news) => news.instance,
            Self::Steady(news) => news.instance,
            Self::Failed(news) => news.instance,
            Self::PortTaken(news) => news.instance,
            Self::ImageBuilt(news) => news.instance,
            Self::Stopped(news) => news.instance,
            Self::Emitted(news) => news.instance,
            Self::Erred(news) => news.instance,
            Self::Scaled(news) => news.instance,
        }
    }
}

/// Its process was started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Started {
    pub instance: InstanceId,
    /// The process id on its host.
    pub pid: u32,
    /// Which of its workers; none when it has no workers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<Slot>,
}

/// Its health check passed for the first time since its process was started, or again after it had failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ready {
    pub instance: InstanceId,
}

/// Its health check failed as often in a row as the manifest allows; the servant restarts it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unhealthy {
    pub instance: InstanceId,
    pub reason: String,
    /// Which of its workers; none when it is about all that it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<Slot>,
}

/// Its process ended without being told to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exited {
    pub instance: InstanceId,
    pub pid: u32,
    /// The exit code, unless a signal ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// The signal that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// How long it had run, in milliseconds.
    pub uptime_ms: u64,
    /// When it will be started again, in milliseconds from its end; none if its restart policy says to leave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart_in_ms: Option<u64>,
    /// The limit of its memory, in bytes, where something of it was killed because it wanted more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out_of_memory: Option<u64>,
    /// Which of its workers; none when it has no workers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<Slot>,
}

/// It crashed so often in a short time that it counts as a crash loop; said once until it is steady again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Looping {
    pub instance: InstanceId,
    /// Crashes in the window.
    pub crashes: u32,
    /// The window, in milliseconds.
    pub window_ms: u64,
    /// Which of its workers; none when it has no workers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<Slot>,
}

/// It has left its crash loop: alive and healthy for as long as the servant asks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Steady {
    pub instance: InstanceId,
}

/// It cannot be started at all; the servant has given up until it is told something new.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failed {
    pub instance: InstanceId,
    pub stage: Stage,
    /// Why, with the last lines of a build.
    pub reason: String,
}

/// Where starting an instance failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    Fetch,
    Unpack,
    Build,
    Start,
}

/// A port that it was given is held by a process that is not the kingdom's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PortTaken {
    pub instance: InstanceId,
    pub port: u16,
}

/// The image that it was told to build is built and stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImageBuilt {
    pub instance: InstanceId,
    /// From this Dockerfile of its version.
    pub dockerfile: String,
    /// In the artifact store, as `docker save` writes it.
    pub image: Digest,
    pub bytes: u64,
}

/// It was told to stop and is gone, or the servant knows nothing of it; or the servant stopped it because it was itself told
/// to end with all that it runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stopped {
    pub instance: InstanceId,
}

/// It told of an event of its app.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Emitted {
    pub instance: InstanceId,
    pub name: EventName,
    pub fields: Fields,
    /// Events of this instance that were dropped since the one before, because they came too fast or found no room.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropped: u64,
}

/// Its output tells that something went wrong. Rate-limited at its servant: what is left out is counted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Erred {
    pub instance: InstanceId,
    pub output: Output,
    /// The number of the line in that stream.
    pub number: u64,
    /// When it was read from the process.
    pub at: Timestamp,
    /// By what it was known: the name of a usual pattern, or the app's own pattern.
    pub pattern: String,
    /// The same for errors that differ only in numbers.
    pub fingerprint: String,
    /// What went wrong, in one line.
    pub headline: String,
    /// The lines around it, itself among them, as they may be shown: without control characters, and cut.
    pub lines: Vec<String>,
    /// How many more with the same fingerprint there were since the last report of it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub repeats: u64,
    /// How many others were left out since the last report of this instance.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub others: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
pub(crate) fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// It runs so many workers from now on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scaled {
    pub instance: InstanceId,
    /// How many were wanted before; 0 when it begins.
    pub from: u16,
    pub to: u16,
    /// What they used of one CPU each, on average, in percent; none when it begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u16>,
}
