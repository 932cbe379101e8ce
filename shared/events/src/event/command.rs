//! Events about commands: every command that parses leaves one outcome, accepted or refused.

use crate::answer::Refusal;
use crate::kinds::noun;
use crate::{CommandId, CommandKind};
use serde::{Deserialize, Serialize};

noun! {
    /// Events about commands.
    CommandEvent = "command" {
        Accepted(CommandAccepted) = "accepted" @ 1,
        Refused(CommandRefused) = "refused" @ 1,
    }
}

impl CommandEvent {
    /// The command it is about.
    pub fn id(&self) -> &CommandId {
        match self {
            Self::Accepted(event) => &event.id,
            Self::Refused(event) => &event.id,
        }
    }
}

/// A command was done. The events before it in the same commit with the same cause are what it did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CommandAccepted {
    pub id: CommandId,
    /// `<noun>.<verb>`.
    pub command: CommandKind,
    /// The release that a deploy made or chose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<u32>,
}

/// A command changed nothing, for this reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CommandRefused {
    pub id: CommandId,
    /// `<noun>.<verb>`.
    pub command: CommandKind,
    pub refusal: Refusal,
}
