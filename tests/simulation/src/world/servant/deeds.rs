//! Doing what the reconciler asks: reports first and durably, then everything else, each in its own time.

use super::{RELEASE, Servant};
use crate::coverage::Sight;
use crate::world::net::{MS, Micros, Net};
use crate::world::packet::Timer;
use events::report::{InstanceNews, Stage};
use events::{InstanceId, News};
use servant::holder::words::Told;
use servant::memory::Held;
use servant::reconcile::{Action, Input, StartTrouble};
use servant::spec::{ReleaseKey, Spec};
use std::collections::VecDeque;

/// Something that takes its time.
pub enum Errand {
    Prepare(ReleaseKey),
    Start(Box<Spec>),
    End { instance: InstanceId, told: Told },
    Check { instance: InstanceId, run: u64 },
    Leave { instance: InstanceId, forgets: bool },
    Crash(InstanceId),
    Release(Vec<u64>),
}

impl Servant {
    pub(super) fn perform(&mut self, net: &mut Net, actions: Vec<Action>, inputs: &mut VecDeque<Input>) {
        let (mut news, mut deeds) = (Vec::new(), Vec::new());
        for action in actions {
            match action {
                Action::Report(report) => news.push((report, None)),
                Action::ReportExit { news: exited, run } => {
                    news.push((InstanceNews::Exited(exited), Some(run)));
                }
                other => deeds.push(other),
            }
        }
        if !news.is_empty() {
            self.report(net, news);
        }
        for deed in deeds {
            if net.lives(self.node) {
                self.deed(net, deed, inputs);
            }
        }
    }

    fn report(&mut self, net: &mut Net, all: Vec<(InstanceNews, Option<u64>)>) {
        let mut numbers = Vec::new();
        for (news, _) in &all {
            net.note(self.node, || format!("reports {news:?}"));
            numbers.extend(self.push(net, News::Instance(news.clone())));
        }
        if numbers.is_empty() {
            return;
        }
        self.keep_reports(net);
        if !net.lives(self.node) {
            return;
        }
        // Only now: what is remembered as reported must not be durable before the report is.
        for (news, run) in &all {
            if let Some(mut row) = self.rows.get(&news.instance()).cloned() {
                row.remember(news, *run);
                self.rows.put(news.instance(), row);
            }
        }
        self.later(net, 2 * MS, Errand::Release(numbers));
    }

    /// Reports go out when it is durable that they were made.
    pub(super) fn release(&mut self, net: &mut Net) {
        let rows = self.rows.sync(&mut self.disk);
        self.goes_on_if(net, rows);
        self.send(net);
    }

    fn later(&mut self, net: &mut Net, at_most: Micros, errand: Errand) {
        let node = self.node;
        let wait = net.random.between(MS, at_most.max(MS));
        self.with(|life| {
            life.next += 1;
            life.errands.insert(life.next, errand);
            net.wake(node, wait, Timer::Ready(life.next));
        });
    }

    fn deed(&mut self, net: &mut Net, deed: Action, inputs: &mut VecDeque<Input>) {
        match deed {
            Action::Prepare(spec) => self.later(net, 300 * MS, Errand::Prepare(spec.key)),
            Action::Start { spec, slot } => match self.host.taken(&spec) {
                Some(port) => inputs.push_back(Input::StartFailed {
                    instance: spec.instance,
                    slot,
                    trouble: StartTrouble::PortTaken(port),
                }),
                None => self.later(net, 20 * MS, Errand::Start(spec)),
            },
            Action::Signal { instance, told, .. } => {
                let wait = if told == Told::Kill { 5 * MS } else { 200 * MS };
                self.later(net, wait, Errand::End { instance, told });
            }
            Action::Check { instance, run, .. } => self.later(net, 30 * MS, Errand::Check { instance, run }),
            Action::Forget(instance) => {
                self.rows.remove(&instance);
                self.later(net, 10 * MS, Errand::Leave { instance, forgets: true });
            }
            Action::Dismiss(instance) => {
                self.later(net, 10 * MS, Errand::Leave { instance, forgets: false });
            }
            Action::Report(_) | Action::ReportExit { .. } => {}
        }
    }

    /// Something has come to its end.
    pub(super) fn ready(&mut self, net: &mut Net, number: u64) {
        let errand = self.life.as_mut().and_then(|life| life.errands.remove(&number));
        let Some(errand) = errand else { return };
        match errand {
            Errand::Prepare(key) if !net.is_healed && net.random.chance(10) => {
                self.step(net, Input::ReleaseFailed { key, stage: Stage::Fetch, reason: "no".to_owned() });
            }
            Errand::Prepare(key) => self.step(net, Input::ReleaseReady(key)),
            Errand::Start(spec) => self.start(net, &spec),
            Errand::End { instance, told } => self.end(net, instance, told),
            Errand::Check { instance, run } => self.check(net, instance, run),
            Errand::Leave { instance, forgets } => {
                if self.host.leave(instance) {
                    if forgets {
                        self.host.forget(instance);
                    }
                    self.step(net, Input::Gone(instance));
                }
            }
            Errand::Crash(instance) => self.crash(net, instance),
            Errand::Release(numbers) => {
                numbers.iter().for_each(|number| self.hold(*number, Held::No));
                self.timer(net, Timer::Again(RELEASE));
            }
        }
    }

    fn start(&mut self, net: &mut Net, spec: &Spec) {
        let instance = spec.instance;
        if let Some(port) = self.host.taken(spec) {
            let trouble = StartTrouble::PortTaken(port);
            return self.step(net, Input::StartFailed { instance, slot: 0, trouble });
        }
        let Some(pid) = self.host.start(net, self.node, spec) else { return };
        net.note(self.node, || format!("starts {instance} as {pid}"));
        self.step(net, Input::Started { instance, slot: 0, pid });
    }

    fn end(&mut self, net: &mut Net, instance: InstanceId, told: Told) {
        if !self.host.tell(instance, told) {
            return;
        }
        // A stubborn process heeds only SIGKILL.
        let is_stubborn = told == Told::Terminate && net.random.chance(100);
        if !is_stubborn && let Some(exit) = self.host.end(net, instance, None) {
            self.step(net, Input::Exited { instance, exit });
        }
    }

    fn check(&mut self, net: &mut Net, instance: InstanceId, run: u64) {
        let runs = self.host.holder(instance).is_some_and(|holder| holder.pid.is_some());
        let input = if runs && (net.is_healed || !net.random.chance(30)) {
            Input::Passed { instance, slot: 0, run }
        } else {
            Input::CheckFailed { instance, slot: 0, run, reason: "no answer".to_owned() }
        };
        self.step(net, input);
    }

    /// A fault: a process dies by itself, whether its Servant lives or not.
    pub fn crash_one(&mut self, net: &mut Net) {
        let running = self.host.running();
        if running.is_empty() {
            return;
        }
        let instance = *net.random.pick(&running);
        if self.life.is_some() {
            self.later(net, MS, Errand::Crash(instance));
        } else {
            self.host.end(net, instance, Some(1));
        }
    }

    fn crash(&mut self, net: &mut Net, instance: InstanceId) {
        if let Some(exit) = self.host.end(net, instance, Some(1)) {
            net.saw(Sight::InstanceCrashed);
            self.step(net, Input::Exited { instance, exit });
        }
    }
}
