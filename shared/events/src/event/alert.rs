//! Events about alert mails: what will be sent, and what came of it.

use crate::command::alert::MailPhase;
use crate::kinds::noun;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

noun! {
    /// Events about alert mails.
    AlertEvent = "alert" {
        Planned(MailPlanned) = "planned" @ 1,
        Sent(MailSent) = "sent" @ 1,
        Failed(MailFailed) = "failed" @ 1,
    }
}

impl AlertEvent {
    /// The mail it is about.
    pub fn mail(&self) -> Uuid {
        match self {
            Self::Planned(event) => event.mail,
            Self::Sent(event) => event.mail,
            Self::Failed(event) => event.mail,
        }
    }
}

/// This mail will be sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MailPlanned {
    pub mail: Uuid,
    pub incident: String,
    pub phase: MailPhase,
    pub subject: String,
    pub body: String,
}

/// This mail was taken by a server, or written to a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MailSent {
    pub mail: Uuid,
    pub via: String,
}

/// This mail was refused for good.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MailFailed {
    pub mail: Uuid,
    pub reason: String,
}
