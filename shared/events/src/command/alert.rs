//! Commands by which the Alerter records what it will send and what came of it.

use crate::kinds::noun;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

noun! {
    /// Commands about alert mails.
    AlertCommand = "alert" {
        Plan(PlanMail) = "plan" @ 1,
        Record(RecordMail) = "record" @ 1,
    }
}

/// Recorded before a mail is sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanMail {
    /// The id of the mail; its Message-ID is made of it, the same on every attempt.
    pub mail: Uuid,
    /// What it is about: `crash/<instance>`, `servant-lost/<servant>`.
    pub incident: String,
    /// Whether the incident began or ended.
    pub phase: MailPhase,
    pub subject: String,
    pub body: String,
}

/// Whether a mail tells of the beginning or the end of an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MailPhase {
    Firing,
    Resolved,
}

/// Recorded after a mail was sent, or given up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordMail {
    pub mail: Uuid,
    /// Where it went: an SMTP server's answer or a file.
    pub result: MailResult,
}

/// What came of a mail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum MailResult {
    /// Taken by the server, or written to a file.
    Sent { via: String },
    /// Refused for good; the reason is the server's.
    Failed { reason: String },
}
