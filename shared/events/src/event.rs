//! Events: what a King decided is true, in the past tense. The state is their fold and nothing else.

pub mod app;
pub mod version;
pub mod release;
pub mod config;
pub mod instance;
pub mod servant;
pub mod command;
pub mod alert;
pub mod king;
pub mod exec;

pub use alert::{AlertEvent, MailFailed, MailPlanned, MailSent};
pub use app::{
    AppCreated, AppDeployed, AppEmitted, AppEvent, AppImageAdded, AppPushed, AppRemoved, AppScaled,
    AppSettled,
};
pub use command::{CommandAccepted, CommandEvent, CommandRefused};
pub use config::{ConfigEvent, ConfigSet, ConfigUnset};
pub use exec::{ExecCancelled, ExecEnded, ExecEvent, ExecRequested, LeftOut};
pub use instance::{
    Exit, InstanceBecameHealthy, InstanceBecameUnhealthy, InstanceCrashLooped, InstanceCrashed,
    InstanceErred, InstanceEvent, InstanceFailed, InstanceFinished, InstanceHalted, InstancePlaced,
    InstancePortsReplaced, InstanceRestartOrdered, InstanceRetired, InstanceStarted, InstanceSteadied,
    InstanceStopped, InstanceWorkersScaled, RetireReason,
};
pub use king::{KingCheckpointed, KingElected, KingEvent};
pub use release::{ReleaseCreated, ReleaseEvent};
pub use servant::{
    ServantChanged, ServantDiskChanged, ServantDiskCleaned, ServantEvent, ServantJoined, ServantLost,
    ServantRemoved, ServantReturned,
};
pub use version::{VersionEvent, VersionImageBuilt, VersionPublished};

use crate::kinds::{Data, DataSeed, nouns};
use crate::wire::{Field, Kind, Like};
use crate::{Actor, CommandId, DomainName, EventNumber, ReportId, Timestamp};
use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::marker::PhantomData;

nouns! {
    /// Everything that can be true.
    Fact {
        App(AppEvent) = "app",
        Version(VersionEvent) = "version",
        Release(ReleaseEvent) = "release",
        Config(ConfigEvent) = "config",
        Instance(InstanceEvent) = "instance",
        Servant(ServantEvent) = "servant",
        Command(CommandEvent) = "command",
        Alert(AlertEvent) = "alert",
        King(KingEvent) = "king",
        Exec(ExecEvent) = "exec",
    }
}

impl Fact {
    /// The name or id of what the fact is about, as it stands in the public event's subject.
    pub fn subject_id(&self) -> String {
        match self {
            Self::App(event) => event.app().to_string(),
            Self::Version(event) => event.app().to_string(),
            Self::Release(event) => event.app().to_string(),
            Self::Config(event) => event.scope().map_or_else(|| "global".to_owned(), ToString::to_string),
            Self::Instance(event) => event.instance().to_string(),
            Self::Servant(event) => event.servant().to_string(),
            Self::Command(event) => event.id().to_string(),
            Self::Alert(event) => event.mail().to_string(),
            Self::King(event) => event.king().to_string(),
            Self::Exec(event) => event.exec().to_string(),
        }
    }

    /// The verb alone: `crashed` of `instance.crashed`.
    pub fn verb(&self) -> &'static str {
        let kind = self.kind();
        kind.split_once('.').map_or(kind, |(_, verb)| verb)
    }
}

/// What led to an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// A command, by its id.
    Command(CommandId),
    /// A report, by its sender and number.
    Report(ReportId),
    /// The passing of time: work that an earlier event left to be continued.
    Tick,
    /// A King that took over.
    Election,
}

/// A fact with its envelope.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Its number in the log, which is its id.
    pub id: EventNumber,
    pub at: Timestamp,
    pub actor: Actor,
    pub cause: Cause,
    pub domain: DomainName,
    pub fact: Fact,
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(8))?;
        map.serialize_entry("id", &self.id)?;
        map.serialize_entry("at", &self.at)?;
        map.serialize_entry("actor", &self.actor)?;
        map.serialize_entry("cause", &self.cause)?;
        map.serialize_entry("domain", &self.domain)?;
        map.serialize_entry("kind", self.fact.kind())?;
        map.serialize_entry("schema", &self.fact.schema())?;
        map.serialize_entry("data", &Data(&self.fact))?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        EventAfter(None).deserialize(deserializer)
    }
}

/// Reads an event; what is as in the event before is shared with it.
struct EventAfter<'a>(Option<&'a Event>);

impl<'de> DeserializeSeed<'de> for EventAfter<'_> {
    type Value = Event;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Event, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for EventAfter<'_> {
    type Value = Event;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an event: id, at, actor, cause, domain, kind, schema, data")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Event, A::Error> {
        let (mut id, mut at, mut actor, mut cause, mut domain, mut fact) =
            (None, None, None, None, None, None);
        let (mut kind, mut schema) = (None::<Kind>, None::<u16>);
        while let Some(field) = map.next_key::<Field>()? {
            match field {
                Field::Id => id = Some(map.next_value()?),
                Field::At => at = Some(map.next_value()?),
                Field::Actor => actor = Some(map.next_value_seed(Like(self.0.map(|before| &before.actor)))?),
                Field::Cause => cause = Some(map.next_value()?),
                Field::Domain => {
                    domain = Some(map.next_value_seed(Like(self.0.map(|before| &before.domain)))?)
                }
                Field::Kind => kind = Some(map.next_value()?),
                Field::Schema => schema = Some(map.next_value()?),
                Field::Data => {
                    let kind =
                        kind.as_ref().ok_or_else(|| de::Error::custom("kind must stand before data"))?;
                    let schema = schema.ok_or_else(|| de::Error::custom("schema must stand before data"))?;
                    fact =
                        Some(map.next_value_seed(DataSeed { kind: &kind.0, schema, shape: PhantomData })?);
                }
            }
        }
        Ok(Event {
            id: id.ok_or_else(|| de::Error::missing_field("id"))?,
            at: at.ok_or_else(|| de::Error::missing_field("at"))?,
            actor: actor.ok_or_else(|| de::Error::missing_field("actor"))?,
            cause: cause.ok_or_else(|| de::Error::missing_field("cause"))?,
            domain: domain.ok_or_else(|| de::Error::missing_field("domain"))?,
            fact: fact.ok_or_else(|| de::Error::missing_field("data"))?,
        })
    }
}

/// Reads the events of a commit.
pub(crate) fn in_order<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Event>, D::Error> {
    deserializer.deserialize_seq(InOrder)
}

/// Most events for which there is room before they are read: a length is only a claim.
const ROOM: usize = 1024;

struct InOrder;

impl<'de> Visitor<'de> for InOrder {
    type Value = Vec<Event>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Vec<Event>, A::Error> {
        let mut events = Vec::with_capacity(sequence.size_hint().unwrap_or(0).min(ROOM));
        while let Some(event) = sequence.next_element_seed(EventAfter(events.last()))? {
            events.push(event);
        }
        Ok(events)
    }
}
