//! Converge: what must happen to an app's instances so that what runs becomes what shall run.
//!
//! One function for deploys, scaling, lost servants and everything else: it compares what shall run with what is there
//! and gives the next facts. Where nothing is missing it gives none, so it can be asked again at any time.
//!
//! The order of a deploy: instances of the new release are placed; when all of them are well, those of the old ones are
//! retired; when these are gone too, the app is settled.

use crate::context::Context;
use crate::schedule::{Need, places};
use crate::state::{App, Instance, State};
use events::event::{AppEvent, AppSettled, InstanceEvent, InstancePlaced, InstanceRetired, RetireReason};
use events::query::InstancePhase;
use events::{AppName, Fact, InstanceId, ProcessName};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

type Live<'a> = (InstanceId, &'a Instance);

/// Ids for the instances that one input places.
pub struct Ids<'a> {
    context: &'a Context,
    next: u64,
}

impl<'a> Ids<'a> {
    pub fn new(context: &'a Context) -> Self {
        Self { context, next: 0 }
    }

    fn instance(&mut self) -> InstanceId {
        self.next += 1;
        InstanceId(self.context.id(self.next))
    }
}

/// The next facts for one app, at most `budget`.
pub fn app(state: &State, name: &AppName, budget: usize, ids: &mut Ids<'_>) -> Vec<Fact> {
    let Some(app) = state.apps.get(name) else { return Vec::new() };
    let Some(release) = app.current else { return Vec::new() };
    let mut facts = Vec::new();
    for (process, instances) in by_process(state, app) {
        let wanted = app.counts.get(&process).copied().unwrap_or(0) as usize;
        let group = Group { state, app, name, process: &process, release, wanted, instances };
        group.converge(budget, ids, &mut facts);
    }
    if facts.is_empty() && state.unsettled.contains(name) && is_settled(state, app, release) && budget > 0 {
        facts.push(Fact::App(AppEvent::Settled(AppSettled { app: name.clone(), release })));
    }
    facts
}

/// The live instances of an app by process type, with every process type that shall run.
fn by_process<'a>(state: &'a State, app: &'a App) -> BTreeMap<ProcessName, Vec<Live<'a>>> {
    let mut groups: BTreeMap<ProcessName, Vec<Live<'a>>> =
        app.counts.keys().map(|process| (process.clone(), Vec::new())).collect();
    for (id, instance) in state.instances_of(app).filter(|(_, instance)| !instance.is_retired()) {
        groups.entry(instance.process.clone()).or_default().push((id, instance));
    }
    groups
}

/// Everything that shall run is well, and nothing else is left where it can be known.
fn is_settled(state: &State, app: &App, release: u32) -> bool {
    let mut well: BTreeMap<&ProcessName, u32> = BTreeMap::new();
    for (_, instance) in state.instances_of(app) {
        let lost = state.is_lost(instance.servant);
        if instance.is_retired() {
            if !lost {
                return false;
            }
        } else if instance.release == release && instance.is_well() && !lost {
            *well.entry(&instance.process).or_default() += 1;
        } else {
            return false;
        }
    }
    app.counts.iter().all(|(process, wanted)| well.get(process).copied().unwrap_or(0) == *wanted)
}

/// The instances of one process type, and how many there shall be.
struct Group<'a> {
    state: &'a State,
    app: &'a App,
    name: &'a AppName,
    process: &'a ProcessName,
    release: u32,
    wanted: usize,
    instances: Vec<Live<'a>>,
}

impl Group<'_> {
    fn converge(&self, budget: usize, ids: &mut Ids<'_>, facts: &mut Vec<Fact>) {
        let (current, old): (Vec<Live<'_>>, Vec<Live<'_>>) =
            self.instances.iter().copied().partition(|(_, instance)| instance.release == self.release);
        let (lost, present): (Vec<Live<'_>>, Vec<Live<'_>>) =
            current.iter().copied().partition(|(_, instance)| self.state.is_lost(instance.servant));
        let missing = self.wanted.saturating_sub(current.len());
        let replaced = self.place(missing, &lost, budget, ids, facts);
        let surplus = current.len().saturating_sub(self.wanted);
        let retired =
            retire(&worst_first(current, self.state)[..surplus], RetireReason::ScaledDown, budget, facts);
        let complete = missing == 0 && replaced == 0 && retired == surplus;
        let well = present.iter().filter(|(_, instance)| instance.is_well()).count();
        if complete && well >= self.wanted {
            let reason = if self.wanted == 0 { RetireReason::ScaledDown } else { RetireReason::Replaced };
            retire(&old, reason, budget, facts);
        } else {
            let useless: Vec<Live<'_>> =
                old.into_iter().filter(|(_, instance)| is_useless(instance)).collect();
            retire(&useless, RetireReason::Replaced, budget, facts);
        }
    }

    /// Places what is missing, then successors for what is on lost servants. Gives the number of the latter.
    fn place(
        &self,
        missing: usize,
        lost: &[Live<'_>],
        budget: usize,
        ids: &mut Ids<'_>,
        facts: &mut Vec<Fact>,
    ) -> usize {
        let movable = lost.len().min(self.wanted);
        if missing + movable == 0 {
            return 0;
        }
        let Some(manifest) = self.app.manifest_of(self.release) else { return 0 };
        let Some(need) = Need::of(manifest, self.name, self.process) else { return 0 };
        // A successor for a lost instance costs two facts: its place, and the retirement of the lost one.
        let room = budget.saturating_sub(facts.len());
        let fresh = missing.min(room);
        let moved = movable.min((room - fresh) / 2);
        let places = places(self.state, &need, fresh + moved, |servant| self.state.is_lost(servant));
        let mut successors = 0;
        for (index, place) in places.into_iter().enumerate() {
            facts.push(Fact::Instance(InstanceEvent::Placed(InstancePlaced {
                instance: ids.instance(),
                app: self.name.clone(),
                process: self.process.clone(),
                release: self.release,
                servant: place.servant,
                ports: place.ports,
            })));
            if index >= fresh {
                facts.push(retirement(lost[successors].0, RetireReason::ServantLost));
                successors += 1;
            }
        }
        successors
    }
}

/// An instance of an old release that does no work and will not soon.
fn is_useless(instance: &Instance) -> bool {
    instance.is_hopeless() || instance.phase == InstancePhase::Placed
}

/// Those that are least worth keeping first: not well, on lost servants, on full servants, youngest.
fn worst_first<'a>(mut instances: Vec<Live<'a>>, state: &State) -> Vec<Live<'a>> {
    instances.sort_by_key(|(id, instance)| {
        let crowd = state.servants.get(&instance.servant).map_or(0, |servant| servant.instances.len());
        (instance.is_well() && !state.is_lost(instance.servant), Reverse(crowd), Reverse(*id))
    });
    instances
}

/// Retires instances as far as the budget reaches; gives how many.
fn retire(instances: &[Live<'_>], reason: RetireReason, budget: usize, facts: &mut Vec<Fact>) -> usize {
    let room = budget.saturating_sub(facts.len());
    let retired: BTreeSet<InstanceId> = facts.iter().filter_map(retired_by).collect();
    let chosen = instances.iter().filter(|(id, _)| !retired.contains(id)).take(room);
    let before = facts.len();
    facts.extend(chosen.map(|(id, _)| retirement(*id, reason)));
    facts.len() - before
}

fn retired_by(fact: &Fact) -> Option<InstanceId> {
    match fact {
        Fact::Instance(InstanceEvent::Retired(event)) => Some(event.instance),
        Fact::Instance(_)
        | Fact::App(_)
        | Fact::Version(_)
        | Fact::Release(_)
        | Fact::Config(_)
        | Fact::Servant(_)
        | Fact::Command(_)
        | Fact::Alert(_)
        | Fact::King(_) => None,
    }
}

fn retirement(instance: InstanceId, reason: RetireReason) -> Fact {
    Fact::Instance(InstanceEvent::Retired(InstanceRetired { instance, reason }))
}
