//! The loop of the servant: one task that owns all state.

use super::preparing::{Prepared, Preparing};
use super::starts::{self, Starts};
use super::{AtEnd, Servant};
use crate::app_events::Hub;
use crate::container::{self, Containers};
use crate::disk::Removal;
use crate::heap::Burst;
use crate::holder::words::{Exit, Said, SignalOrder, Slot, SlotState, StartFailure, State, Told};
use crate::keeper::{Heard, HeardWhat, Host, Keeper};
use crate::load::{self, Load};
use crate::memory::{Memory, Standing};
use crate::reconcile::{Input, Moment, Reconciler, Settings, StartTrouble};
use crate::release::{self, Preparer};
use crate::reports::Reports;
use crate::ship::{Dock, Shipping};
use crate::spec::{ReleaseKey, specs};
use crate::telemetry::Telemetry;
use crate::view::Followed;
use anyhow::Result;
use bus::Bus;
use bus::outbox::OutboxError;
use events::report::{InstanceNews, Stopped};
use events::view::{Assignment, Stamped};
use events::{InstanceId, News, ServantId, ServantName, subject};
use service::Shutdown;
use service::data::Folder;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval};

/// Most words of holders, and most inputs of tasks, that wait for the loop.
const QUEUE: usize = 1024;
/// Most of them that are acted on together: what they lead to is reported with one write to the disk.
const TOGETHER: usize = 256;
/// While many are started, what is said of those that run is collected for so long: to report each batch costs the
/// processor time that the others need to start.
const GATHER: Duration = Duration::from_millis(25);
/// How long the last reports and lines may take at the end.
const DRAIN: Duration = Duration::from_secs(2);

pub struct Shell {
    /// Held until the end: nobody else may use it.
    folder: Folder,
    pub(super) bus: Bus,
    servant: ServantId,
    pub(super) name: ServantName,
    pub(super) dock: Dock,
    pub(super) memory: Memory,
    pub(super) reports: Reports,
    pub(super) preparer: Preparer,
    pub(super) telemetry: Telemetry,
    pub(super) hub: Hub,
    pub(super) instances: PathBuf,
    pub(super) host: Host,
    at_end: AtEnd,
    pub(super) reconciler: Reconciler,
    load: Load,
    /// When the load of workers is looked at.
    look: Interval,
    pub(super) keeper: Keeper,
    heard: mpsc::Receiver<Heard>,
    pub(super) containers: Containers,
    heard_of_containers: mpsc::Receiver<container::Heard>,
    pub(super) inputs: mpsc::Sender<Input>,
    waiting: mpsc::Receiver<Input>,
    pub(super) preparing: Preparing,
    prepared: mpsc::Receiver<Prepared>,
    pub(super) shipping: HashMap<InstanceId, Shipping>,
    pub(super) shippers: JoinSet<()>,
    /// Instances whose holders were told to leave.
    pub(super) leaving: BTreeSet<InstanceId>,
    pub(super) starts: Starts,
    /// What is in use, for whoever looks after the disk, and what that wants removed.
    used: watch::Sender<BTreeSet<ReleaseKey>>,
    removals: mpsc::Receiver<Removal>,
    is_ending: bool,
    burst: Burst,
    epoch: Instant,
}

impl Shell {
    pub fn new(
        servant: Servant,
        used: watch::Sender<BTreeSet<ReleaseKey>>,
        removals: mpsc::Receiver<Removal>,
    ) -> Self {
        let instances = servant.instances();
        let (telling, heard) = mpsc::channel(QUEUE);
        let (telling_of_containers, heard_of_containers) = mpsc::channel(QUEUE);
        let containers = Containers::new(
            servant.engine,
            servant.sender.servant,
            servant.preparer.boot.clone(),
            telling_of_containers,
        );
        let (inputs, waiting) = mpsc::channel(QUEUE);
        let (answers, prepared) = mpsc::channel(QUEUE);
        // Works also when the file of this program was replaced meanwhile.
        let keeper =
            Keeper::new(PathBuf::from("/proc/self/exe"), instances.clone(), servant.host.clone(), telling);
        Self {
            folder: servant.folder,
            dock: Dock::new(servant.bus.clone(), servant.sender.domain, servant.reports.clone()),
            bus: servant.bus,
            servant: servant.sender.servant,
            name: servant.sender.name,
            memory: servant.memory,
            reports: servant.reports,
            preparer: servant.preparer,
            telemetry: servant.telemetry,
            hub: servant.hub,
            instances,
            host: servant.host,
            at_end: servant.at_end,
            reconciler: Reconciler::new(Settings { seed: seed(), ..servant.settings }),
            load: Load::default(),
            look: load::looks(),
            keeper,
            heard,
            containers,
            heard_of_containers,
            inputs,
            waiting,
            preparing: Preparing::new(answers),
            prepared,
            shipping: HashMap::new(),
            shippers: JoinSet::new(),
            leaving: BTreeSet::new(),
            starts: Starts::default(),
            used,
            removals,
            is_ending: false,
            burst: Burst::default(),
            epoch: Instant::now(),
        }
    }

    /// Until the end is asked for and, where they shall stop, all instances have.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn run(&mut self, shutdown: &Shutdown) -> Result<()> {
        let mut assignments = Followed::new(self.bus.clone(), subject::assignment_key(self.servant));
        while !(self.is_ending && self.reconciler.is_quiet()) {
            let due = self.reconciler.deadline().map(|deadline| self.epoch + Duration::from_millis(deadline));
            tokio::select! {
                Some(heard) = self.heard.recv() => self.hear_all(heard).await?,
                Some(heard) = self.heard_of_containers.recv() => self.hear_of_container(heard).await?,
                Some(input) = self.waiting.recv() => {
                    let more = std::iter::from_fn(|| self.waiting.try_recv().ok()).take(TOGETHER);
                    let inputs = std::iter::once(input).chain(more).collect();
                    self.steps(inputs).await?;
                }
                Some(prepared) = self.prepared.recv() => {
                    if self.preparing.is_current(&prepared) {
                        self.step(prepared.input).await?;
                    }
                }
                Some(removal) = self.removals.recv(), if !self.is_ending => self.make_way(removal),
                // What has ended is kept until it is asked for.
                Some(ended) = self.shippers.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "the shipping of an instance broke off");
                    }
                }
                assignment = assignments.next(), if !self.is_ending => self.assigned(assignment).await?,
                () = tokio::time::sleep_until(due.unwrap_or(self.epoch)), if due.is_some() => {
                    self.step(Input::Tick).await?;
                }
                _ = self.look.tick() => self.look_at_load().await?,
                () = shutdown.requested(), if !self.is_ending => {
                    self.is_ending = true;
                    match self.at_end {
                        AtEnd::Leave => return Ok(()),
                        AtEnd::Stop => self.step(Input::End).await?,
                    }
                }
            }
        }
        Ok(())
    }

    /// What workers that may become more or fewer use of the CPU; and whether a burst of work is over.
    async fn look_at_load(&mut self) -> Result<()> {
        self.burst.end(Instant::now());
        let mut inputs = VecDeque::new();
        let measured = self.reconciler.measured();
        for (instance, slots) in &measured {
            let Some(row) = self.memory.rows().get(instance) else { continue };
            let pids: Vec<u32> = slots.iter().filter_map(|slot| row.slot(*slot).started_pid).collect();
            if let Some(mean_permille) = self.load.look(*instance, &pids, Instant::now().into_std()) {
                inputs.push_back(Input::Load { instance: *instance, mean_permille });
            }
        }
        self.load.keep(|instance| measured.contains_key(instance));
        self.steps(inputs).await
    }

    /// Gives the last reports and lines a moment to leave. What does not is kept.
    pub async fn drain(&mut self) {
        let (reports, shippers) = (self.reports.clone(), &mut self.shippers);
        for shipping in self.shipping.values() {
            shipping.wake();
        }
        let drained = async {
            while !reports.is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(DRAIN, drained).await.is_err() {
            tracing::warn!(waiting = self.reports.len(), "reports are kept for the next start");
        }
        shippers.abort_all();
    }

    /// A whole assignment that is newer than the last one: kept, then acted on.
    pub(super) async fn assigned(&mut self, assignment: Stamped<Assignment>) -> Result<()> {
        let (whole, broken) = specs(&assignment.view);
        let last = self.memory.assignment().map(|last| last.stamp);
        let standing = Standing::of(assignment.stamp, last);
        if standing == Standing::Older {
            tracing::warn!(
                stamp = ?assignment.stamp,
                ?last,
                table = %self.folder.join("table").display(),
                "an older assignment is refused; if the King's data was deleted on purpose, stop this servant, delete \
                 the folder `table` and start it again: what runs is found by its folders"
            );
            return Ok(());
        }
        let stopping = assignment.view.stopping.clone();
        if standing == Standing::Newer {
            self.memory.assign(assignment, &whole).await?;
        }
        self.stop_unknown(&stopping).await?;
        self.step(Input::Assigned { specs: whole, broken }).await?;
        self.tell_used_releases();
        Ok(())
    }

    /// What shall not run, and nothing is known of here, is gone.
    async fn stop_unknown(&self, stopping: &[InstanceId]) -> Result<()> {
        let mut numbers = Vec::new();
        for instance in stopping.iter().copied().filter(|instance| !self.reconciler.knows(*instance)) {
            match self.reports.push(News::Instance(InstanceNews::Stopped(Stopped { instance }))) {
                // The King names it again with the next assignment.
                Err(error @ OutboxError::Full { .. }) => {
                    tracing::error!(%instance, %error, "a report is lost")
                }
                other => numbers.push(other?),
            }
        }
        if !numbers.is_empty() {
            self.reports.barrier().await?;
            self.reports.release(&numbers);
        }
        Ok(())
    }

    /// What holders have said until now.
    async fn hear_all(&mut self, first: Heard) -> Result<()> {
        let (mut inputs, mut next, mut count) = (VecDeque::new(), Some(first), 0);
        let until = Instant::now() + GATHER;
        while let Some(heard) = next {
            let is_start = starts::is_of(&heard);
            self.hear(heard, &mut inputs).await?;
            count += 1;
            next = if count < TOGETHER { self.more(is_start, until).await } else { None };
        }
        self.steps(inputs).await
    }

    /// What else holders have said. After a start among many the next ones are waited for; whatever else happened is acted
    /// on at once.
    async fn more(&mut self, is_start: bool, until: Instant) -> Option<Heard> {
        match self.heard.try_recv() {
            Ok(heard) => Some(heard),
            Err(_) if is_start && self.starts.are_many() => {
                tokio::time::timeout_at(until, self.heard.recv()).await.unwrap_or_default()
            }
            Err(_) => None,
        }
    }

    /// What words lead to goes to `inputs`; the end of a holder comes after all of them.
    async fn hear(&mut self, heard: Heard, inputs: &mut VecDeque<Input>) -> Result<()> {
        let instance = heard.instance;
        if let HeardWhat::Said(said) = heard.what {
            inputs.extend(self.said(instance, said));
            return Ok(());
        }
        self.steps(std::mem::take(inputs)).await?;
        match heard.what {
            HeardWhat::Said(_) => Ok(()),
            HeardWhat::Again(state) => self.again(instance, state).await,
            HeardWhat::Left => self.gone(instance).await,
            HeardWhat::Lost(exits) => {
                tracing::error!(%instance, "its holder was killed");
                self.starts.forget(instance);
                self.keeper.forget(instance);
                if self.leaving.contains(&instance) {
                    return self.gone(instance).await;
                }
                // If a start was under way, it came to nothing; if a process ran, it was swept away.
                for slot in self.reconciler.slots(instance) {
                    let trouble = StartTrouble::Passing("its holder was killed".to_owned());
                    self.step(Input::StartFailed { instance, slot, trouble }).await?;
                    let recorded = exits.iter().find(|exit| exit.slot == slot).cloned();
                    let exit = recorded.unwrap_or_else(|| self.unrecorded_exit(instance, slot));
                    self.exited(instance, exit).await?;
                }
                Ok(())
            }
        }
    }

    async fn hear_of_container(&mut self, heard: container::Heard) -> Result<()> {
        match heard {
            container::Heard::Input(input) => self.step(input).await,
            container::Heard::Left(instance) => self.gone(instance).await,
        }
    }

    fn said(&mut self, instance: InstanceId, said: Said) -> Option<Input> {
        match said {
            Said::Left => None,
            Said::State(state) => {
                self.insist(instance, &state);
                None
            }
            Said::Started(run) => {
                tracing::info!(%instance, pid = run.pid, "started");
                self.starts.heard(instance, run.slot);
                Some(Input::Started { instance, slot: run.slot, pid: run.pid })
            }
            Said::StartFailed(StartFailure { slot, reason, passing, port }) => {
                tracing::warn!(%instance, reason, "could not be started");
                self.starts.heard(instance, slot);
                let trouble = match port {
                    Some(port) => StartTrouble::PortTaken(port),
                    None if passing => StartTrouble::Passing(reason),
                    None => StartTrouble::Hopeless(reason),
                };
                Some(Input::StartFailed { instance, slot, trouble })
            }
            Said::Exited(exit) => {
                tracing::info!(%instance, pid = exit.pid, code = exit.code, signal = exit.signal, told = ?exit.told, "exited");
                self.insist(instance, &State::default());
                self.wake_shipping(instance);
                Some(Input::Exited { instance, exit })
            }
            Said::Spooled => {
                self.wake_shipping(instance);
                None
            }
        }
    }

    /// A holder that was told to leave and is still there heard nothing of it, or has something that runs after all.
    fn insist(&mut self, instance: InstanceId, state: &State) {
        if !self.leaving.contains(&instance) {
            return;
        }
        let open = state.open();
        if !open.is_empty() {
            for run in open {
                let order = SignalOrder { slot: run.slot, told: Told::Kill, grace_ms: None, signal: None };
                self.keeper.signal(instance, order);
            }
        } else {
            self.keeper.leave(instance);
        }
    }

    /// The connection was cut and made anew: what was said meanwhile shows in the state.
    async fn again(&mut self, instance: InstanceId, state: State) -> Result<()> {
        self.insist(instance, &state);
        // That there are new lines may have been said to nobody.
        self.wake_shipping(instance);
        self.starts.forget(instance);
        for slot in self.reconciler.slots(instance) {
            self.slot_again(instance, slot, state.slot(slot)).await?;
        }
        Ok(())
    }

    async fn slot_again(&mut self, instance: InstanceId, slot: Slot, state: Option<SlotState>) -> Result<()> {
        let known = self.memory.rows().get(&instance).map_or(0, |row| row.slot(slot).exited_run);
        match state {
            Some(SlotState { exit: Some(exit), .. }) if exit.run > known => {
                // A start that is under way has come to nothing, or to this end.
                let trouble =
                    StartTrouble::Passing("it ended while its holder could not be heard".to_owned());
                self.step(Input::StartFailed { instance, slot, trouble }).await?;
                self.exited(instance, exit).await
            }
            Some(SlotState { run, exit: None }) => {
                self.step(Input::Started { instance, slot, pid: run.pid }).await
            }
            None | Some(_) => {
                let trouble = StartTrouble::Passing("the order to start was lost".to_owned());
                self.step(Input::StartFailed { instance, slot, trouble }).await
            }
        }
    }

    /// The end of a process whose folder says nothing of it, for instance because it was deleted.
    fn unrecorded_exit(&self, instance: InstanceId, slot: Slot) -> Exit {
        let pid = self.memory.rows().get(&instance).and_then(|row| row.slot(slot).started_pid);
        Exit {
            slot,
            // Runs are counted from 1 in a new folder.
            run: 0,
            pid: pid.unwrap_or_default(),
            code: None,
            signal: Some(9),
            at: service::clock::now(),
            uptime_ms: 0,
            told: Told::Nothing,
            out_of_memory: false,
        }
    }

    async fn exited(&mut self, instance: InstanceId, exit: Exit) -> Result<()> {
        self.wake_shipping(instance);
        self.step(Input::Exited { instance, exit }).await
    }

    pub(super) async fn gone(&mut self, instance: InstanceId) -> Result<()> {
        self.keeper.forget(instance);
        self.containers.forget(instance);
        self.leaving.remove(&instance);
        self.starts.forget(instance);
        self.host.cgroups.remove(instance);
        self.step(Input::Gone(instance)).await?;
        if !self.is_ending && !self.reconciler.knows(instance) {
            self.memory.remove(instance)?;
        }
        self.finish_shipping(instance);
        self.tell_used_releases();
        Ok(())
    }

    fn wake_shipping(&self, instance: InstanceId) {
        if let Some(shipping) = self.shipping.get(&instance) {
            shipping.wake();
        }
    }

    /// Nothing more comes of an instance that is forgotten.
    pub(super) fn finish_shipping(&mut self, instance: InstanceId) {
        if self.memory.rows().contains_key(&instance) {
            return;
        }
        if let Some(shipping) = self.shipping.remove(&instance) {
            shipping.close();
        }
    }

    /// Says what is in use, and clears away what never became whole.
    fn tell_used_releases(&mut self) {
        if self.is_ending {
            return;
        }
        let used = self.reconciler.releases_in_use();
        self.preparing.keep(&used);
        if let Err(error) = release::set_aside_broken(&self.preparer.releases, &used) {
            tracing::warn!(%error, "what is left of unused releases could not be moved away");
        }
        self.used.send_if_modified(|told| std::mem::replace(told, used.clone()) != used);
    }

    /// One input, and all that follows from it at once.
    pub(super) async fn step(&mut self, input: Input) -> Result<()> {
        self.steps(VecDeque::from([input])).await
    }

    /// These inputs in order, and all that follows from them.
    pub(super) async fn steps(&mut self, mut inputs: VecDeque<Input>) -> Result<()> {
        while !inputs.is_empty() {
            let now = self.now();
            inputs.iter().for_each(|input| self.measure(input));
            let actions: Vec<_> =
                inputs.drain(..).flat_map(|input| self.reconciler.step(now, input)).collect();
            self.burst.add(actions.len(), Instant::now());
            self.perform(actions, &mut inputs).await?;
        }
        Ok(())
    }

    fn now(&self) -> Moment {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(Moment::MAX)
    }
}

/// What makes the waits of this servant differ from those of others.
fn seed() -> u64 {
    // The low half of a fresh id is random.
    service::clock::fresh_id().as_u64_pair().1
}
