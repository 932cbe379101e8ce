//! An incident that has begun.

use events::disk::Disk;
use events::event::{InstanceCrashed, RetireReason};
use events::{Event, EventNumber, InstanceId, ServantId, Timestamp};
use std::fmt;

/// Which incident it is. At most one of each is open at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    Crash(InstanceId),
    CrashLoop(InstanceId),
    InstanceFailed(InstanceId),
    ServantLost(ServantId),
    DiskFull(ServantId),
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crash(instance) => write!(formatter, "crash/{instance}"),
            Self::CrashLoop(instance) => write!(formatter, "crash-loop/{instance}"),
            Self::InstanceFailed(instance) => write!(formatter, "instance-failed/{instance}"),
            Self::ServantLost(servant) => write!(formatter, "servant-lost/{servant}"),
            Self::DiskFull(servant) => write!(formatter, "disk-full/{servant}"),
        }
    }
}

/// What is remembered of an incident until it ends.
#[derive(Clone, Debug)]
pub struct Open {
    /// The event that began it.
    pub event: EventNumber,
    pub since: Timestamp,
    /// Its subject without the tag, the same for both mails.
    pub headline: String,
    /// Crashes since it began.
    pub crashes: u32,
    /// The last crash, and the event that told of it.
    pub last_crash: Option<(Event, InstanceCrashed)>,
    /// The last event that said healthy, also when a crash came after it.
    pub last_healthy: Option<EventNumber>,
    /// Since when it is healthy.
    pub healthy_at: Option<Timestamp>,
}

impl Open {
    pub(super) fn new(event: &Event) -> Self {
        Self {
            event: event.id,
            since: event.at,
            headline: String::new(),
            crashes: 0,
            last_crash: None,
            last_healthy: None,
            healthy_at: None,
        }
    }

    pub(super) fn crashed_again(&mut self, event: &Event, crashed: &InstanceCrashed) {
        self.crashes += 1;
        self.last_crash = Some((event.clone(), crashed.clone()));
        self.healthy_at = None;
    }

    pub(super) fn healthy(&mut self, event: &Event) {
        if self.healthy_at.is_none() {
            self.last_healthy = Some(event.id);
            self.healthy_at = Some(event.at);
        }
    }

    pub(super) fn unhealthy(&mut self) {
        self.healthy_at = None;
    }
}

/// How an incident ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    Healthy,
    Steadied,
    Finished,
    Retired(RetireReason),
    Stopped,
    Returned,
    Removed,
    RoomAgain(Disk),
}

impl fmt::Display for Closing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Healthy => formatter.write_str("it is healthy again"),
            Self::Steadied => formatter.write_str("it has left its crash loop"),
            Self::Finished => formatter.write_str("it finished with exit code 0"),
            Self::Retired(reason) => write!(formatter, "it was retired: {reason}"),
            Self::Stopped => formatter.write_str("it was stopped"),
            Self::Returned => formatter.write_str("it is heard again"),
            Self::RoomAgain(disk) => write!(formatter, "{} % are used now", disk.used_percent),
            Self::Removed => formatter.write_str("it was removed from the kingdom"),
        }
    }
}
