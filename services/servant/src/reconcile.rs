//! The reconciler: what must be done so that what runs here becomes what shall run here. A pure state machine: inputs
//! and the time in, actions out; no clock, no file, no process. The shell in [`crate::run`] performs the actions and
//! brings back what came of them.
//!
//! Read [`input`] (what can happen and what can be done), then [`instance`] (the life of one process), [`crew`] (all
//! processes of one instance) and [`scale`] (how many workers there shall be).

pub mod input;
mod instance;
mod phase;
mod crew;
pub mod scale;
mod crashes;
mod health;
#[cfg(test)]
pub(crate) mod laws;
#[cfg(test)]
mod stories;
#[cfg(test)]
mod order;
pub use crashes::{CRASH_WINDOW_MS, CRASHES};
pub use input::{Action, Adopted, Input, Moment, Reported, StartTrouble};

use crate::spec::{ReleaseKey, Spec};
use crew::{Crew, FoundCrew};
use events::report::{Failed, InstanceNews, Stopped};
use events::{InstanceId, Slot};
use instance::{Instance, Wish};
use scale::Windows;
use std::collections::{BTreeMap, BTreeSet};

/// What can be set.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long an instance must be healthy after a crash loop to count as steady.
    pub steady_ms: u64,
    /// What makes the waits of this servant differ from those of others; 0 for none.
    pub seed: u64,
    /// CPUs of the host.
    pub cpus: u16,
    /// How long the load of workers is looked at.
    pub windows: Windows,
}

impl Default for Settings {
    fn default() -> Self {
        Self { steady_ms: 30_000, seed: 0, cpus: 1, windows: Windows::default() }
    }
}

/// Everything that the servant knows of its instances.
pub struct Reconciler {
    settings: Settings,
    instances: BTreeMap<InstanceId, Crew>,
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
            Input::Known { spec, missed, adopted, looping, workers } => {
                let found = FoundCrew { spec: *spec, missed, adopted, looping, workers };
                let crew = Crew::found(now, found, &self.settings, &mut actions);
                self.know(now, crew, &mut actions);
            }
            Input::Assigned { specs, broken } => self.assign(now, specs, &broken, &mut actions),
            Input::ReleaseReady(key) => self.release_ready(now, &key, &mut actions),
            Input::ReleaseFailed { key, stage, reason } => {
                self.releases.remove(&key);
                for crew in self.instances.values_mut().filter(|crew| crew.spec.key == key) {
                    crew.with_all(&mut actions, |it, actions| it.give_up(stage, reason.clone(), actions));
                }
            }
            Input::ImageBuilt { instance, built } => {
                self.with(now, (instance, 0), &mut actions, |it, actions| it.image_built(&built, actions));
            }
            Input::Tick => self.tick(now, &mut actions),
            Input::End => self.end(now, &mut actions),
            Input::Gone(id) => self.gone(now, id, &mut actions),
            Input::Started { instance, slot, pid } => {
                self.with(now, (instance, slot), &mut actions, |it, actions| it.started(now, pid, actions));
            }
            Input::StartFailed { instance, slot, trouble } => {
                if let Some(gone) =
                    self.instances.get(&instance).filter(|_| trouble == StartTrouble::ReleaseGone)
                {
                    self.releases.remove(&gone.spec.key);
                }
                let at = (instance, slot);
                self.with(now, at, &mut actions, |it, actions| it.start_failed(now, trouble, actions));
            }
            Input::Exited { instance, exit } => {
                let at = (instance, exit.slot);
                self.with(now, at, &mut actions, |it, actions| it.exited(now, &exit, actions));
            }
            Input::Passed { instance, slot, run } => {
                self.with(now, (instance, slot), &mut actions, |it, actions| it.passed(now, run, actions));
            }
            Input::CheckFailed { instance, slot, run, reason } => {
                let at = (instance, slot);
                self.with(now, at, &mut actions, |it, actions| it.check_failed(now, run, reason, actions));
            }
            Input::Load { instance, mean_permille } => {
                if let Some(crew) = self.instances.get_mut(&instance) {
                    crew.look(now, mean_permille, &self.settings);
                }
                self.restart(now, instance, &mut actions);
            }
        }
        self.start_what_waited(now, &mut actions);
        actions
    }

    /// Starts the instances whose turn has come: those that they wait for are healthy.
    fn start_what_waited(&mut self, now: Moment, actions: &mut Vec<Action>) {
        if self.is_ending {
            return;
        }
        let waits =
            |instance: &Crew| instance.is_waiting() && !instance.spec.how.supervision.after.is_empty();
        let waiting = self.instances.values().filter(|instance| waits(instance)).map(|it| it.spec.instance);
        for id in waiting.collect::<Vec<_>>() {
            self.restart(now, id, actions);
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
        self.instances.values().all(Crew::is_quiet)
    }

    /// The releases that are still of use.
    pub fn releases_in_use(&self) -> BTreeSet<ReleaseKey> {
        self.instances.values().map(|instance| instance.spec.key.clone()).collect()
    }

    /// The slots whose load is of interest, by instance.
    pub fn measured(&self) -> BTreeMap<InstanceId, Vec<Slot>> {
        let each = self.instances.iter().map(|(id, crew)| (*id, crew.measured()));
        each.filter(|(_, slots)| !slots.is_empty()).collect()
    }

    /// The slots of an instance in which something is, in whatever phase.
    pub fn slots(&self, instance: InstanceId) -> Vec<Slot> {
        self.instances.get(&instance).map(Crew::slots).unwrap_or_default()
    }

    fn with(
        &mut self,
        now: Moment,
        (id, slot): (InstanceId, Slot),
        actions: &mut Vec<Action>,
        act: impl FnOnce(&mut Instance, &mut Vec<Action>),
    ) {
        // What comes late of an instance that is gone means nothing.
        if let Some(crew) = self.instances.get_mut(&id) {
            crew.with(slot, actions, act);
        }
        self.restart(now, id, actions);
    }

    fn know(&mut self, now: Moment, crew: Crew, actions: &mut Vec<Action>) {
        let id = crew.spec.instance;
        self.instances.insert(id, crew);
        self.restart(now, id, actions);
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
                None => drop(self.instances.insert(id, Crew::new(spec, &self.settings))),
            }
        }
        // Once all of them are known: one may have to wait for another.
        ids.into_iter().for_each(|id| self.restart(now, id, actions));
        self.forget_releases();
    }

    /// A release that nobody uses may be gone from the disk when it is needed again.
    fn forget_releases(&mut self) {
        let used = self.releases_in_use();
        self.releases.retain(|key, _| used.contains(key));
    }

    fn release_ready(&mut self, now: Moment, key: &ReleaseKey, actions: &mut Vec<Action>) {
        if let Some(release) = self.releases.get_mut(key) {
            *release = Release::Ready;
        }
        let of_it = |instance: &&Crew| instance.spec.key == *key;
        for id in self.instances.values().filter(of_it).map(|it| it.spec.instance).collect::<Vec<_>>() {
            self.restart(now, id, actions);
        }
    }

    /// Goes on with an instance: starts what waits to be started, preparing its release first where that is needed.
    fn restart(&mut self, now: Moment, id: InstanceId, actions: &mut Vec<Action>) {
        if self.is_ending {
            return;
        }
        let is_blocked = self.instances.get(&id).is_some_and(|instance| self.is_blocked(&instance.spec));
        let Some(instance) = self.instances.get_mut(&id) else {
            return;
        };
        instance.advance(now, actions);
        if !instance.is_waiting() {
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
            if let Some(crew) = self.instances.get_mut(&id) {
                crew.with_all(actions, |it, actions| it.tick(now, &settings, actions));
            }
            self.restart(now, id, actions);
        }
    }

    fn end(&mut self, now: Moment, actions: &mut Vec<Action>) {
        self.is_ending = true;
        for instance in self.instances.values_mut() {
            instance.end(now, actions);
        }
    }

    fn gone(&mut self, now: Moment, id: InstanceId, actions: &mut Vec<Action>) {
        match self.instances.get_mut(&id).filter(|instance| instance.is_leaving()) {
            Some(instance) if instance.wish == Wish::Run && !self.is_ending => {
                instance.wait_again();
                self.restart(now, id, actions);
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
