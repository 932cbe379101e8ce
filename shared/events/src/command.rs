//! Commands: intentions, in the imperative. A command's kind is its subject and its body is its data alone.
//!
//! Anyone may send one as JSON or as MessagePack; unknown fields are refused by name.

pub mod app;
pub mod version;
pub mod config;
pub mod servant;
pub mod instance;
pub mod alert;
pub mod king;
pub mod exec;
mod kind;

pub use alert::{AlertCommand, PlanMail, RecordMail};
pub use app::{AddImage, AppCommand, CreateApp, DeployApp, PushApp, RefChange, RemoveApp, ScaleApp, StopApp};
pub use config::{ConfigCommand, SetConfig, UnsetConfig};
pub use exec::{CancelExec, ExecCommand, RequestExec};
pub use instance::{InstanceCommand, RestartInstance};
pub use kind::CommandKind;
pub use king::{KingCommand, RecordCheckpoint};
pub use servant::{RemoveServant, ServantCommand};
pub use version::{PublishVersion, VersionCommand, VersionSpec};

use crate::kinds::nouns;
use crate::plan::PlanToken;
use crate::{Actor, CommandId};

nouns! {
    /// Everything that a user, or a service in the place of one, may want.
    Order {
        App(AppCommand) = "app",
        Version(VersionCommand) = "version",
        Config(ConfigCommand) = "config",
        Servant(ServantCommand) = "servant",
        Instance(InstanceCommand) = "instance",
        Alert(AlertCommand) = "alert",
        King(KingCommand) = "king",
        Exec(ExecCommand) = "exec",
    }
}

/// An order with its id and its sender.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// Runs at most once under this id.
    pub id: CommandId,
    /// Who sent it.
    pub actor: Actor,
    /// What is wanted.
    pub order: Order,
    /// Do exactly what this plan says, or nothing.
    pub plan: Option<PlanToken>,
}
