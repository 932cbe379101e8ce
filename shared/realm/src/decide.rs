//! Decide: what follows from a command or a report, or why nothing does.
//!
//! A decision looks at the state and never changes it. What it returns are the direct facts; what they entail for
//! the instances (placing, retiring) is `converge`'s.

pub mod app;
pub mod push;
pub mod deploy;
mod image;
pub mod config;
pub mod servant;
pub mod instance;
pub mod alert;
pub mod king;
pub mod exec;
pub mod refuse;

use crate::context::{Candidate, Context};
use crate::state::State;
use events::command::{
    AppCommand, ConfigCommand, InstanceCommand, KingCommand, Order, ServantCommand, VersionCommand,
};
use events::event::KingElected;
use events::report::News;
use events::{Fact, Refusal, Report, Timestamp};

/// What a command leads to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Consent {
    pub facts: Vec<Fact>,
    /// The release that a deploy made or chose.
    pub release: Option<u32>,
}

impl From<Vec<Fact>> for Consent {
    fn from(facts: Vec<Fact>) -> Self {
        Self { facts, release: None }
    }
}

impl From<Fact> for Consent {
    fn from(fact: Fact) -> Self {
        vec![fact].into()
    }
}

/// Decides a command.
///
/// # Errors
/// The refusal, which names the field, the rule and the fix.
pub fn command(state: &State, order: &Order) -> Result<Consent, Refusal> {
    match order {
        Order::App(order) => match order {
            AppCommand::Create(order) => app::create(state, order),
            AppCommand::Push(order) => push::push(state, order),
            AppCommand::Deploy(order) => deploy::deploy(state, order),
            AppCommand::Scale(order) => app::scale(state, order),
            AppCommand::Stop(order) => app::stop(state, order),
            AppCommand::Remove(order) => app::remove(state, order),
            AppCommand::AddImage(order) => image::add(state, order),
        },
        Order::Version(VersionCommand::Publish(order)) => push::publish(state, order),
        Order::Config(order) => match order {
            ConfigCommand::Set(order) => config::set(state, order),
            ConfigCommand::Unset(order) => config::unset(state, order),
        },
        Order::Servant(ServantCommand::Remove(order)) => servant::remove(state, order),
        Order::Instance(InstanceCommand::Restart(order)) => instance::restart(state, order),
        Order::Alert(order) => alert::decide(state, order),
        Order::King(KingCommand::Checkpoint(order)) => king::checkpoint(state, order),
        Order::Exec(order) => exec::decide(state, order),
    }
}

/// What a report leads to.
#[derive(Clone, Debug, PartialEq)]
pub enum Hearing {
    /// It is news.
    News(Vec<Fact>),
    /// It was known, or is about nothing that is left.
    Redundant,
}

impl From<Fact> for Hearing {
    fn from(fact: Fact) -> Self {
        Self::News(vec![fact])
    }
}

/// Decides a report that is heard at this time of the log.
///
/// # Errors
/// The refusal of a report that its sender must not send.
pub fn report(state: &State, report: &Report, at: Timestamp) -> Result<Hearing, Refusal> {
    let last = state.senders.get(&report.id.sender).copied().unwrap_or_default();
    if (report.id.epoch, report.id.number) <= last {
        return Ok(Hearing::Redundant);
    }
    match &report.news {
        News::Servant(news) => servant::hear(state, report, news, at),
        News::Instance(news) => instance::hear(state, report, news),
        News::Exec(news) => exec::hear(state, report, news),
    }
}

/// Decides an election: the one that could append it has read everything before it.
pub fn election(state: &State, candidate: Candidate, _: &Context) -> Fact {
    let Candidate { king, key } = candidate;
    Fact::King(KingElected { king, epoch: state.epoch + 1, key }.into())
}
