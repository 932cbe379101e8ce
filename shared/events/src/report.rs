//! Reports: facts seen on a host. Servants and Foremen send them; the King decides what they mean.

pub mod servant;
pub mod instance;
pub mod exec;

pub use exec::{EndedExec, ExecNews};
pub use instance::{
    Emitted, Erred, Exited, Failed, ImageBuilt, InstanceNews, Looping, PortTaken, Ready, Scaled, Stage,
    Started, Steady, Stopped, Unhealthy,
};
pub use servant::{
    CleanDisk, EXEC_CAPABILITY, LoseServant, MeasureDisk, PortRange, RegisterServant, ReturnServant,
    ServantNews,
};

use crate::kinds::{Data, DataSeed, nouns};
use crate::limits::REPORTS_PER_BATCH;
use crate::wire::{Field, Kind, Like};
use crate::{Actor, DomainName, Timestamp};
use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::marker::PhantomData;
use uuid::Uuid;

nouns! {
    /// Everything that can be reported.
    News {
        Servant(ServantNews) = "servant",
        Instance(InstanceNews) = "instance",
        Exec(ExecNews) = "exec",
    }
}

/// Which report this is: the state keeps the last one of each sender, so a repeat is harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ReportId {
    /// The servant or Foreman that sends it.
    pub sender: Uuid,
    /// The life of its outbox: higher after the outbox was lost.
    pub epoch: u64,
    /// The place in that outbox, from 1, rising.
    pub number: u64,
}

impl fmt::Display for ReportId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}/{}", self.sender, self.epoch, self.number)
    }
}

/// A report with its envelope.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    pub id: ReportId,
    /// When it was seen, by the clock of the host.
    pub at: Timestamp,
    /// Who saw it: `servant:<name>` or `foreman:<domain>`.
    pub actor: Actor,
    pub domain: DomainName,
    pub news: News,
}

impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(7))?;
        map.serialize_entry("id", &self.id)?;
        map.serialize_entry("at", &self.at)?;
        map.serialize_entry("actor", &self.actor)?;
        map.serialize_entry("domain", &self.domain)?;
        map.serialize_entry("kind", self.news.kind())?;
        map.serialize_entry("schema", &self.news.schema())?;
        map.serialize_entry("data", &Data(&self.news))?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for Report {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        ReportAfter(None).deserialize(deserializer)
    }
}

/// Reports in the order of their outbox, as one message carries them: what is as in the report before is held once.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct ReportBatch(pub Vec<Report>);

impl<'de> Deserialize<'de> for ReportBatch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(InOrder).map(Self)
    }
}

struct InOrder;

impl<'de> Visitor<'de> for InOrder {
    type Value = Vec<Report>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of reports")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Vec<Report>, A::Error> {
        // A length is only a claim.
        let mut reports = Vec::with_capacity(sequence.size_hint().unwrap_or(0).min(REPORTS_PER_BATCH));
        while let Some(report) = sequence.next_element_seed(ReportAfter(reports.last()))? {
            reports.push(report);
        }
        Ok(reports)
    }
}

/// Reads a report; what is as in the report before is shared with it.
struct ReportAfter<'a>(Option<&'a Report>);

impl<'de> DeserializeSeed<'de> for ReportAfter<'_> {
    type Value = Report;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Report, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ReportAfter<'_> {
    type Value = Report;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a report: id, at, actor, domain, kind, schema, data")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Report, A::Error> {
        let (mut id, mut at, mut actor, mut domain, mut news) = (None, None, None, None, None);
        let (mut kind, mut schema) = (None::<Kind>, None::<u16>);
        while let Some(field) = map.next_key::<Field>()? {
            match field {
                Field::Id => id = Some(map.next_value()?),
                Field::At => at = Some(map.next_value()?),
                Field::Actor => actor = Some(map.next_value_seed(Like(self.0.map(|before| &before.actor)))?),
                Field::Domain => {
                    domain = Some(map.next_value_seed(Like(self.0.map(|before| &before.domain)))?)
                }
                Field::Kind => kind = Some(map.next_value()?),
                Field::Schema => schema = Some(map.next_value()?),
                Field::Data => {
                    let kind =
                        kind.as_ref().ok_or_else(|| de::Error::custom("kind must stand before data"))?;
                    let schema = schema.ok_or_else(|| de::Error::custom("schema must stand before data"))?;
                    news =
                        Some(map.next_value_seed(DataSeed { kind: &kind.0, schema, shape: PhantomData })?);
                }
                Field::Cause => return Err(de::Error::custom("unknown field `cause`")),
            }
        }
        Ok(Report {
            id: id.ok_or_else(|| de::Error::missing_field("id"))?,
            at: at.ok_or_else(|| de::Error::missing_field("at"))?,
            actor: actor.ok_or_else(|| de::Error::missing_field("actor"))?,
            domain: domain.ok_or_else(|| de::Error::missing_field("domain"))?,
            news: news.ok_or_else(|| de::Error::missing_field("data"))?,
        })
    }
}
