//! Doing what the reconciler asks: starts at once, then reports, durably, then everything else.

use super::shell::Shell;
use crate::app_events::place::{Paths, Teller};
use crate::app_events::variables;
use crate::container::Inquiry;
use crate::container::shape::Start;
use crate::holder::words::{SignalOrder, Slot, StartOrder, Told};
use crate::keeper::InstanceFolder;
use crate::probe::{self, Question};
use crate::reconcile::{Action, Input, StartTrouble};
use crate::release::build::base_environment;
use crate::ship::{Shipper, Shipping};
use crate::spec::{HealthTarget, Runtime, Spec};
use anyhow::Result;
use bus::outbox::OutboxError;
use events::manifest::{CommandLine, StopSignal};
use events::report::InstanceNews;
use events::{InstanceId, News};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::time::Duration;

impl Shell {
    /// Does all of them. What is known at once of their outcome goes to `inputs`, the rest comes by itself.
    pub(super) async fn perform(&mut self, actions: Vec<Action>, inputs: &mut VecDeque<Input>) -> Result<()> {
        let (starts, news, deeds) = split(actions);
        // A successor waits for no disk: if the Servant is killed now, its holder tells of both ends.
        starts.iter().for_each(|(spec, slot)| self.start(spec, *slot, inputs));
        if !news.is_empty() {
            self.report(news).await?;
        }
        for deed in deeds {
            match deed {
                Deed::Prepare(spec) => self.prepare(*spec, inputs),
                Deed::Start(spec, slot) => self.start(&spec, slot, inputs),
                Deed::Signal(instance, slot, told) => self.signal(instance, slot, told),
                Deed::Check(asked, target) => self.check(asked, target),
                Deed::Forget(instance) => self.forget(instance, inputs)?,
                Deed::Dismiss(instance) => self.dismiss(instance, inputs),
            }
        }
        Ok(())
    }

    async fn report(&mut self, all: Vec<Telling>) -> Result<()> {
        let mut numbers = Vec::new();
        for telling in &all {
            match self.reports.push(News::Instance(telling.news.clone())) {
                Err(error @ OutboxError::Full { .. }) => {
                    // The instances matter more than the news of them.
                    tracing::error!(%error, "a report is lost");
                }
                other => numbers.push(other?),
            }
        }
        self.reports.barrier().await?;
        // Only now: what is remembered as reported must not be durable before the report is.
        all.iter().try_for_each(|telling| self.remember(telling))?;
        self.send_once_remembered(numbers);
        Ok(())
    }

    /// The reports go out when it is durable that they were made: so a kill right after does not make them twice.
    fn send_once_remembered(&self, numbers: Vec<u64>) {
        let (table, reports) = (self.memory.table(), self.reports.clone());
        tokio::spawn(async move {
            if let Err(error) = table.barrier().await {
                tracing::error!(%error, "the instance table could not be flushed");
            }
            reports.release(&numbers);
        });
    }

    fn remember(&mut self, telling: &Telling) -> Result<()> {
        let (news, run) = (&telling.news, telling.exited_run);
        Ok(self.memory.change(news.instance(), |row| row.remember(news, run))?)
    }

    fn signal(&mut self, instance: InstanceId, slot: Slot, told: Told) {
        if self.containers.holds(instance) {
            return self.containers.signal(instance, told);
        }
        let how = self.memory.rows().get(&instance).map(|row| &row.spec.how);
        let grace_ms = how.map(|how| how.stop_grace_ms);
        let signal = how.and_then(|how| how.supervision.stop_signal).map(StopSignal::number);
        self.keeper.signal(instance, SignalOrder { slot, told, grace_ms, signal });
    }

    fn prepare(&mut self, spec: Spec, inputs: &mut VecDeque<Input>) {
        let preparer = self.preparer.clone();
        if spec.runtime() == Runtime::Process && preparer.folder(&spec).is_ready(&preparer.boot) {
            return inputs.push_back(Input::ReleaseReady(spec.key));
        }
        self.preparing.begin(preparer, spec);
    }

    fn start(&mut self, spec: &Spec, slot: Slot, inputs: &mut VecDeque<Input>) {
        let instance = spec.instance;
        if spec.runtime() == Runtime::Container {
            // It probes its ports itself: it may be running already.
            if let Err(error) = self.start_container(spec) {
                let trouble = StartTrouble::Passing(error.to_string());
                inputs.push_back(Input::StartFailed { instance, slot, trouble });
            }
            return;
        }
        if !self.preparer.folder(spec).is_ready(&self.preparer.boot) {
            let trouble = StartTrouble::ReleaseGone;
            return inputs.push_back(Input::StartFailed { instance, slot, trouble });
        }
        let trouble = match probe::taken(spec.bound_ports(slot)) {
            Ok(Some(port)) => {
                tracing::warn!(%instance, port, "a stranger has its port");
                Some(StartTrouble::PortTaken(port))
            }
            Err(error) => Some(StartTrouble::Hopeless(format!("its ports cannot be probed: {error}"))),
            Ok(None) => self.order_start(spec, slot).err(),
        };
        if let Some(trouble) = trouble {
            inputs.push_back(Input::StartFailed { instance, slot, trouble });
        }
    }

    fn order_start(&mut self, spec: &Spec, slot: Slot) -> Result<(), StartTrouble> {
        let passing = |error: io::Error| StartTrouble::Passing(error.to_string());
        let hopeless = |error: &dyn std::error::Error| StartTrouble::Hopeless(error.to_string());
        let supervision = &spec.how.supervision;
        let groups = self.host.cgroups.make(spec.instance, slot, &supervision.limits);
        let groups = groups.map_err(|error| hopeless(&error))?;
        let confinement = self.host.cgroups.confinement(supervision).map_err(|error| hopeless(&error))?;
        let folder = InstanceFolder::new(&self.instances, spec.instance);
        folder.create(spec).map_err(passing)?;
        let _ = self.ship(spec);
        let order = StartOrder {
            slot,
            arguments: spec.arguments(),
            environment: self.environment(spec, slot),
            directory: self.preparer.folder(spec).tree,
            sockets: spec.sockets(),
            groups,
            confinement,
        };
        self.keeper.start(&folder, order).map_err(passing)?;
        self.starts.ordered(spec.instance, slot);
        Ok(())
    }

    fn environment(&self, spec: &Spec, slot: Slot) -> BTreeMap<String, String> {
        let mut environment = base_environment(&self.preparer.folder(spec).tree, &self.preparer.path);
        environment.extend(spec.environment(slot));
        environment.insert("KING_SERVANT".to_owned(), self.name.to_string());
        environment.extend(self.events_of(spec).iter().flat_map(variables));
        environment
    }

    /// Where an instance tells of events; none where it cannot, which is logged.
    pub(super) fn events_of(&self, spec: &Spec) -> Option<Paths> {
        let instance = spec.instance;
        match Teller::of(spec) {
            Ok(teller) => self.hub.open(instance, teller),
            Err(error) => {
                tracing::warn!(%instance, %error, "an instance has no sockets for app events");
                None
            }
        }
    }

    fn start_container(&mut self, spec: &Spec) -> io::Result<()> {
        let folder = InstanceFolder::new(&self.instances, spec.instance);
        folder.create(spec)?;
        let (shipping, events) = (self.ship(spec), self.events_of(spec));
        let start = Start { spec: spec.clone(), servant: self.name.clone(), events };
        self.containers.start(&folder, start, shipping)
    }

    /// Ships the output of an instance from now on.
    pub(super) fn ship(&mut self, spec: &Spec) -> Shipping {
        if let Some(shipping) = self.shipping.get(&spec.instance) {
            return shipping.clone();
        }
        let shipping = Shipping::default();
        let folder = InstanceFolder::new(&self.instances, spec.instance);
        let shipper = Shipper::new(self.dock.clone(), spec, folder);
        self.shipping.insert(spec.instance, shipping.clone());
        self.shippers.spawn(shipper.run(shipping.clone()));
        shipping
    }

    fn check(&self, asked: Asked, target: HealthTarget) {
        let answer = self.inputs.clone();
        let asking = self.asking(&asked, target);
        let Asked { instance, slot, run } = asked;
        tokio::spawn(async move {
            let outcome = match asking {
                Ok(Asking::Port(target)) => probe::check(&target).await,
                Ok(Asking::Beside(question, limit)) => question.ask(limit).await,
                Ok(Asking::Inside(inquiry, limit)) => inquiry.ask(limit).await,
                Err(reason) => Err(reason),
            };
            let input = match outcome {
                Ok(()) => Input::Passed { instance, slot, run },
                Err(reason) => Input::CheckFailed { instance, slot, run, reason },
            };
            // The shell is gone when the servant ends.
            let _ = answer.send(input).await;
        });
    }

    fn asking(&self, asked: &Asked, target: HealthTarget) -> Result<Asking, String> {
        let Some(command) = &target.check.command else { return Ok(Asking::Port(target)) };
        let limit = Duration::from_millis(target.check.timeout_ms);
        Ok(match target.runtime {
            Runtime::Process => Asking::Beside(self.question(asked.instance, asked.slot, command)?, limit),
            Runtime::Container => {
                Asking::Inside(self.containers.inquiry(asked.instance, asked.run, command.argv()), limit)
            }
        })
    }

    /// A command that asks for health, run as the instance is.
    fn question(&self, instance: InstanceId, slot: Slot, command: &CommandLine) -> Result<Question, String> {
        let row = self.memory.rows().get(&instance).ok_or("it is forgotten")?;
        let confinement = self.host.cgroups.confinement(&row.spec.how.supervision);
        Ok(Question {
            arguments: command.argv(),
            environment: self.environment(&row.spec, slot),
            directory: self.preparer.folder(&row.spec).tree,
            confinement: confinement.map_err(|error| error.to_string())?,
        })
    }

    /// It was reported to be gone. From here only its output is still of interest.
    fn forget(&mut self, instance: InstanceId, inputs: &mut VecDeque<Input>) -> Result<()> {
        InstanceFolder::new(&self.instances, instance).mark_stopped()?;
        self.memory.remove(instance)?;
        self.dismiss(instance, inputs);
        Ok(())
    }

    fn dismiss(&mut self, instance: InstanceId, inputs: &mut VecDeque<Input>) {
        if self.containers.leave(instance) || self.keeper.leave(instance) {
            self.leaving.insert(instance);
        } else {
            inputs.push_back(Input::Gone(instance));
            self.finish_shipping(instance);
        }
    }
}

/// A report to make.
struct Telling {
    news: InstanceNews,
    /// The run whose end it tells.
    exited_run: Option<u64>,
}

/// How health is asked for; commands within a time.
enum Asking {
    Port(HealthTarget),
    Beside(Question, Duration),
    Inside(Inquiry, Duration),
}

/// Whose health is asked for.
struct Asked {
    instance: InstanceId,
    slot: Slot,
    run: u64,
}

/// An action that is no report.
enum Deed {
    Prepare(Box<Spec>),
    Start(Box<Spec>, Slot),
    Signal(InstanceId, Slot, Told),
    Check(Asked, HealthTarget),
    Forget(InstanceId),
    Dismiss(InstanceId),
}

/// What is started at once, what is reported then, and what is done last, in order.
fn split(actions: Vec<Action>) -> (Vec<(Spec, Slot)>, Vec<Telling>, Vec<Deed>) {
    let (mut starts, mut news, mut deeds) = (Vec::new(), Vec::new(), Vec::new());
    let mut busy = BTreeSet::new();
    for action in actions {
        match action {
            Action::Report(report) => news.push(Telling { news: report, exited_run: None }),
            Action::ReportExit { news: exited, run } => {
                news.push(Telling { news: InstanceNews::Exited(exited), exited_run: Some(run) });
            }
            Action::Prepare(spec) => deeds.push(Deed::Prepare(spec)),
            // What was asked before of the same instance is done before.
            Action::Start { spec, slot } if busy.contains(&spec.instance) => {
                deeds.push(Deed::Start(spec, slot));
            }
            Action::Start { spec, slot } => starts.push((*spec, slot)),
            Action::Signal { instance, slot, told } => {
                busy.insert(instance);
                deeds.push(Deed::Signal(instance, slot, told));
            }
            Action::Check { instance, slot, run, target } => {
                deeds.push(Deed::Check(Asked { instance, slot, run }, target));
            }
            Action::Forget(instance) => {
                busy.insert(instance);
                deeds.push(Deed::Forget(instance));
            }
            Action::Dismiss(instance) => {
                busy.insert(instance);
                deeds.push(Deed::Dismiss(instance));
            }
        }
    }
    (starts, news, deeds)
}
