//! Which events are about an app or a servant. Events about instances name only the instance, so who it belongs to is
//! remembered from the event that placed it, or asked from the King.

use super::TailArgs;
use crate::client::Client;
use crate::failure::Failure;
use events::event::{ExecEvent, InstanceEvent};
use events::query::{InstanceItem, Question, ServantItem};
use events::{AppName, Event, Fact, InstanceId, ServantId};
use std::collections::BTreeMap;

/// Lets events through.
#[derive(Debug)]
pub struct Filter {
    noun: Option<String>,
    app: Option<AppName>,
    servant: Option<ServantId>,
    /// Whose each instance is; the servant is not known of those that the King told of.
    places: BTreeMap<InstanceId, Place>,
}

#[derive(Clone, Debug)]
struct Place {
    app: AppName,
    servant: Option<ServantId>,
}

impl Filter {
    /// Asks what is needed to tell events apart.
    ///
    /// # Errors
    /// When there is no such servant, or no King answers.
    pub async fn load(client: &Client, args: &TailArgs) -> Result<Self, Failure> {
        let mut filter =
            Self { noun: args.noun.clone(), app: args.app.clone(), servant: None, places: BTreeMap::new() };
        if args.app.is_none() && args.servant.is_none() {
            return Ok(filter);
        }
        let servants = client.query::<ServantItem>("servant.ls", &Question::default()).await?;
        if let Some(name) = &args.servant {
            let found = servants.iter().find(|servant| servant.name == *name);
            let found = found.ok_or_else(|| Failure::NotFound(format!("there is no servant {name}")))?;
            filter.servant = Some(found.servant);
        }
        for item in client.query::<InstanceItem>("instance.ls", &Question::default()).await? {
            let servant = servants.iter().find(|servant| servant.name == item.servant);
            let place = Place { app: item.app, servant: servant.map(|servant| servant.servant) };
            filter.places.insert(item.instance, place);
        }
        Ok(filter)
    }

    /// Whether an event is wanted.
    pub fn lets_through(&mut self, event: &Event) -> bool {
        let place = self.place(&event.fact);
        let noun_fits = self.noun.as_deref().is_none_or(|noun| noun == event.fact.noun());
        let app_fits = self.app.as_ref().is_none_or(|app| {
            let owner = place.as_ref().map(|place| &place.app).or_else(|| app_of(&event.fact));
            owner == Some(app)
        });
        let servant_fits = self.servant.is_none_or(|servant| {
            let host = place.as_ref().and_then(|place| place.servant).or_else(|| servant_of(&event.fact));
            host == Some(servant)
        });
        self.forget(&event.fact);
        noun_fits && app_fits && servant_fits
    }

    /// Whose the instance is that a fact is about.
    fn place(&mut self, fact: &Fact) -> Option<Place> {
        let Fact::Instance(event) = fact else { return None };
        if let InstanceEvent::Placed(placed) = event {
            let place = Place { app: placed.app.clone(), servant: Some(placed.servant) };
            self.places.insert(placed.instance, place);
        }
        self.places.get(&event.instance()).cloned()
    }

    /// An instance that is gone says nothing more.
    fn forget(&mut self, fact: &Fact) {
        if let Fact::Instance(InstanceEvent::Stopped(stopped)) = fact {
            self.places.remove(&stopped.instance);
        }
    }
}

fn app_of(fact: &Fact) -> Option<&AppName> {
    match fact {
        Fact::App(event) => Some(event.app()),
        Fact::Version(event) => Some(event.app()),
        Fact::Release(event) => Some(event.app()),
        Fact::Config(event) => event.scope(),
        Fact::Instance(_)
        | Fact::Servant(_)
        | Fact::Command(_)
        | Fact::Alert(_)
        | Fact::King(_)
        | Fact::Exec(_) => None,
    }
}

fn servant_of(fact: &Fact) -> Option<ServantId> {
    match fact {
        Fact::Servant(event) => Some(event.servant()),
        Fact::App(event) => event.servant(),
        Fact::Exec(ExecEvent::Ended(event)) => Some(event.servant),
        Fact::Exec(ExecEvent::Requested(_) | ExecEvent::Cancelled(_)) => None,
        Fact::Version(_)
        | Fact::Release(_)
        | Fact::Config(_)
        | Fact::Instance(_)
        | Fact::Command(_)
        | Fact::Alert(_)
        | Fact::King(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::event::{AppCreated, AppEvent, Cause, InstancePlaced, InstanceStarted, InstanceStopped};
    use events::{Actor, DomainName, ProcessName, Timestamp};

    fn event(fact: impl Into<Fact>) -> Event {
        Event {
            id: 1,
            at: Timestamp(0),
            actor: Actor::king(),
            cause: Cause::Tick,
            domain: DomainName::default_domain(),
            fact: fact.into(),
        }
    }

    fn instance() -> InstanceId {
        "019a1c2e-6f0b-7c11-8f4e-3a5d1c9b7e10".parse().expect("an id")
    }

    fn servant() -> ServantId {
        "019a1c2e-6f0b-7c11-8f4e-3a5d1c9b7e11".parse().expect("an id")
    }

    /// An instance of `shop` from its place to its end.
    fn life() -> [Event; 3] {
        let placed = InstancePlaced {
            instance: instance(),
            app: "shop".parse().expect("a name"),
            process: ProcessName::web(),
            release: 1,
            servant: servant(),
            ports: BTreeMap::new(),
        };
        let started = InstanceStarted { instance: instance(), pid: 7, slot: None };
        let stopped = InstanceStopped { instance: instance() };
        [placed.into(), started.into(), stopped.into()].map(|fact: InstanceEvent| event(fact))
    }

    fn filter(noun: Option<&str>, app: Option<&str>, servant: Option<ServantId>) -> Filter {
        let app = app.map(|app| app.parse().expect("a name"));
        Filter { noun: noun.map(str::to_owned), app, servant, places: BTreeMap::new() }
    }

    #[test]
    fn an_instance_belongs_to_its_app_and_servant_all_its_life() {
        for mut filter in
            [filter(None, None, None), filter(None, Some("shop"), None), filter(None, None, Some(servant()))]
        {
            assert!(life().iter().all(|event| filter.lets_through(event)), "{filter:?}");
            assert!(filter.places.is_empty(), "what is gone is forgotten");
        }
        let mut other = filter(None, Some("other"), None);
        assert!(!life().iter().any(|event| other.lets_through(event)));
    }

    #[test]
    fn nouns_and_apps_are_both_asked_for() {
        let created = event(AppEvent::from(AppCreated { app: "shop".parse().expect("a name") }));
        assert!(filter(Some("app"), Some("shop"), None).lets_through(&created));
        assert!(!filter(Some("instance"), Some("shop"), None).lets_through(&created));
        assert!(!filter(None, None, Some(servant())).lets_through(&created));
    }
}
