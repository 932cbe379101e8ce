//! Which app and which servant an event is about. An event about an instance names only the instance; who it belongs to
//! is remembered from the event that placed it.

use events::event::{ExecEvent, InstanceEvent, ServantEvent};
use events::{AppName, Event, Fact, InstanceId, ServantId, ServantName};
use realm::State;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Whom an event concerns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    pub app: Option<AppName>,
    pub servant: Option<ServantId>,
}

/// Who the instances belong to, and which servants had which name, as of the events that were noted.
#[derive(Clone, Debug, Default)]
pub struct Owners {
    instances: HashMap<InstanceId, (AppName, ServantId)>,
    names: BTreeMap<ServantName, BTreeSet<ServantId>>,
}

impl Owners {
    /// The owners as a state knows them: to go on from there.
    pub fn of(state: &State) -> Self {
        let instances =
            state.instances.iter().map(|(id, instance)| (*id, (instance.app.clone(), instance.servant)));
        let names = state.servant_names.iter().map(|(name, id)| (name.clone(), BTreeSet::from([*id])));
        Self { instances: instances.collect(), names: names.collect() }
    }

    /// Notes the next event and says whom it concerns.
    pub fn note(&mut self, event: &Event) -> About {
        match &event.fact {
            Fact::App(fact) => About { app: Some(fact.app().clone()), servant: fact.servant() },
            Fact::Version(fact) => About { app: Some(fact.app().clone()), servant: None },
            Fact::Release(fact) => About { app: Some(fact.app().clone()), servant: None },
            Fact::Config(fact) => About { app: fact.scope().cloned(), servant: None },
            Fact::Instance(fact) => self.note_instance(fact),
            Fact::Servant(fact) => self.note_servant(fact),
            Fact::Exec(fact) => self.about_exec(fact),
            Fact::Command(_) | Fact::Alert(_) | Fact::King(_) => About::default(),
        }
    }

    /// A run on several servants is about none of them; its end on each is.
    fn about_exec(&self, fact: &ExecEvent) -> About {
        match fact {
            ExecEvent::Requested(fact) => {
                let owner = fact.instance.and_then(|instance| self.owner(instance));
                let servant = match fact.servants.as_slice() {
                    [only] => Some(*only),
                    [] | [_, ..] => None,
                };
                About { app: owner.map(|(app, _)| app.clone()), servant }
            }
            ExecEvent::Cancelled(_) => About::default(),
            ExecEvent::Ended(fact) => About { app: None, servant: Some(fact.servant) },
        }
    }

    fn note_instance(&mut self, fact: &InstanceEvent) -> About {
        if let InstanceEvent::Placed(placed) = fact {
            self.instances.insert(placed.instance, (placed.app.clone(), placed.servant));
        }
        let about = self
            .instances
            .get(&fact.instance())
            .map(|(app, servant)| About { app: Some(app.clone()), servant: Some(*servant) });
        if let InstanceEvent::Stopped(stopped) = fact {
            self.instances.remove(&stopped.instance);
        }
        about.unwrap_or_default()
    }

    fn note_servant(&mut self, fact: &ServantEvent) -> About {
        let servant = fact.servant();
        match fact {
            ServantEvent::Joined(fact) => self.name(&fact.facts.name, servant),
            ServantEvent::Changed(fact) => self.name(&fact.facts.name, servant),
            ServantEvent::Removed(_) => self.instances.retain(|_, (_, host)| *host != servant),
            ServantEvent::Lost(_)
            | ServantEvent::Returned(_)
            | ServantEvent::DiskChanged(_)
            | ServantEvent::DiskCleaned(_) => {}
        }
        About { app: None, servant: Some(servant) }
    }

    fn name(&mut self, name: &ServantName, servant: ServantId) {
        self.names.entry(name.clone()).or_default().insert(servant);
    }

    /// Every servant that ever had this name.
    pub fn named(&self, name: &ServantName) -> impl Iterator<Item = ServantId> + '_ {
        self.names.get(name).into_iter().flatten().copied()
    }

    /// Whose an instance is that has not ended.
    pub fn owner(&self, instance: InstanceId) -> Option<&(AppName, ServantId)> {
        self.instances.get(&instance)
    }
}
