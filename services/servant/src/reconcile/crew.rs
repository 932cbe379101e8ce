//! An instance as a whole: the processes in its slots, and what is said of all of them together. An instance without
//! workers has one process, in slot 0, and its life is [`Instance`]'s alone. One with workers has as many as [`Scale`]
//! says: each crashes and is restarted by itself, the instance is ready while enough of them are, and its holder is let
//! go when all have ended. A restart that was ordered goes through them one by one ([`Crew::advance`]).

use super::instance::{Instance, Wish};
use super::scale::Scale;
use super::{Action, Adopted, Moment, Settings, stopped};
use crate::holder::words::Exit;
use crate::spec::Spec;
use events::Slot;
use events::manifest::Listen;
use events::report::{InstanceNews, Ready, Scaled, Unhealthy};
use std::cmp::Ordering;
use std::collections::BTreeMap;

pub struct Crew {
    pub spec: Spec,
    pub wish: Wish,
    /// What makes its waits differ from those of others.
    seed: u64,
    members: BTreeMap<Slot, Instance>,
    /// None without workers.
    scale: Option<Scale>,
    /// How many workers the King was told of.
    counted: u16,
    readiness: Readiness,
    /// Its holder is let go.
    is_leaving: bool,
    /// That it is gone is to be reported once all of it is.
    owes_stopped: bool,
}

/// Whether enough workers are ready, as the King was told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Readiness {
    /// They were found running: it may have been told anything.
    Unknown,
    Ready,
    NotReady,
}

/// How an instance was found at the start.
pub struct FoundCrew {
    pub spec: Spec,
    pub missed: Vec<Exit>,
    pub adopted: BTreeMap<Slot, Adopted>,
    pub looping: bool,
    pub workers: u16,
}

impl Crew {
    pub fn new(spec: Spec, settings: &Settings) -> Self {
        let mut crew = Self::empty(spec, settings, 0);
        if crew.scale.is_none() {
            crew.add();
        }
        crew
    }

    pub fn found(now: Moment, found: FoundCrew, settings: &Settings, actions: &mut Vec<Action>) -> Self {
        let mut crew = Self::empty(found.spec, settings, found.workers);
        for slot in found.missed.iter().map(|exit| exit.slot).chain(found.adopted.keys().copied()) {
            crew.members.entry(slot).or_insert_with(|| Instance::new(crew.spec.clone(), slot, settings.seed));
        }
        if found.looping {
            crew.members.values_mut().for_each(Instance::was_looping);
        }
        let mut own = Vec::new();
        for exit in &found.missed {
            if let Some(member) = crew.members.get_mut(&exit.slot) {
                member.missed(now, exit, &mut own);
            }
        }
        for (slot, adopted) in found.adopted {
            let Some(member) = crew.members.get_mut(&slot) else { continue };
            if let (Some(_), Adopted::Running { restarts, .. }) = (&crew.scale, &adopted) {
                member.spec.restarts = *restarts;
                crew.readiness = Readiness::Unknown;
            }
            member.adopt(now, adopted, &mut own);
        }
        crew.pass_on(own, actions);
        crew
    }

    fn empty(spec: Spec, settings: &Settings, counted: u16) -> Self {
        let workers = spec.how.workers.as_ref();
        let scale = workers.map(|workers| {
            let (min, max) = workers.range(settings.cpus, spec.how.ports.len());
            Scale::new(min, max, workers.cpu, counted)
        });
        Self {
            spec,
            wish: Wish::Run,
            seed: settings.seed,
            members: BTreeMap::new(),
            scale,
            counted,
            readiness: Readiness::NotReady,
            is_leaving: false,
            owes_stopped: false,
        }
    }

    pub fn is_waiting(&self) -> bool {
        !self.is_leaving && self.members.values().any(Instance::is_waiting)
    }

    /// Whether those that start after it must wait: none of it is healthy, nor has it done what it was for.
    pub fn holds_back(&self) -> bool {
        match self.scale {
            Some(_) => self.wish == Wish::Run && !self.members.values().any(Instance::is_ready),
            None => self.members.values().any(Instance::holds_back),
        }
    }

    pub fn is_leaving(&self) -> bool {
        self.is_leaving
    }

    pub fn is_quiet(&self) -> bool {
        self.members.values().all(Instance::is_quiet)
    }

    pub fn deadline(&self, settings: &Settings) -> Option<Moment> {
        self.members.values().filter_map(|member| member.deadline(settings)).min()
    }

    pub fn slots(&self) -> Vec<Slot> {
        self.members.keys().copied().collect()
    }

    /// The slots whose load is of interest.
    pub fn measured(&self) -> Vec<Slot> {
        let is_open = self.scale.as_ref().is_some_and(Scale::is_open);
        let members = self.members.iter().filter(|(_, member)| is_open && member.is_ready());
        members.map(|(slot, _)| *slot).collect()
    }

    /// Its workers used so much of one CPU each.
    pub fn look(&mut self, now: Moment, mean_permille: u32, settings: &Settings) {
        if let Some(scale) = &mut self.scale {
            scale.look(now, mean_permille, settings.windows);
        }
    }

    /// Its holder is gone, and it shall run.
    pub fn wait_again(&mut self) {
        self.is_leaving = false;
        self.members.values_mut().for_each(Instance::wait_again);
    }

    pub fn release_ready(&mut self, actions: &mut Vec<Action>) {
        for member in self.members.values_mut().filter(|member| member.is_waiting()) {
            member.spec.clone_from(&self.spec);
            member.release_ready(actions);
        }
    }

    /// What happened in one slot. What comes late of one that is gone means nothing.
    pub fn with(
        &mut self,
        slot: Slot,
        actions: &mut Vec<Action>,
        act: impl FnOnce(&mut Instance, &mut Vec<Action>),
    ) {
        let mut own = Vec::new();
        if let Some(member) = self.members.get_mut(&slot) {
            act(member, &mut own);
        }
        self.pass_on(own, actions);
    }

    /// What happened to all of it.
    pub fn with_all(
        &mut self,
        actions: &mut Vec<Action>,
        mut act: impl FnMut(&mut Instance, &mut Vec<Action>),
    ) {
        let mut own = Vec::new();
        self.members.values_mut().for_each(|member| act(member, &mut own));
        self.pass_on(own, actions);
    }

    /// It is assigned, perhaps otherwise than before.
    pub fn change(&mut self, now: Moment, spec: Spec, actions: &mut Vec<Action>) {
        let was_stopped = self.wish == Wish::Stop;
        if was_stopped {
            self.wish = Wish::Run;
        }
        let same_restarts = Spec { restarts: self.spec.restarts, ..spec.clone() };
        // Its workers are restarted one by one.
        let rolls = self.scale.is_some() && same_restarts == self.spec;
        self.spec = spec.clone();
        self.with_all(actions, |member, actions| {
            if was_stopped || member.wish == Wish::Run {
                let restarts = if rolls { member.spec.restarts } else { spec.restarts };
                member.change(now, Spec { restarts, ..spec.clone() }, actions);
            }
        });
    }

    /// It is no longer assigned.
    pub fn retire(&mut self, now: Moment, actions: &mut Vec<Action>) {
        self.wish = Wish::Stop;
        self.owes_stopped |= self.members.is_empty();
        self.with_all(actions, |member, actions| member.retire(now, actions));
    }

    /// The Servant ends.
    pub fn end(&mut self, now: Moment, actions: &mut Vec<Action>) {
        if self.wish != Wish::Stop {
            self.wish = Wish::Pause;
        }
        self.with_all(actions, |member, actions| member.end(now, actions));
    }

    /// Goes one step towards the workers that are wanted, each started after the last restart that was ordered. With a
    /// shared socket the new one is ready before an old one ends; with a port of its own an old one makes room first.
    pub fn advance(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let Some(scale) = self.scale.as_ref().filter(|_| self.wish == Wish::Run && !self.is_leaving) else {
            return;
        };
        let wanted = scale.wanted();
        self.report_count(wanted, actions);
        let crew = || self.members.iter().filter(|(_, member)| member.wish == Wish::Run);
        let (count, highest) = (crew().count(), crew().map(|(slot, _)| *slot).next_back());
        let is_old = |member: &Instance| member.spec.restarts != self.spec.restarts;
        // One that serves nobody goes first.
        let old = crew().filter(|(_, member)| is_old(member));
        let oldest = old.min_by_key(|(slot, member)| (member.is_ready(), **slot)).map(|(slot, _)| *slot);
        let others_are_ready = crew().filter(|(_, member)| !is_old(member)).all(|(_, it)| it.is_ready());
        let is_idle = self.members.len() == count;
        match (count.cmp(&usize::from(wanted)), oldest) {
            (Ordering::Less, _) => while self.members.len() < usize::from(wanted) && self.add() {},
            (Ordering::Equal, Some(old)) if others_are_ready && is_idle => {
                if self.spec.listen() == Some(Listen::Own) || !self.add() {
                    self.dismiss(now, old, actions);
                }
            }
            (Ordering::Greater, Some(old)) if others_are_ready => self.dismiss(now, old, actions),
            (Ordering::Greater, None) => {
                if let Some(slot) = highest {
                    self.dismiss(now, slot, actions);
                }
            }
            (Ordering::Equal | Ordering::Greater, Some(_)) | (Ordering::Equal, None) => {}
        }
    }

    fn dismiss(&mut self, now: Moment, slot: Slot, actions: &mut Vec<Action>) {
        self.with(slot, actions, |member, actions| member.retire(now, actions));
        // Nothing of it ran: nothing more will be heard of it.
        if !self.members.contains_key(&slot) {
            self.advance(now, actions);
        }
    }

    /// One more, in the lowest slot that is free; says whether there was one.
    fn add(&mut self) -> bool {
        let places = match self.spec.listen() {
            Some(Listen::Own) => Slot::try_from(self.spec.how.ports.len()).unwrap_or(Slot::MAX),
            Some(Listen::Shared) | None => Slot::MAX,
        };
        let free = (0..places).find(|slot| !self.members.contains_key(slot));
        if let Some(slot) = free {
            self.members.insert(slot, Instance::new(self.spec.clone(), slot, self.seed));
        }
        free.is_some()
    }

    fn report_count(&mut self, wanted: u16, actions: &mut Vec<Action>) {
        if self.counted == wanted {
            return;
        }
        let cpu = self.scale.as_ref().and_then(Scale::because);
        let scaled = Scaled { instance: self.spec.instance, from: self.counted, to: wanted, cpu };
        actions.push(Action::Report(scaled.into()));
        self.counted = wanted;
    }

    /// What its processes lead to, but for what is said of all of them together.
    fn pass_on(&mut self, own: Vec<Action>, actions: &mut Vec<Action>) {
        let all_are_steady = !self.members.values().any(Instance::is_looping);
        for action in own {
            let is_own = match &action {
                Action::Forget(_) | Action::Dismiss(_) => false,
                Action::Report(InstanceNews::Stopped(_)) => {
                    self.owes_stopped |= self.wish != Wish::Run;
                    false
                }
                Action::Report(InstanceNews::Ready(_)) => self.scale.is_none(),
                Action::Report(InstanceNews::Steady(_)) => all_are_steady,
                // It is the same for all of them.
                Action::Report(InstanceNews::Failed(_) | InstanceNews::PortTaken(_)) => {
                    !actions.contains(&action)
                }
                Action::Report(
                    InstanceNews::Started(_)
                    | InstanceNews::Unhealthy(_)
                    | InstanceNews::Exited(_)
                    | InstanceNews::Looping(_)
                    | InstanceNews::Emitted(_)
                    | InstanceNews::Erred(_)
                    | InstanceNews::ImageBuilt(_)
                    | InstanceNews::Scaled(_),
                )
                | Action::ReportExit { .. }
                | Action::Prepare(_)
                | Action::Start { .. }
                | Action::Signal { .. }
                | Action::Check { .. } => true,
            };
            if is_own {
                actions.push(action);
            }
        }
        if self.wish == Wish::Run && !self.is_leaving {
            self.members.retain(|_, member| !member.is_leaving());
            self.report_readiness(actions);
        } else {
            self.leave_when_all_have(actions);
        }
    }

    fn report_readiness(&mut self, actions: &mut Vec<Action>) {
        let Some(min) = self.scale.as_ref().map(|scale| usize::from(scale.min())) else {
            return;
        };
        let instance = self.spec.instance;
        let ready = self.members.values().filter(|member| member.is_ready()).count();
        let runs = self.members.values().any(Instance::is_running);
        let (next, news): (_, InstanceNews) = match self.readiness {
            Readiness::Unknown | Readiness::NotReady if ready >= min => {
                (Readiness::Ready, Ready { instance }.into())
            }
            Readiness::Ready if ready == 0 => (Readiness::NotReady, none_ready(instance)),
            Readiness::Unknown if !runs => (Readiness::NotReady, none_ready(instance)),
            Readiness::Unknown | Readiness::NotReady | Readiness::Ready => return,
        };
        self.readiness = next;
        actions.push(Action::Report(news));
    }

    fn leave_when_all_have(&mut self, actions: &mut Vec<Action>) {
        if self.wish == Wish::Run || !self.members.values().all(Instance::is_leaving) {
            return;
        }
        let instance = self.spec.instance;
        if std::mem::take(&mut self.owes_stopped) {
            actions.push(stopped(instance));
        }
        if self.is_leaving {
            return;
        }
        self.is_leaving = true;
        self.readiness = Readiness::NotReady;
        actions.push(match self.wish {
            Wish::Stop => Action::Forget(instance),
            Wish::Run | Wish::Pause => Action::Dismiss(instance),
        });
    }
}

fn none_ready(instance: events::InstanceId) -> InstanceNews {
    Unhealthy { instance, reason: "none of its workers is ready".to_owned(), slot: None }.into()
}
