//! The life of one process of an instance, in its slot. Each method takes what happened and leaves the next phase and
//! the actions. An instance without workers has one; what holds several together is [`super::crew`].

use super::crashes::{CRASH_WINDOW_MS, CRASHES, Chance, Consequence, Crashes};
use super::health::{Due, Finding, Health};
use super::input::{Action, Adopted, Moment, Reported, StartTrouble};
use super::phase::{Phase, Rest, Then};
use super::{Settings, stopped};
use crate::container::supply::Built;
use crate::holder::words::{Exit, Told};
use crate::spec::Spec;
use events::Slot;
use events::manifest::{Listen, Restart};
use events::report::{
    Exited, Failed, ImageBuilt, InstanceNews, Looping, PortTaken, Ready, Stage, Started, Steady, Unhealthy,
};
use events::view::AssignedImage;

/// How long the King is given to send other ports before the old ones are tried again.
const PORT_RETRY_MS: u64 = 10_000;
/// How long a kill may take before it is ordered again: the order may have been lost with its holder's connection.
const KILL_AGAIN_MS: u64 = 5000;
/// How long a start that may work later is put off.
const START_RETRY_MS: u64 = 1000;

pub struct Instance {
    pub spec: Spec,
    slot: Slot,
    pub wish: Wish,
    phase: Phase,
    /// Counts starts, so that a late health answer is told from a current one.
    run: u64,
    crashes: Crashes,
    chance: Chance,
}

/// What shall become of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    Run,
    /// It is no longer assigned.
    Stop,
    /// The Servant ends.
    Pause,
}

impl Instance {
    pub fn new(spec: Spec, slot: Slot, seed: u64) -> Self {
        let own = spec.instance.0.as_u64_pair().1 ^ u64::from(slot);
        let chance = Chance(if seed == 0 { 0 } else { seed ^ own });
        let crashes = Crashes::default();
        Self { spec, slot, wish: Wish::Run, phase: Phase::Waiting, run: 0, crashes, chance }
    }

    /// It was in a crash loop before.
    pub fn was_looping(&mut self) {
        self.crashes.is_looping = true;
    }

    /// A crash that was not reported, though its successor was started by the Servant of before.
    pub fn missed(&mut self, now: Moment, exit: &Exit, actions: &mut Vec<Action>) {
        let consequence = self.crashes.add(now, 0, self.chance);
        actions.push(self.report_exit(exit, Some(0)));
        self.report_loop(consequence, actions);
    }

    pub fn adopt(&mut self, now: Moment, adopted: Adopted, actions: &mut Vec<Action>) {
        match adopted {
            Adopted::Idle => {}
            Adopted::Running { pid, is_reported, .. } => {
                if is_reported == Reported::No {
                    self.report_started(pid, actions);
                }
                self.begin_run(now);
            }
            Adopted::Exited { exit, is_reported } => self.adopt_exit(now, &exit, is_reported, actions),
        }
    }

    fn adopt_exit(&mut self, now: Moment, exit: &Exit, reported: Reported, actions: &mut Vec<Action>) {
        if exit.told != Told::Nothing {
            return;
        }
        match reported {
            Reported::No => self.crashed(now, exit, 0, actions),
            Reported::Yes if self.restarts_after(exit) => {}
            Reported::Yes => self.phase = Phase::Resting(Rest::after(exit)),
        }
    }

    pub fn is_waiting(&self) -> bool {
        matches!(self.phase, Phase::Waiting)
    }

    /// Whether those that start after it must wait: it shall run and is not healthy, nor has it done what it was for.
    pub fn holds_back(&self) -> bool {
        let is_fine = match &self.phase {
            Phase::Running(health) => health.healthy_since.is_some(),
            Phase::Resting(rest) => *rest == Rest::Done,
            Phase::Waiting
            | Phase::Starting { .. }
            | Phase::Ending { .. }
            | Phase::Backoff(_)
            | Phase::PortTaken(_)
            | Phase::Leaving => false,
        };
        self.wish == Wish::Run && !is_fine
    }

    pub fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running(_))
    }

    /// It runs and is healthy.
    pub fn is_ready(&self) -> bool {
        matches!(&self.phase, Phase::Running(health) if health.healthy_since.is_some())
    }

    pub fn is_looping(&self) -> bool {
        self.crashes.is_looping
    }

    pub fn is_leaving(&self) -> bool {
        matches!(self.phase, Phase::Leaving)
    }

    pub fn is_quiet(&self) -> bool {
        match self.phase {
            Phase::Starting { .. } | Phase::Running(_) | Phase::Ending { .. } | Phase::Leaving => false,
            Phase::Waiting | Phase::Backoff(_) | Phase::PortTaken(_) | Phase::Resting(_) => true,
        }
    }

    pub fn wait_again(&mut self) {
        self.phase = Phase::Waiting;
    }

    pub fn deadline(&self, settings: &Settings) -> Option<Moment> {
        match &self.phase {
            Phase::Running(health) => {
                let steady = health.healthy_since.filter(|_| self.crashes.is_looping);
                health.deadline().into_iter().chain(steady.map(|since| since + settings.steady_ms)).min()
            }
            Phase::Ending { kill_at, .. } => Some(*kill_at),
            Phase::Backoff(at) | Phase::PortTaken(at) => Some(*at),
            Phase::Waiting | Phase::Starting { .. } | Phase::Resting(_) | Phase::Leaving => None,
        }
    }

    pub fn release_ready(&mut self, actions: &mut Vec<Action>) {
        if self.is_waiting() && self.wish == Wish::Run {
            self.phase = Phase::Starting { is_outdated: false };
            actions.push(Action::Start { spec: Box::new(self.spec.clone()), slot: self.slot });
        }
    }

    /// It waits on: what the King then assigns names the image.
    pub fn image_built(&self, built: &Built, actions: &mut Vec<Action>) {
        let instance = self.spec.instance;
        if let Some(AssignedImage::Build(dockerfile)) = &self.spec.key.image {
            let dockerfile = dockerfile.clone();
            let news = ImageBuilt { instance, dockerfile, image: built.image, bytes: built.bytes };
            self.report(news, actions);
        }
    }

    pub fn give_up(&mut self, stage: Stage, reason: String, actions: &mut Vec<Action>) {
        if self.is_waiting() {
            self.phase = Phase::Resting(Rest::GivenUp);
            self.report(Failed { instance: self.spec.instance, stage, reason }, actions);
        }
    }

    pub fn started(&mut self, now: Moment, pid: u32, actions: &mut Vec<Action>) {
        let is_outdated = match self.phase {
            Phase::Starting { is_outdated } => is_outdated,
            // The order was taken for lost, and was not.
            Phase::Backoff(_) => false,
            Phase::Waiting
            | Phase::Running(_)
            | Phase::Ending { .. }
            | Phase::PortTaken(_)
            | Phase::Resting(_)
            | Phase::Leaving => return,
        };
        self.report_started(pid, actions);
        self.begin_run(now);
        match self.wish {
            Wish::Run if is_outdated => self.stop(now, Then::Again, actions),
            Wish::Run => {}
            Wish::Stop => self.stop(now, Then::Leave, actions),
            Wish::Pause => self.stop(now, Then::Pause, actions),
        }
    }

    fn begin_run(&mut self, now: Moment) {
        self.run += 1;
        let target = self.spec.health(self.slot);
        self.phase = Phase::Running(match self.spec.listen() {
            Some(Listen::Shared) => Health::of_shared(now, target),
            Some(Listen::Own) | None => Health::new(now, target),
        });
    }

    /// Its slot, where there are others.
    fn worker(&self) -> Option<Slot> {
        self.spec.how.workers.as_ref().map(|_| self.slot)
    }

    fn report_started(&self, pid: u32, actions: &mut Vec<Action>) {
        self.report(Started { instance: self.spec.instance, pid, slot: self.worker() }, actions);
    }

    pub fn start_failed(&mut self, now: Moment, trouble: StartTrouble, actions: &mut Vec<Action>) {
        if !matches!(self.phase, Phase::Starting { .. }) {
            return;
        }
        match self.wish {
            Wish::Run => {}
            Wish::Stop => return self.leave(actions),
            Wish::Pause => {
                self.phase = Phase::Leaving;
                return actions.push(Action::Dismiss(self.spec.instance));
            }
        }
        let instance = self.spec.instance;
        match trouble {
            StartTrouble::PortTaken(port) => {
                // The King may have sent other ports while these were tried.
                self.phase = if self.spec.ports.values().any(|own| *own == port) {
                    self.report(PortTaken { instance, port }, actions);
                    Phase::PortTaken(now + PORT_RETRY_MS)
                } else {
                    Phase::Backoff(now)
                };
            }
            StartTrouble::ReleaseGone => self.phase = Phase::Waiting,
            StartTrouble::Passing(_) => self.phase = Phase::Backoff(now + START_RETRY_MS),
            StartTrouble::Hopeless(reason) => {
                self.phase = Phase::Resting(Rest::GivenUp);
                self.report(Failed { instance, stage: Stage::Start, reason }, actions);
            }
        }
    }

    pub fn exited(&mut self, now: Moment, exit: &Exit, actions: &mut Vec<Action>) {
        let healthy_ms = match &self.phase {
            // A Servant of before had told it to end: that is no crash.
            Phase::Running(_) if exit.told != Told::Nothing => return self.ended(now, Then::Again, actions),
            Phase::Running(health) => health.healthy_ms(now),
            Phase::Ending { then, .. } => return self.ended(now, *then, actions),
            Phase::Waiting
            | Phase::Starting { .. }
            | Phase::Backoff(_)
            | Phase::PortTaken(_)
            | Phase::Resting(_)
            | Phase::Leaving => return,
        };
        self.crashed(now, exit, healthy_ms, actions);
    }

    /// It was told to end, and has.
    fn ended(&mut self, now: Moment, then: Then, actions: &mut Vec<Action>) {
        match then {
            Then::Leave => self.leave(actions),
            Then::Pause => {
                self.phase = Phase::Leaving;
                actions.push(stopped(self.spec.instance));
                actions.push(Action::Dismiss(self.spec.instance));
            }
            Then::Again => self.phase = Phase::Waiting,
            Then::Crash { .. } if self.spec.how.restart == Restart::Never => {
                self.phase = Phase::Resting(Rest::GivenUp);
                let reason = "it was unhealthy, and its restart is `never`".to_owned();
                self.report(Failed { instance: self.spec.instance, stage: Stage::Start, reason }, actions);
            }
            Then::Crash { healthy_ms } => {
                let consequence = self.crashes.add(now, healthy_ms, self.chance);
                self.report_loop(consequence, actions);
                self.wait(now, consequence.wait_ms);
            }
        }
    }

    fn crashed(&mut self, now: Moment, exit: &Exit, healthy_ms: u64, actions: &mut Vec<Action>) {
        if !self.restarts_after(exit) {
            self.phase = Phase::Resting(Rest::after(exit));
            return actions.push(self.report_exit(exit, None));
        }
        let consequence = self.crashes.add(now, healthy_ms, self.chance);
        actions.push(self.report_exit(exit, Some(consequence.wait_ms)));
        self.report_loop(consequence, actions);
        self.wait(now, consequence.wait_ms);
    }

    fn report_exit(&self, exit: &Exit, restart_in_ms: Option<u64>) -> Action {
        let limit = self.spec.how.supervision.limits.memory_bytes;
        let news = Exited {
            instance: self.spec.instance,
            pid: exit.pid,
            code: exit.code,
            signal: exit.signal,
            uptime_ms: exit.uptime_ms,
            restart_in_ms,
            out_of_memory: limit.filter(|_| exit.out_of_memory),
            slot: self.worker(),
        };
        Action::ReportExit { news, run: exit.run }
    }

    fn report_loop(&self, consequence: Consequence, actions: &mut Vec<Action>) {
        if consequence.begins_loop {
            let crashes = u32::try_from(CRASHES).expect("a small constant");
            let window_ms = CRASH_WINDOW_MS;
            let (instance, slot) = (self.spec.instance, self.worker());
            self.report(Looping { instance, crashes, window_ms, slot }, actions);
        }
    }

    fn wait(&mut self, now: Moment, wait_ms: u64) {
        self.phase = if wait_ms == 0 { Phase::Waiting } else { Phase::Backoff(now + wait_ms) };
    }

    fn restarts_after(&self, exit: &Exit) -> bool {
        match self.spec.how.restart {
            Restart::Always => true,
            Restart::OnFailure => exit.code != Some(0),
            Restart::Never => false,
        }
    }

    pub fn passed(&mut self, now: Moment, run: u64, actions: &mut Vec<Action>) {
        let Phase::Running(health) = &mut self.phase else {
            return;
        };
        if run == self.run && health.passed(now) == Finding::BecameHealthy {
            self.report(Ready { instance: self.spec.instance }, actions);
        }
    }

    pub fn check_failed(&mut self, now: Moment, run: u64, reason: String, actions: &mut Vec<Action>) {
        let Phase::Running(health) = &mut self.phase else {
            return;
        };
        if run != self.run {
            return;
        }
        match health.failed(now, reason) {
            Finding::Nothing | Finding::BecameHealthy => {}
            Finding::Unhealthy(reason) => {
                let healthy_ms = health.healthy_ms(now);
                let (instance, slot) = (self.spec.instance, self.worker());
                self.report(Unhealthy { instance, reason, slot }, actions);
                self.stop(now, Then::Crash { healthy_ms }, actions);
            }
        }
    }

    pub fn tick(&mut self, now: Moment, settings: &Settings, actions: &mut Vec<Action>) {
        match &mut self.phase {
            Phase::Running(health) => {
                let due = health.take_due(now);
                let is_steady = self.crashes.is_looping
                    && health.healthy_since.is_some_and(|since| since + settings.steady_ms <= now);
                self.ask(now, due, actions);
                if is_steady {
                    self.crashes.is_looping = false;
                    self.report(Steady { instance: self.spec.instance }, actions);
                }
            }
            Phase::Ending { kill_at, .. } => {
                if *kill_at <= now {
                    *kill_at = now + KILL_AGAIN_MS;
                    actions.push(self.signal(Told::Kill));
                }
            }
            Phase::Backoff(at) | Phase::PortTaken(at) => {
                if *at <= now {
                    self.phase = Phase::Waiting;
                }
            }
            Phase::Waiting | Phase::Starting { .. } | Phase::Resting(_) | Phase::Leaving => {}
        }
    }

    fn ask(&mut self, now: Moment, due: Due, actions: &mut Vec<Action>) {
        match due {
            Due::Nothing => {}
            Due::Alive => self.passed(now, self.run, actions),
            Due::Check(target) => {
                let (instance, slot, run) = (self.spec.instance, self.slot, self.run);
                actions.push(Action::Check { instance, slot, run, target });
            }
        }
    }

    /// It is assigned, perhaps otherwise than before.
    pub fn change(&mut self, now: Moment, spec: Spec, actions: &mut Vec<Action>) {
        let is_other = self.spec != spec;
        self.spec = spec;
        if self.wish == Wish::Stop {
            self.wish = Wish::Run;
            if let Phase::Ending { then, .. } = &mut self.phase {
                *then = Then::Again;
            }
        }
        if !is_other {
            return;
        }
        match self.phase {
            Phase::Running(_) => self.stop(now, Then::Again, actions),
            Phase::Backoff(_) | Phase::PortTaken(_) | Phase::Resting(_) => self.phase = Phase::Waiting,
            Phase::Starting { .. } => self.phase = Phase::Starting { is_outdated: true },
            Phase::Waiting | Phase::Ending { .. } | Phase::Leaving => {}
        }
    }

    /// It is no longer assigned.
    pub fn retire(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let was_wanted = self.wish == Wish::Run;
        self.wish = Wish::Stop;
        match &mut self.phase {
            Phase::Running(_) => self.stop(now, Then::Leave, actions),
            // It was wanted again before its holder was gone, and now it is not.
            Phase::Leaving if was_wanted => actions.push(stopped(self.spec.instance)),
            Phase::Ending { then, .. } => *then = Then::Leave,
            Phase::Waiting | Phase::Backoff(_) | Phase::PortTaken(_) | Phase::Resting(_) => {
                self.leave(actions)
            }
            // A start that is under way is answered first.
            Phase::Starting { .. } | Phase::Leaving => {}
        }
    }

    /// The Servant ends.
    pub fn end(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let was_retired = self.wish == Wish::Stop;
        if !was_retired {
            self.wish = Wish::Pause;
        }
        match &mut self.phase {
            Phase::Running(_) => self.stop(now, Then::Pause, actions),
            Phase::Ending { then, .. } if !was_retired => *then = Then::Pause,
            Phase::Waiting | Phase::Backoff(_) | Phase::PortTaken(_) | Phase::Resting(_) => {
                self.phase = Phase::Leaving;
                actions.push(Action::Dismiss(self.spec.instance));
            }
            Phase::Ending { .. } | Phase::Starting { .. } | Phase::Leaving => {}
        }
    }

    fn stop(&mut self, now: Moment, then: Then, actions: &mut Vec<Action>) {
        self.phase = Phase::Ending { then, kill_at: now + self.spec.how.stop_grace_ms };
        actions.push(self.signal(Told::Terminate));
    }

    fn signal(&self, told: Told) -> Action {
        Action::Signal { instance: self.spec.instance, slot: self.slot, told }
    }

    fn leave(&mut self, actions: &mut Vec<Action>) {
        self.phase = Phase::Leaving;
        actions.push(stopped(self.spec.instance));
        actions.push(Action::Forget(self.spec.instance));
    }

    fn report(&self, news: impl Into<InstanceNews>, actions: &mut Vec<Action>) {
        actions.push(Action::Report(news.into()));
    }
}
