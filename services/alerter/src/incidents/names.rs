//! Names for what events call by id: a small fold of who was placed where.

use events::event::{InstanceEvent, ServantChanged, ServantEvent, ServantJoined};
use events::{AppName, Fact, InstanceId, ProcessName, ServantId, ServantName};
use std::collections::BTreeMap;

/// Where an instance belongs.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub app: AppName,
    pub process: ProcessName,
    pub release: u32,
    pub servant: ServantId,
    /// How often it crashed since it was placed.
    pub crashes: u32,
}

/// The fold.
#[derive(Debug, Default)]
pub(super) struct Names {
    instances: BTreeMap<InstanceId, Place>,
    servants: BTreeMap<ServantId, ServantName>,
}

impl Names {
    /// Before an event is told of: what it adds.
    pub(super) fn learn(&mut self, fact: &Fact) {
        if let Fact::Instance(InstanceEvent::Placed(placed)) = fact {
            let (app, process) = (placed.app.clone(), placed.process.clone());
            let (release, servant) = (placed.release, placed.servant);
            self.instances.insert(placed.instance, Place { app, process, release, servant, crashes: 0 });
        }
        if let Fact::Instance(InstanceEvent::Crashed(crashed)) = fact
            && let Some(place) = self.instances.get_mut(&crashed.instance)
        {
            place.crashes += 1;
        }
        if let Fact::Servant(ServantEvent::Joined(ServantJoined { facts, .. })) = fact {
            self.name(facts.servant, &facts.name);
        }
        if let Fact::Servant(ServantEvent::Changed(ServantChanged { facts, .. })) = fact {
            self.name(facts.servant, &facts.name);
        }
    }

    /// After an event was told of: what is gone with it.
    pub(super) fn forget(&mut self, fact: &Fact) {
        if let Fact::Instance(InstanceEvent::Stopped(stopped)) = fact {
            self.instances.remove(&stopped.instance);
        }
        if let Fact::Servant(ServantEvent::Removed(removed)) = fact {
            self.servants.remove(&removed.servant);
        }
    }

    fn name(&mut self, servant: ServantId, name: &ServantName) {
        self.servants.insert(servant, name.clone());
    }

    pub(super) fn place(&self, instance: InstanceId) -> Option<&Place> {
        self.instances.get(&instance)
    }

    /// The name of a servant, or its id when it never joined.
    pub(super) fn servant(&self, servant: ServantId) -> String {
        self.servants.get(&servant).map_or_else(|| servant.to_string(), ToString::to_string)
    }

    /// How many instances have their place on a servant.
    pub(super) fn instances_on(&self, servant: ServantId) -> usize {
        self.instances.values().filter(|place| place.servant == servant).count()
    }
}
