//! Converge: what must happen to an app's instances so that what runs becomes what shall run.
//!
//! One function for deploys, scaling, lost servants and everything else: it compares what shall run with what is there
//! and gives the next facts. Where nothing is missing it gives none, so it can be asked again at any time.
//!
//! Only one process type gets places at a time, for the next one is placed on what that leaves: after places it is to be
//! asked again.
//!
//! The order of a deploy: instances of the new release are placed; when all of them are well, those of the old ones are
//! retired; when these are gone too, the app is settled.

use crate::context::Context;
use crate::schedule::{Need, places};
use crate::state::{App, Instance, State};
use events::event::{AppEvent, AppSettled, InstanceEvent, InstancePlaced, InstanceRetired, RetireReason};
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
    let (kept, dropped): (Vec<Group<'_>>, Vec<Group<'_>>) =
        groups(state, app, name, release).into_iter().partition(|group| group.wanted.is_some());
    let mut well = true;
    for group in &kept {
        well &= group.converge(budget, ids, &mut facts);
        if facts.iter().any(is_place) {
            return facts;
        }
    }
    for group in &dropped {
        group.drop_process(well, budget, &mut facts);
    }
    if facts.is_empty() && state.unsettled.contains(name) && is_settled(state, app, release) && budget > 0 {
        facts.push(Fact::App(AppEvent::Settled(AppSettled { app: name.clone(), release })));
    }
    facts
}

/// Whether a fact takes a place on a servant.
pub fn is_place(fact: &Fact) -> bool {
    matches!(fact, Fact::Instance(InstanceEvent::Placed(_)))
}

/// The live instances of an app by process type, with every process type that shall run.
fn groups<'a>(state: &'a State, app: &'a App, name: &'a AppName, release: u32) -> Vec<Group<'a>> {
    let mut groups: BTreeMap<&ProcessName, Vec<Live<'a>>> =
        app.counts.keys().map(|process| (process, Vec::new())).collect();
    for (id, instance) in state.instances_of(app).filter(|(_, instance)| !instance.is_retired()) {
        groups.entry(&instance.process).or_default().push((id, instance));
    }
    let group = |(process, instances)| {
        let wanted = app.counts.get(process).map(|count| *count as usize);
        Group { state, app, name, process, release, wanted, instances }
    };
    groups.into_iter().map(group).collect()
}

/// Everything that shall run serves, and nothing else is left where it can be known.
fn is_settled(state: &State, app: &App, release: u32) -> bool {
    let mut serving: BTreeMap<&ProcessName, u32> = BTreeMap::new();
    for (_, instance) in state.instances_of(app) {
        if instance.is_retired() {
            if !state.is_lost(instance.servant) {
                return false;
            }
        } else if instance.release == release && state.serves(instance) {
            *serving.entry(&instance.process).or_default() += 1;
        } else {
            return false;
        }
    }
    app.counts.iter().all(|(process, wanted)| serving.get(process).copied().unwrap_or(0) == *wanted)
}

/// The instances of one process type, and how many there shall be.
struct Group<'a> {
    state: &'a State,
    app: &'a App,
    name: &'a AppName,
    process: &'a ProcessName,
    release: u32,
    /// None for a process type that the release does not have.
    wanted: Option<usize>,
    instances: Vec<Live<'a>>,
}

impl Group<'_> {
    /// Gives whether all that shall run serves.
    fn converge(&self, budget: usize, ids: &mut Ids<'_>, facts: &mut Vec<Fact>) -> bool {
        let wanted = self.wanted.unwrap_or(0);
        let (current, old): (Vec<Live<'_>>, Vec<Live<'_>>) =
            self.instances.iter().copied().partition(|(_, instance)| instance.release == self.release);
        // What is done needs no successor, wherever it was.
        let (lost, present): (Vec<Live<'_>>, Vec<Live<'_>>) = current
            .iter()
            .copied()
            .partition(|(_, instance)| self.state.is_lost(instance.servant) && !instance.is_finished());
        let missing = wanted.saturating_sub(current.len());
        let movable = lost.len().min(wanted.saturating_sub(present.len() + missing));
        let replaced = self.place(missing, &lost[..movable], budget, ids, facts);
        let surplus = current.len().saturating_sub(wanted);
        let retired =
            retire(&worst_first(current, self.state)[..surplus], RetireReason::ScaledDown, budget, facts);
        let complete = missing == 0 && replaced == 0 && retired == surplus;
        let serving = present.iter().filter(|(_, instance)| self.state.serves(instance)).count();
        let well = complete && serving >= wanted;
        let reason = if wanted == 0 { RetireReason::ScaledDown } else { RetireReason::Replaced };
        retire_old(old, well, reason, budget, facts);
        well
    }

    /// What the new release has no more goes when all that it has is well.
    fn drop_process(&self, well: bool, budget: usize, facts: &mut Vec<Fact>) {
        retire_old(self.instances.clone(), well, RetireReason::Replaced, budget, facts);
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
        if missing + lost.len() == 0 {
            return 0;
        }
        let Some(need) = Need::of(self.app, self.name, self.release, self.process) else { return 0 };
        // A successor for a lost instance costs two facts: its place, and the retirement of the lost one.
        let room = budget.saturating_sub(facts.len());
        let fresh = missing.min(room);
        let moved = lost.len().min((room - fresh) / 2);
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

/// Retires instances of old releases: all of them when what takes their place is well, else those that do no work and
/// will not soon.
fn retire_old(old: Vec<Live<'_>>, well: bool, reason: RetireReason, budget: usize, facts: &mut Vec<Fact>) {
    let useless = |instance: &Instance| instance.is_hopeless() || instance.is_untouched();
    let chosen: Vec<Live<'_>> = old.into_iter().filter(|(_, instance)| well || useless(instance)).collect();
    let reason = if well { reason } else { RetireReason::Replaced };
    retire(&chosen, reason, budget, facts);
}

/// Those that are least worth keeping first: not serving, on full servants, youngest.
fn worst_first<'a>(mut instances: Vec<Live<'a>>, state: &State) -> Vec<Live<'a>> {
    instances.sort_by_key(|(id, instance)| {
        let crowd = state.servants.get(&instance.servant).map_or(0, |servant| servant.instances.len());
        (state.serves(instance), !state.is_lost(instance.servant), Reverse(crowd), Reverse(*id))
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
        | Fact::Exec(_)
        | Fact::King(_) => None,
    }
}

fn retirement(instance: InstanceId, reason: RetireReason) -> Fact {
    Fact::Instance(InstanceEvent::Retired(InstanceRetired { instance, reason }))
}
