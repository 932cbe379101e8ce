//! What an event follows from: the rules, noun by noun.

use events::event::{
    AlertEvent, AppEvent, CommandEvent, ExecEvent, InstanceEvent, RetireReason, ServantEvent, VersionEvent,
};
use events::{AppName, Cause, Event, EventNumber, ExecId, Fact, InstanceId, ServantId};
use uuid::Uuid;

/// What an event follows from.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Parent {
    /// Nothing that is known: it began something.
    None,
    /// This event.
    Event(EventNumber),
    /// The latest event before it of the first of these keys that has one.
    Latest(Vec<Key>),
}

/// What later events refer to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// What shall run of an app was said: deployed, scaled.
    Wish(AppName),
    Removed(AppName),
    Placed(InstanceId),
    Retired(InstanceId),
    /// An instance crashed, looped or failed.
    Trouble(InstanceId),
    /// An instance became healthy or left its loop.
    Relief(InstanceId),
    Lost(ServantId),
    Back(ServantId),
    ServantGone(ServantId),
    /// The disk of a servant became fuller or emptier.
    Disk(ServantId),
    /// A mail was planned.
    Mail(Uuid),
    /// A run was asked for.
    Exec(ExecId),
}

impl Key {
    /// The noun of the events that have such a key.
    pub fn noun(&self) -> &'static str {
        match self {
            Self::Wish(_) | Self::Removed(_) => "app",
            Self::Placed(_) | Self::Retired(_) | Self::Trouble(_) | Self::Relief(_) => "instance",
            Self::Lost(_) | Self::Back(_) | Self::ServantGone(_) | Self::Disk(_) => "servant",
            Self::Mail(_) => "alert",
            Self::Exec(_) => "exec",
        }
    }
}

/// The keys that an event is the latest of from then on.
pub(super) fn keys(event: &Event) -> Vec<Key> {
    match &event.fact {
        Fact::App(fact) => match fact {
            AppEvent::Deployed(_) | AppEvent::Scaled(_) => vec![Key::Wish(fact.app().clone())],
            AppEvent::Removed(_) => vec![Key::Removed(fact.app().clone())],
            AppEvent::Created(_)
            | AppEvent::Pushed(_)
            | AppEvent::Settled(_)
            | AppEvent::ImageAdded(_)
            | AppEvent::Emitted(_) => Vec::new(),
        },
        Fact::Instance(fact) => keys_of_instance(fact),
        Fact::Servant(fact) => match fact {
            ServantEvent::Lost(lost) => vec![Key::Lost(lost.servant)],
            ServantEvent::Returned(returned) => vec![Key::Back(returned.servant)],
            ServantEvent::Removed(removed) => vec![Key::ServantGone(removed.servant)],
            ServantEvent::DiskChanged(changed) => vec![Key::Disk(changed.servant)],
            ServantEvent::Joined(_) | ServantEvent::Changed(_) | ServantEvent::DiskCleaned(_) => Vec::new(),
        },
        Fact::Alert(fact) => match fact {
            AlertEvent::Planned(planned) => vec![Key::Mail(planned.mail)],
            AlertEvent::Sent(_) | AlertEvent::Failed(_) => Vec::new(),
        },
        Fact::Exec(fact) => match fact {
            ExecEvent::Requested(requested) => vec![Key::Exec(requested.exec)],
            ExecEvent::Cancelled(_) | ExecEvent::Ended(_) => Vec::new(),
        },
        Fact::Version(_) | Fact::Release(_) | Fact::Config(_) | Fact::Command(_) | Fact::King(_) => {
            Vec::new()
        }
    }
}

fn keys_of_instance(fact: &InstanceEvent) -> Vec<Key> {
    let instance = fact.instance();
    match fact {
        InstanceEvent::Placed(_) => vec![Key::Placed(instance)],
        InstanceEvent::Retired(_) => vec![Key::Retired(instance)],
        InstanceEvent::Crashed(_)
        | InstanceEvent::CrashLooped(_)
        | InstanceEvent::Failed(_)
        | InstanceEvent::Erred(_) => vec![Key::Trouble(instance)],
        InstanceEvent::BecameHealthy(_) | InstanceEvent::Steadied(_) | InstanceEvent::Finished(_) => {
            vec![Key::Relief(instance)]
        }
        InstanceEvent::Started(_)
        | InstanceEvent::BecameUnhealthy(_)
        | InstanceEvent::PortsReplaced(_)
        | InstanceEvent::Halted(_)
        | InstanceEvent::RestartOrdered(_)
        | InstanceEvent::WorkersScaled(_)
        | InstanceEvent::Stopped(_) => Vec::new(),
    }
}

/// What an event follows from; `group` are the events of the same input, in order.
pub(super) fn parent(event: &Event, group: &[Event]) -> Parent {
    if let Fact::Alert(fact) = &event.fact {
        return parent_of_mail(fact);
    }
    let first = group.first().map_or(event.id, |first| first.id);
    match &event.cause {
        Cause::Command(_) => parent_in_command(event, group),
        Cause::Report(_) if event.id != first => Parent::Event(first),
        Cause::Report(_) | Cause::Tick => parent_by_fact(&event.fact),
        Cause::Election => Parent::None,
    }
}

/// The outcome stands for the command: the other events of it follow from that. Of a mail, the outcome is a trifle.
fn parent_in_command(event: &Event, group: &[Event]) -> Parent {
    let outcome = group.iter().find(|event| matches!(event.fact, Fact::Command(_)));
    match (&event.fact, outcome) {
        (Fact::Command(CommandEvent::Accepted(_) | CommandEvent::Refused(_)), _) => {
            let mail = group.iter().find(|event| matches!(event.fact, Fact::Alert(_)));
            mail.map_or(Parent::None, |mail| Parent::Event(mail.id))
        }
        (_, Some(outcome)) => Parent::Event(outcome.id),
        (_, None) => Parent::None,
    }
}

/// What began a report or a tick: what the fact is about tells.
fn parent_by_fact(fact: &Fact) -> Parent {
    match fact {
        Fact::Instance(fact) => parent_of_instance(fact),
        Fact::Servant(fact) => match fact {
            ServantEvent::Returned(returned) => Parent::Latest(vec![Key::Lost(returned.servant)]),
            ServantEvent::Joined(_)
            | ServantEvent::Changed(_)
            | ServantEvent::Lost(_)
            | ServantEvent::Removed(_)
            | ServantEvent::DiskChanged(_)
            | ServantEvent::DiskCleaned(_) => Parent::None,
        },
        Fact::App(fact) => match fact {
            AppEvent::Settled(settled) => Parent::Latest(vec![Key::Wish(settled.app.clone())]),
            AppEvent::Created(_)
            | AppEvent::Pushed(_)
            | AppEvent::Deployed(_)
            | AppEvent::Scaled(_)
            | AppEvent::Removed(_)
            | AppEvent::ImageAdded(_)
            | AppEvent::Emitted(_) => Parent::None,
        },
        Fact::Exec(fact) => match fact {
            ExecEvent::Ended(ended) => Parent::Latest(vec![Key::Exec(ended.exec)]),
            ExecEvent::Requested(_) | ExecEvent::Cancelled(_) => Parent::None,
        },
        Fact::Version(fact) => match fact {
            VersionEvent::ImageBuilt(built) => Parent::Latest(vec![Key::Placed(built.instance)]),
            VersionEvent::Published(_) => Parent::None,
        },
        Fact::Release(_) | Fact::Config(_) | Fact::Command(_) | Fact::Alert(_) | Fact::King(_) => {
            Parent::None
        }
    }
}

fn parent_of_instance(fact: &InstanceEvent) -> Parent {
    let instance = fact.instance();
    match fact {
        InstanceEvent::Placed(placed) => Parent::Latest(vec![Key::Wish(placed.app.clone())]),
        InstanceEvent::Retired(retired) => match retired.reason {
            RetireReason::Replaced
            | RetireReason::ScaledDown
            | RetireReason::AppRemoved
            | RetireReason::ServantLost
            | RetireReason::ServantRemoved => Parent::Latest(vec![Key::Placed(instance)]),
        },
        InstanceEvent::Stopped(_) => Parent::Latest(vec![Key::Retired(instance), Key::Placed(instance)]),
        InstanceEvent::Started(_)
        | InstanceEvent::BecameHealthy(_)
        | InstanceEvent::BecameUnhealthy(_)
        | InstanceEvent::Crashed(_)
        | InstanceEvent::Finished(_)
        | InstanceEvent::CrashLooped(_)
        | InstanceEvent::Steadied(_)
        | InstanceEvent::Failed(_)
        | InstanceEvent::PortsReplaced(_)
        | InstanceEvent::Halted(_)
        | InstanceEvent::Erred(_)
        | InstanceEvent::RestartOrdered(_)
        | InstanceEvent::WorkersScaled(_) => Parent::Latest(vec![Key::Placed(instance)]),
    }
}

/// A planned mail follows from what its incident is about: `crash/<instance>`, `servant-lost/<servant>`.
fn parent_of_mail(fact: &AlertEvent) -> Parent {
    let planned = match fact {
        AlertEvent::Planned(planned) => planned,
        AlertEvent::Sent(_) | AlertEvent::Failed(_) => return Parent::Latest(vec![Key::Mail(fact.mail())]),
    };
    let Some((kind, id)) = planned.incident.split_once('/') else { return Parent::None };
    let Ok(id) = id.parse::<Uuid>() else { return Parent::None };
    let (instance, servant) = (InstanceId(id), ServantId(id));
    let firing = match planned.phase {
        events::command::alert::MailPhase::Firing => true,
        events::command::alert::MailPhase::Resolved => false,
    };
    Parent::Latest(match (kind, firing) {
        ("servant-lost", true) => vec![Key::Lost(servant)],
        ("servant-lost", false) => vec![Key::Back(servant), Key::ServantGone(servant), Key::Lost(servant)],
        ("disk-full", true) => vec![Key::Disk(servant)],
        ("disk-full", false) => vec![Key::Disk(servant), Key::ServantGone(servant)],
        (_, true) => vec![Key::Trouble(instance)],
        (_, false) => vec![Key::Relief(instance), Key::Retired(instance), Key::Trouble(instance)],
    })
}
