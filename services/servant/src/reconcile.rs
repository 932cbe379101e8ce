//! The reconciler: what must be done so that what runs here becomes what shall run here. A pure state machine: inputs
//! and the time in, actions out; no clock, no file, no process. The shell in [`crate::run`] performs the actions and
//! brings back what came of them.
//!
//! Read [`input`] (what can happen and what can be done), then [`instance`] (the life of one instance).

pub mod input;
mod instance;
mod crashes;
mod health;
#[cfg(test)]
mod laws;
#[cfg(test)]
mod stories;
#[cfg(test)]
mod order;
pub use crashes::{CRASH_WINDOW_MS, CRASHES};
pub use input::{Action, Adopted, Input, Moment, Reported, StartTrouble};

use crate::spec::{ReleaseKey, Spec};
use events::InstanceId;
use events::report::{Failed, InstanceNews, Stopped};
use instance::{Instance, Wish};
use std::collections::{BTreeMap, BTreeSet};

/// What can be set.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long an instance must be healthy after a crash loop to count as steady.
    pub steady_ms: u64,
    /// What makes the waits of this servant differ from those of others; 0 for none.
    pub seed: u64,
}

/// Everything that the servant knows of its instances.
pub struct Reconciler {
    settings: Settings,
    instances: BTreeMap<InstanceId, Instance>,
    releases: BTreeMap<ReleaseKey, Release>,
    is_ending: bool,
}

/// How far a release is on this host.
#[derive(Clone, Debug, PartialEq)]
enum Release {
    Preparing,
    Ready,
}

impl Reconciler {
    /// A servant that knows of nothing.
    pub fn new(settings: Settings) -> Self {
        Self { settings, instances: BTreeMap::new(), releases: BTreeMap::new(), is_ending: false }
    }

    /// One input, at one moment. Reports stand before what may make them forgotten.
    pub fn step(&mut self, now: Moment, input: Input) -> Vec<Action> {
        let mut actions = Vec::new();
        match input {
            Input::Known { spec, missed, adopted, looping } => {
                let mut instance = Instance::new(*spec, self.settings.seed);
                instance.adopt(now, &missed, adopted, looping, &mut actions);
                self.know(instance, &mut actions);
            }
            Input::Assigned { specs, broken } => self.assign(now, specs, &broken, &mut actions),
            Input::ReleaseReady(key) => self.release_ready(&key, &mut actions),
            Input::ReleaseFailed { key, stage, reason } => {
                self.releases.remove(&key);
                for instance in self.instances.values_mut().filter(|instance| instance.spec.key == key) {
                    instance.give_up(stage, reason.clone(), &mut actions);
                }
            }
            Input::ImageBuilt { instance, built } => {
                self.with(instance, |it| it.image_built(&built, &mut actions));
            }
            Input::Tick => self.tick(now, &mut actions),
            Input::End => self.end(now, &mut actions),
            Input::Gone(id) => self.gone(id, &mut actions),
            Input::Started { instance, pid } => {
                self.with(instance, |it| it.started(now, pid, &mut actions));
            }
            Input::StartFailed { instance, trouble } => {
                if let Some(gone) =
                    self.instances.get(&instance).filter(|_| trouble == StartTrouble::ReleaseGone)
                {
                    self.releases.remove(&gone.spec.key);
                }
                self.with(instance, |it| it.start_failed(now, trouble, &mut actions));
                self.restart(instance, &mut actions);
            }
            Input::Exited { instance, exit } => {
                self.with(instance, |it| it.exited(now, &exit, &mut actions));
                self.restart(instance, &mut actions);
            }
            Input::Passed { instance, run } => {
                self.with(instance, |it| it.passed(now, run, &mut actions));
            }
            Input::CheckFailed { instance, run, reason } => {
                self.with(instance, |it| it.check_failed(now, run, reason, &mut actions));
            }
        }
        self.start_what_waited(&mut actions);
        actions
    }

    /// Starts the instances whose turn has come: those that they wait for are healthy.
    fn start_what_waited(&mut self, actions: &mut Vec<Action>) {
        if self.is_ending {
            return;
        }
        let waits =
            |instance: &Instance| instance.is_waiting() && !instance.spec.how.supervision.after.is_empty();
        let waiting = self.instances.values().filter(|instance| waits(instance)).map(|it| it.spec.instance);
        for id in waiting.collect::<Vec<_>>() {
            self.restart(id, actions);
        }
    }

    /// Whether something of the same app that an instance waits for is not healthy here. What is not here at all is not
    /// waited for.
    fn is_blocked(&self, spec: &Spec) -> bool {
        let after = &spec.how.supervision.after;
        !after.is_empty()
            && self.instances.values().any(|other| {
                let (key, process) = (&other.spec.key, &other.spec.process);
                key.app == spec.key.app && after.contains(process) && other.holds_back()
            })
    }

    /// When the next tick is due.
    pub fn deadline(&self) -> Option<Moment> {
        self.instances.values().filter_map(|instance| instance.deadline(&self.settings)).min()
    }

    /// Whether it holds this instance, in whatever phase.
    pub fn knows(&self, instance: InstanceId) -> bool {
        self.instances.contains_key(&instance)
    }

    /// Whether nothing runs and nothing is on its way.
    pub fn is_quiet(&self) -> bool {
        self.instances.values().all(Instance::is_quiet)
    }

    /// The releases that are still of use.
    pub fn releases_in_use(&self) -> BTreeSet<ReleaseKey> {
        self.instances.values().map(|instance| instance.spec.key.clone()).collect()
    }

    fn with(&mut self, id: InstanceId, act: impl FnOnce(&mut Instance)) {
        // What comes late of an instance that is gone means nothing.
        if let Some(instance) = self.instances.get_mut(&id) {
            act(instance);
        }
    }

    fn know(&mut self, instance: Instance, actions: &mut Vec<Action>) {
        let id = instance.spec.instance;
        self.instances.insert(id, instance);
        self.restart(id, actions);
    }

    fn assign(&mut self, now: Moment, specs: Vec<Spec>, broken: &[InstanceId], actions: &mut Vec<Action>) {
        if self.is_ending {
            return;
        }
        let wanted: BTreeSet<InstanceId> =
            specs.iter().map(|spec| spec.instance).chain(broken.iter().copied()).collect();
        for (_, instance) in self.instances.iter_mut().filter(|(id, _)| !wanted.contains(id)) {
            instance.retire(now, actions);
        }
        for id in broken.iter().filter(|id| !self.instances.contains_key(id)) {
            let reason = "its assignment names no such release or process type".to_owned();
            let failed = Failed { instance: *id, stage: events::report::Stage::Start, reason };
            actions.push(Action::Report(InstanceNews::Failed(failed)));
        }
        let ids: Vec<InstanceId> = specs.iter().map(|spec| spec.instance).collect();
        for spec in specs {
            let id = spec.instance;
            match self.instances.get_mut(&id) {
                Some(instance) => instance.change(now, spec, actions),
                None => drop(self.instances.insert(id, Instance::new(spec, self.settings.seed))),
            }
        }
        // Once all of them are known: one may have to wait for another.
        ids.into_iter().for_each(|id| self.restart(id, actions));
        self.forget_releases();
    }

    /// A release that nobody uses may be gone from the disk when it is needed again.
    fn forget_releases(&mut self) {
        let used = self.releases_in_use();
        self.releases.retain(|key, _| used.contains(key));
    }

    fn release_ready(&mut self, key: &ReleaseKey, actions: &mut Vec<Action>) {
        if let Some(release) = self.releases.get_mut(key) {
            *release = Release::Ready;
        }
        let of_it = |instance: &&Instance| instance.spec.key == *key;
        for id in self.instances.values().filter(of_it).map(|it| it.spec.instance).collect::<Vec<_>>() {
            self.restart(id, actions);
        }
    }

    /// Starts what waits to be started, preparing its release first where that is needed.
    fn restart(&mut self, id: InstanceId, actions: &mut Vec<Action>) {
        let is_blocked = self.instances.get(&id).is_some_and(|instance| self.is_blocked(&instance.spec));
        let Some(instance) = self.instances.get_mut(&id).filter(|instance| instance.is_waiting()) else {
            return;
        };
        if self.is_ending {
            return;
        }
        match self.releases.get(&instance.spec.key) {
            Some(Release::Ready) if is_blocked => {}
            Some(Release::Ready) => instance.release_ready(actions),
            Some(Release::Preparing) => {}
            None => {
                self.releases.insert(instance.spec.key.clone(), Release::Preparing);
                actions.push(Action::Prepare(Box::new(instance.spec.clone())));
            }
        }
    }

    fn tick(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let ids: Vec<InstanceId> = self.instances.keys().copied().collect();
        for id in ids {
            let settings = self.settings;
            self.with(id, |it| it.tick(now, &settings, actions));
            self.restart(id, actions);
        }
    }

    fn end(&mut self, now: Moment, actions: &mut Vec<Action>) {
        self.is_ending = true;
        for instance in self.instances.values_mut() {
            instance.end(now, actions);
        }
    }

    fn gone(&mut self, id: InstanceId, actions: &mut Vec<Action>) {
        match self.instances.get_mut(&id).filter(|instance| instance.is_leaving()) {
            Some(instance) if instance.wish == Wish::Run && !self.is_ending => {
                instance.wait_again();
                self.restart(id, actions);
            }
            Some(_) => {
                self.instances.remove(&id);
                self.forget_releases();
            }
            None => {}
        }
    }
}

/// An instance is gone, whether it ever ran or not.
fn stopped(instance: InstanceId) -> Action {
    Action::Report(InstanceNews::Stopped(Stopped { instance }))
}
