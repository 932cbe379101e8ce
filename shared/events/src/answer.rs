//! Answers: what a command or a report led to.

use crate::{CommandId, EventNumber};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The answer to a command. It comes after the commit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The id under which the outcome can be asked for; none when the message could not be read as a command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<CommandId>,
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "kebab-case")]
pub enum Outcome {
    Accepted {
        /// The number of the event that recorded it; a query with this `min_event` sees all that it did.
        event: EventNumber,
        /// The release that a deploy made or chose.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        release: Option<u32>,
    },
    Refused {
        /// The number of the event that recorded it; none when the message could not be read as a command.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        event: Option<EventNumber>,
        refusal: Refusal,
    },
}

/// Why something was not done. It changes nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refusal {
    pub code: RefusalCode,
    /// The field that is wrong: `app`, `count`, `manifest.processes.web.ports`.
    pub field: String,
    /// The rule that it breaks, with what was found.
    pub rule: String,
    /// What to do.
    pub fix: String,
}

/// The reason of a refusal, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalCode {
    /// The message is not a command that can be read.
    Unreadable,
    /// A field breaks its rule.
    Invalid,
    /// What the command names does not exist.
    Unknown,
    /// What the command would make exists, or what it rests on has changed.
    Conflict,
    /// A limit of the kingdom is reached.
    LimitReached,
    /// The King cannot take commands now.
    Unavailable,
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}; {}", self.field, self.rule, self.fix)
    }
}

/// The answer to a batch of reports: one verdict each, in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReportAnswer {
    pub verdicts: Vec<Verdict>,
}

/// What became of a report. All three let its sender forget it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// What it led to is stored.
    Committed,
    /// It said nothing that was not known.
    Redundant,
    /// It cannot be taken; the sender must change something.
    Refused(Refusal),
}
