//! Trial: facts applied to a state in a way that can be taken back, at the cost of what they touch and not of the whole.
//!
//! Before a fact is applied, what it may change is kept as it was. `touch` says what that is; a law proves that a state is
//! byte for byte what it was after a trial is taken back.

use crate::state::{Config, Scope, State};
use events::event::{AppEvent, ConfigEvent, Fact, ReleaseEvent, VersionEvent};
use events::{AppName, ExecId, InstanceId, ServantId};
use std::collections::BTreeSet;
use uuid::Uuid;

/// What facts have touched, as it was before them.
pub(crate) struct Trial {
    touched: Touched,
    /// Of the maps only what was touched; everything else whole.
    before: State,
}

/// Keys of what a fact may change.
#[derive(Default)]
struct Touched {
    apps: BTreeSet<AppName>,
    scopes: BTreeSet<Scope>,
    servants: BTreeSet<ServantId>,
    instances: BTreeSet<InstanceId>,
    mails: BTreeSet<Uuid>,
    execs: BTreeSet<ExecId>,
}

impl Trial {
    pub fn begin(state: &State) -> Self {
        Self { touched: Touched::default(), before: heads(state) }
    }

    /// Keeps what a fact may change; to be called before it is applied.
    pub fn note(&mut self, state: &State, fact: &Fact) {
        let mut touched = Touched::default();
        touch(state, fact, &mut touched);
        touched.without(&self.touched);
        copy(state, &touched, &mut self.before);
        self.touched.extend(touched);
    }

    /// What was touched as it was, and as it is.
    pub fn sides(&self, state: &State) -> (&State, State) {
        let mut after = heads(state);
        copy(state, &self.touched, &mut after);
        (&self.before, after)
    }

    /// Takes everything back.
    pub fn revert(self, state: &mut State) {
        let Self { touched, mut before } = self;
        for id in &touched.servants {
            if let Some(servant) = state.servants.get(id) {
                state.servant_names.remove(&servant.facts.name);
            }
        }
        for id in &touched.servants {
            put(&mut state.servants, *id, before.servants.remove(id));
            put(&mut state.senders, id.0, before.senders.remove(&id.0));
            if let Some(servant) = state.servants.get(id) {
                state.servant_names.insert(servant.facts.name.clone(), *id);
            }
        }
        for name in touched.apps {
            if before.unsettled.contains(&name) {
                state.unsettled.insert(name.clone());
            } else {
                state.unsettled.remove(&name);
            }
            let app = before.apps.remove(&name);
            put(&mut state.apps, name, app);
        }
        for scope in touched.scopes {
            let settings = before.config.scopes.remove(&scope);
            put(&mut state.config.scopes, scope, settings);
        }
        for id in touched.instances {
            put(&mut state.instances, id, before.instances.remove(&id));
        }
        for mail in touched.mails {
            put(&mut state.mails, mail, before.mails.remove(&mail));
        }
        for exec in touched.execs {
            put(&mut state.execs.0, exec, before.execs.0.remove(&exec));
        }
        put_heads(before, state);
    }
}

fn put<K: Ord, V>(map: &mut std::collections::BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => map.insert(key, value),
        None => map.remove(&key),
    };
}

/// The state without its maps. Every field is named, so that a new one is thought of here.
fn heads(state: &State) -> State {
    let State {
        last,
        at,
        epoch,
        king,
        elected_at,
        inbox,
        apps: _,
        unsettled: _,
        config,
        servants: _,
        servant_names: _,
        instances: _,
        outcomes: _,
        senders: _,
        mails: _,
        keys,
        checkpoint,
        execs: _,
    } = state;
    State {
        last: *last,
        at: *at,
        epoch: *epoch,
        king: *king,
        elected_at: *elected_at,
        inbox: *inbox,
        config: Config { revision: config.revision, ..Config::default() },
        keys: keys.clone(),
        checkpoint: *checkpoint,
        ..State::default()
    }
}

fn put_heads(heads: State, state: &mut State) {
    let State { last, at, epoch, king, elected_at, inbox, config, keys, checkpoint, .. } = heads;
    state.elected_at = elected_at;
    (state.last, state.at, state.epoch, state.king, state.inbox) = (last, at, epoch, king, inbox);
    state.config.revision = config.revision;
    (state.keys, state.checkpoint) = (keys, checkpoint);
}

/// Copies what is named from one state into another.
fn copy(state: &State, touched: &Touched, into: &mut State) {
    let apps = touched.apps.iter().filter_map(|name| state.apps.get_key_value(name));
    into.apps.extend(apps.map(|(name, app)| (name.clone(), app.clone())));
    into.unsettled.extend(touched.apps.iter().filter(|name| state.unsettled.contains(*name)).cloned());
    let scopes = touched.scopes.iter().filter_map(|scope| state.config.scopes.get_key_value(scope));
    into.config.scopes.extend(scopes.map(|(scope, settings)| (scope.clone(), settings.clone())));
    for id in &touched.servants {
        into.servants.extend(state.servants.get(id).map(|servant| (*id, servant.clone())));
        into.senders.extend(state.senders.get(&id.0).map(|last| (id.0, *last)));
    }
    let instances = touched.instances.iter().filter_map(|id| state.instances.get_key_value(id));
    into.instances.extend(instances.map(|(id, instance)| (*id, instance.clone())));
    let mails = touched.mails.iter().filter_map(|mail| state.mails.get_key_value(mail));
    into.mails.extend(mails.map(|(id, mail)| (*id, mail.clone())));
    let execs = touched.execs.iter().filter_map(|exec| state.execs.0.get_key_value(exec));
    into.execs.0.extend(execs.map(|(id, exec)| (*id, exec.clone())));
}

impl Touched {
    fn without(&mut self, known: &Self) {
        self.apps.retain(|key| !known.apps.contains(key));
        self.scopes.retain(|key| !known.scopes.contains(key));
        self.servants.retain(|key| !known.servants.contains(key));
        self.instances.retain(|key| !known.instances.contains(key));
        self.mails.retain(|key| !known.mails.contains(key));
        self.execs.retain(|key| !known.execs.contains(key));
    }

    fn extend(&mut self, other: Self) {
        self.apps.extend(other.apps);
        self.scopes.extend(other.scopes);
        self.servants.extend(other.servants);
        self.instances.extend(other.instances);
        self.mails.extend(other.mails);
        self.execs.extend(other.execs);
    }

    fn instance(&mut self, state: &State, id: InstanceId) {
        self.instances.insert(id);
        if let Some(instance) = state.instances.get(&id) {
            self.apps.insert(instance.app.clone());
            self.servants.insert(instance.servant);
        }
    }

    fn servant(&mut self, state: &State, id: ServantId) {
        self.servants.insert(id);
        self.execs.extend(state.execs.on(id).into_iter().map(|(exec, _)| exec));
        let on_it = state.servants.get(&id).into_iter().flat_map(|servant| &servant.instances);
        on_it.for_each(|instance| self.instance(state, *instance));
    }
}

/// What applying a fact may change. Outcomes, and what is known of senders, are recorded outside of trials.
fn touch(state: &State, fact: &Fact, touched: &mut Touched) {
    match fact {
        Fact::App(event) => touch_app(state, event, touched),
        Fact::Version(VersionEvent::Published(event)) => {
            touched.apps.insert(event.app.clone());
        }
        Fact::Version(VersionEvent::ImageBuilt(event)) => {
            touched.apps.insert(event.app.clone());
        }
        Fact::Release(ReleaseEvent::Created(event)) => {
            touched.apps.insert(event.app.clone());
        }
        Fact::Config(ConfigEvent::Set(event)) => {
            touched.scopes.insert(Scope { app: event.app.clone(), process: event.process.clone() });
        }
        Fact::Config(ConfigEvent::Unset(event)) => {
            touched.scopes.insert(Scope { app: event.app.clone(), process: event.process.clone() });
        }
        Fact::Instance(event) => {
            if let events::event::InstanceEvent::Placed(placed) = event {
                touched.apps.insert(placed.app.clone());
                touched.servants.insert(placed.servant);
            }
            touched.instance(state, event.instance());
        }
        Fact::Servant(event) => touched.servant(state, event.servant()),
        Fact::Alert(event) => {
            touched.mails.insert(event.mail());
        }
        Fact::Exec(event) => {
            touched.execs.insert(event.exec());
            touched.execs.extend(state.execs.forgotten_next());
        }
        // What a King says of itself stands in the heads.
        Fact::Command(_) | Fact::King(_) => {}
    }
}

fn touch_app(state: &State, event: &AppEvent, touched: &mut Touched) {
    touched.apps.insert(event.app().clone());
    match event {
        AppEvent::Removed(event) => {
            let app = state.apps.get(&event.app);
            touched.instances.extend(app.into_iter().flat_map(|app| &app.instances));
            let scopes = state.config.scopes.keys().filter(|scope| scope.app.as_ref() == Some(&event.app));
            touched.scopes.extend(scopes.cloned());
        }
        AppEvent::Created(_)
        | AppEvent::Pushed(_)
        | AppEvent::Deployed(_)
        | AppEvent::Scaled(_)
        | AppEvent::Settled(_)
        | AppEvent::ImageAdded(_)
        | AppEvent::Emitted(_) => {}
    }
}
