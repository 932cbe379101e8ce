//! Plans: what a command would lead to, and the token under which exactly that may be done.
//!
//! A token says by short digests what was planned, kind by kind, without the ids and times that differ each time. So it
//! can be checked by every King from its state alone, and what does not touch the outcome does not void it.

use crate::limits::PLAN_TOKEN_BYTES;
use crate::query::DifferenceItem;
use crate::{EventNumber, Refusal, ServantId, ServantName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// A command as it would come out now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanItem {
    /// `<noun>.<verb>`.
    pub command: String,
    /// What to send along as `King-Plan` to get exactly this; none when the command would be refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<PlanToken>,
    /// Why it would be refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Refusal>,
    /// The release that a deploy would make or choose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<u32>,
    /// The events that it would cause at once, in order. Instances to come are named `new-1`, `new-2` and so on.
    pub events: Vec<PlannedEvent>,
    /// The names of the servants that stand in the events by their id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub servants: BTreeMap<ServantId, ServantName>,
    /// What would be other than now.
    pub differences: Vec<DifferenceItem>,
    /// How many events are left out here because the reply would be too large.
    pub events_left_out: usize,
    /// How many differences are left out here because the reply would be too large.
    pub differences_left_out: usize,
}

/// An event of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedEvent {
    /// `<noun>.<past-tense>`.
    pub kind: String,
    /// Its data, as the event would have it.
    pub data: serde_json::Value,
}

/// The mark of a plan: `<event>:<order>:<kind>=<count>=<digest>,…`, digests as 16 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanToken {
    /// The newest event when it was made.
    pub event: EventNumber,
    /// The digest of the command's kind and fields.
    pub order: u64,
    /// What it leads to, by kind, sorted; empty when nothing would change.
    pub parts: Vec<PlanPart>,
}

/// The events of one kind in a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanPart {
    pub kind: String,
    pub count: usize,
    /// The digest of their data in order, without the ids of instances to come.
    pub digest: u64,
}

/// What stands for no parts at all.
const NOTHING: &str = "nothing";

impl fmt::Display for PlanToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{:016x}:", self.event, self.order)?;
        if self.parts.is_empty() {
            return formatter.write_str(NOTHING);
        }
        for (index, PlanPart { kind, count, digest }) in self.parts.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(formatter, "{comma}{kind}={count}={digest:016x}")?;
        }
        Ok(())
    }
}

/// Why a text is no token of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not the token of a plan; copy the whole of what the plan shows as its token")]
pub struct PlanTokenError;

impl FromStr for PlanToken {
    type Err = PlanTokenError;

    fn from_str(text: &str) -> Result<Self, PlanTokenError> {
        if text.len() > PLAN_TOKEN_BYTES {
            return Err(PlanTokenError);
        }
        let mut fields = text.split(':');
        let (Some(event), Some(order), Some(parts), None) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return Err(PlanTokenError);
        };
        let parts = match parts {
            NOTHING => Vec::new(),
            parts => parts.split(',').map(parse_part).collect::<Result<_, _>>()?,
        };
        let event = event.parse().map_err(|_| PlanTokenError)?;
        Ok(Self { event, order: parse_digest(order)?, parts })
    }
}

fn parse_part(text: &str) -> Result<PlanPart, PlanTokenError> {
    let mut fields = text.split('=');
    let (Some(kind), Some(count), Some(digest), None) =
        (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Err(PlanTokenError);
    };
    let is_kind = |letter: u8| letter.is_ascii_lowercase() || letter == b'.' || letter == b'-';
    if kind.is_empty() || !kind.bytes().all(is_kind) {
        return Err(PlanTokenError);
    }
    let count = count.parse().map_err(|_| PlanTokenError)?;
    Ok(PlanPart { kind: kind.to_owned(), count, digest: parse_digest(digest)? })
}

fn parse_digest(text: &str) -> Result<u64, PlanTokenError> {
    if text.len() != 16 {
        return Err(PlanTokenError);
    }
    u64::from_str_radix(text, 16).map_err(|_| PlanTokenError)
}

impl Serialize for PlanToken {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PlanToken {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_read_as_they_are_written() {
        let part = |kind: &str| PlanPart { kind: kind.into(), count: 3, digest: 0xab };
        for parts in [vec![], vec![part("app.deployed")], vec![part("app.deployed"), part("instance.placed")]]
        {
            let token = PlanToken { event: 120, order: u64::MAX, parts };
            assert_eq!(token.to_string().parse(), Ok(token));
        }
    }

    #[test]
    fn other_texts_are_no_tokens() {
        let long = format!("1:{:016x}:{}", 1, "a".repeat(PLAN_TOKEN_BYTES));
        for text in [
            "",
            "1",
            "1:2:3",
            "x:0000000000000001:nothing",
            "1:0000000000000001:",
            "1:0000000000000001:A=1=0000000000000001",
            &long,
        ] {
            assert_eq!(text.parse::<PlanToken>(), Err(PlanTokenError), "{text}");
        }
    }
}
