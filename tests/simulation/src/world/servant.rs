//! A Servant: the real reconciler, outbox and rules of its memory, on a host with processes that live without it.

mod host;
mod deeds;

use super::king::BEGINNING;
use super::net::{MS, Micros, Net, SECOND};
use super::packet::{Ask, Came, Failure, Node, Reply, Timer};
use super::store::{Disk, Numbers, Store};
use super::watch::Watch;
use crate::coverage::Sight;
use crate::jetstream::Message;
use bus::outbox::ledger::Synced;
use deeds::Errand;
use events::answer::ReportAnswer;
use events::report::{InstanceNews, PortRange, RegisterServant, ServantNews, Stopped};
use events::view::{Assignment, Beat, Stamped};
use events::{
    DomainName, InstanceId, News, Report, ReportId, ServantId, ServantName, Timestamp, subject, wire,
};
use host::Host;
use servant::memory::{Held, Row, Standing};
use servant::reconcile::{Input, Reconciler, Settings};
use servant::reports::{self, Sender};
use servant::spec::specs;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

const BEAT: Micros = SECOND;
/// How long an answer may take: it comes after the King's commit.
const ANSWER: Micros = 5 * SECOND;
const BATCH: usize = 200;
/// Between two registrations.
const REGISTER: Micros = 20 * SECOND;

/// How long a process is away that has ended by itself.
const RESTART: Micros = 300 * MS;

/// What [`Timer::Again`] is for.
const SEND: u64 = 1;
const REGISTER_AGAIN: u64 = 2;
const RELEASE: u64 = 3;

/// A Servant's host with its disk and its processes, and the Servant's own process while it runs.
pub struct Servant {
    node: Node,
    sender: Sender,
    ports: PortRange,
    numbers: Numbers,
    rows: Store<InstanceId, Row>,
    assignment: Store<(), Stamped<Assignment>>,
    pub disk: Disk,
    pub host: Host,
    life: Option<Life>,
}

struct Life {
    reconciler: Reconciler,
    watch: Watch,
    /// Reports that must not go out yet.
    held: BTreeSet<u64>,
    sending: Option<(u64, Vec<Report>)>,
    wait: Micros,
    is_waiting: bool,
    /// Things that take their time, by the number of their timer.
    errands: BTreeMap<u64, Errand>,
    next: u64,
    due: Option<u64>,
}

impl Servant {
    pub fn new(node: Node, servant: ServantId, name: ServantName, domain: DomainName) -> Self {
        let ports = PortRange { first: 20_000, last: 20_015 };
        let sender = Sender { servant, name, domain };
        Self {
            node,
            sender,
            ports,
            numbers: Numbers::default(),
            rows: Store::default(),
            assignment: Store::default(),
            disk: Disk::default(),
            host: Host::default(),
            life: None,
        }
    }

    pub fn id(&self) -> ServantId {
        self.sender.servant
    }

    /// Whether everything it had to say is said.
    pub fn is_quiet(&self) -> bool {
        self.life.is_some() && self.numbers.is_empty()
    }

    /// What it was told last.
    pub fn assignment(&self) -> Option<&Stamped<Assignment>> {
        self.assignment.get(&())
    }

    pub fn died(&mut self, net: &mut Net) {
        if self.life.take().is_some() {
            self.numbers.crashed(&mut net.random);
            self.rows.crashed(&mut net.random);
            self.assignment.crashed(&mut net.random);
        }
    }

    /// A fault: its outbox is damaged.
    pub fn lose_outbox(&mut self) {
        self.numbers.lose();
    }

    pub fn came(&mut self, net: &mut Net, came: Came) {
        match came {
            Came::Booted => self.boot(net),
            Came::Connected => self.send(net),
            Came::Cut => self.with(|life| life.watch.cut(net)),
            Came::Done { call, result } => self.done(net, call, &result),
            Came::Heard { .. } => {}
            Came::Entry { consumer, entry } => {
                let view = self.life.as_mut().and_then(|life| life.watch.entry(net, consumer, entry));
                self.told(net, view);
            }
            Came::Silent { consumer } => self.with(|life| life.watch.silent(net, consumer)),
            Came::Timer(timer) => self.timer(net, timer),
        }
        self.set_alarm(net);
    }

    fn with(&mut self, act: impl FnOnce(&mut Life)) {
        if let Some(life) = &mut self.life {
            act(life);
        }
    }

    fn timer(&mut self, net: &mut Net, timer: Timer) {
        match timer {
            Timer::Beat => self.beat(net),
            Timer::Reopen => self.with(|life| life.watch.reopened(net)),
            Timer::Look => self.with(|life| life.watch.look(net)),
            Timer::Tick => {
                self.with(|life| life.due = None);
                self.step(net, Input::Tick);
            }
            Timer::Again(SEND) => {
                self.with(|life| life.is_waiting = false);
                self.send(net);
            }
            Timer::Again(RELEASE) => self.release(net),
            Timer::Again(_) => self.register(net),
            Timer::Ready(number) => self.ready(net, number),
            Timer::Lease => {}
        }
    }

    fn boot(&mut self, net: &mut Net) {
        self.numbers.open(net, self.sender.servant.0, BEGINNING + net.ms());
        self.life = Some(Life {
            reconciler: Reconciler::new(Settings { steady_ms: 3000, ..Settings::default() }),
            watch: Watch::open(net, self.node, &subject::assignment_key(self.sender.servant)),
            held: BTreeSet::new(),
            sending: None,
            wait: 0,
            is_waiting: false,
            errands: BTreeMap::new(),
            next: 0,
            due: None,
        });
        self.beat(net);
        self.find(net);
        self.register(net);
        self.send(net);
    }

    /// Takes over what runs, then goes on with the last assignment.
    fn find(&mut self, net: &mut Net) {
        let mut known: BTreeMap<InstanceId, Row> = self.rows.all().clone();
        for (id, holder) in self.host.holders() {
            known.entry(*id).or_insert_with(|| Row::new(holder.spec.clone()));
        }
        for (id, row) in known {
            let holder = self.host.holder(id);
            let held = if holder.is_some_and(|holder| holder.is_alive) { Held::Yes } else { Held::No };
            let state = holder.map(|holder| holder.state.clone()).unwrap_or_default();
            let (missed, adopted) = (row.missed(&state), row.adopted(&state, held));
            if held == Held::Yes {
                net.saw(Sight::Adopted);
            }
            let spec = holder
                .filter(|holder| holder.pid.is_some())
                .map_or(row.spec.clone(), |holder| holder.spec.clone());
            let (looping, workers) = (row.looping, row.workers);
            self.rows.put(id, row);
            self.step(net, Input::Known { spec: Box::new(spec), missed, adopted, looping, workers });
        }
        if let Some(stored) = self.assignment().cloned() {
            self.assigned(net, stored);
        }
    }

    fn beat(&mut self, net: &mut Net) {
        let name = subject::beat(&self.sender.domain, &self.sender.name);
        net.tell(self.node, Message::new(name, &[], wire::encode(&Beat { servant: self.sender.servant })));
        net.wake(self.node, BEAT, Timer::Beat);
    }

    fn register(&mut self, net: &mut Net) {
        let facts = RegisterServant {
            servant: self.sender.servant,
            name: self.sender.name.clone(),
            capabilities: BTreeMap::new(),
            ports: self.ports,
            cpus: 2,
            memory_bytes: 1 << 30,
            boot: "boot".to_owned(),
            labels: events::Labels::new(),
        };
        if let Some(number) = self.push(net, News::Servant(ServantNews::Register(facts))) {
            self.keep_reports(net);
            self.hold(number, Held::No);
        }
        net.wake(self.node, REGISTER, Timer::Again(REGISTER_AGAIN));
        self.send(net);
    }

    /// Into the outbox, and held back.
    fn push(&mut self, net: &mut Net, news: News) -> Option<u64> {
        if !net.lives(self.node) {
            return None;
        }
        let report = Report {
            id: ReportId { sender: self.sender.servant.0, epoch: 0, number: 0 },
            at: Timestamp(BEGINNING + net.ms()),
            actor: format!("servant:{}", self.sender.name).parse().expect("a name is printable"),
            domain: self.sender.domain.clone(),
            news,
        };
        let number = self.numbers.push(net, self.sender.servant.0, wire::encode(&report))?;
        self.hold(number, Held::Yes);
        Some(number)
    }

    /// Makes the reports in the outbox durable.
    fn keep_reports(&mut self, net: &mut Net) {
        let synced = self.numbers.sync(&mut self.disk);
        self.goes_on_if(net, synced);
    }

    /// A Servant whose disk has failed it ends, and is started again.
    fn goes_on_if(&mut self, net: &mut Net, synced: Synced) {
        match synced {
            Synced::Yes => {}
            Synced::No => {
                net.saw(Sight::SyncFailed);
                net.crash(self.node, RESTART);
            }
        }
    }

    /// Holds a report back, or lets it go.
    fn hold(&mut self, number: u64, held: Held) {
        self.with(|life| {
            match held {
                Held::Yes => life.held.insert(number),
                Held::No => life.held.remove(&number),
            };
        });
    }

    fn send(&mut self, net: &mut Net) {
        let Some(life) = &mut self.life else { return };
        if life.sending.is_some() || life.is_waiting {
            return;
        }
        let first_held = life.held.first().copied();
        let epoch = self.numbers.epoch();
        let (batch, _) = reports::batch(&self.sender, epoch, self.numbers.pending(BATCH), first_held);
        if batch.is_empty() {
            return;
        }
        for report in &batch {
            net.judge.reports(report, self.numbers.is_on_disk(report.id.number));
        }
        let subject = subject::up(&self.sender.domain, &self.sender.name);
        let message = Message::new(subject, &[], wire::encode(&batch));
        let call = net.ask(self.node, Ask::Request(message), ANSWER);
        life.sending = Some((call, batch));
    }

    fn done(&mut self, net: &mut Net, call: u64, result: &Result<Reply, Failure>) {
        let Some(life) = &mut self.life else { return };
        if let Some((_, sent)) = life.sending.take_if(|(asked, _)| *asked == call) {
            let answer = match result {
                Ok(Reply::Answer(bytes)) => wire::decode::<ReportAnswer>(bytes).ok(),
                Ok(_) | Err(_) => None,
            };
            match answer.filter(|answer| answer.verdicts.len() == sent.len()) {
                Some(_) => self.acknowledged(net, &sent),
                None => self.wait(net),
            }
            return;
        }
        let view = life.watch.done(net, call, result);
        self.told(net, view);
    }

    fn acknowledged(&mut self, net: &mut Net, sent: &[Report]) {
        self.with(|life| life.wait = 0);
        let last = sent.last().map_or(0, |report| report.id.number);
        let (sender, epoch) = (self.sender.servant.0, self.numbers.epoch());
        for number in self.numbers.acknowledge(last) {
            net.judge.forgets(ReportId { sender, epoch, number });
        }
        self.send(net);
    }

    fn wait(&mut self, net: &mut Net) {
        let node = self.node;
        self.with(|life| {
            life.wait = (life.wait * 2).clamp(50 * MS, 2 * SECOND);
            life.is_waiting = true;
            net.wake(node, life.wait, Timer::Again(SEND));
        });
    }

    fn told(&mut self, net: &mut Net, view: Option<bytes::Bytes>) {
        let Some(bytes) = view else { return };
        if let Ok(assignment) = wire::decode::<Stamped<Assignment>>(&bytes) {
            self.assigned(net, assignment);
        }
    }

    /// A whole assignment that is newer than the last one: kept, then acted on.
    fn assigned(&mut self, net: &mut Net, assignment: Stamped<Assignment>) {
        let (whole, broken) = specs(&assignment.view);
        let standing = Standing::of(assignment.stamp, self.assignment().map(|last| last.stamp));
        if standing == Standing::Older {
            return;
        }
        if !net.lives(self.node) {
            return;
        }
        if standing == Standing::Newer {
            for spec in &whole {
                let known = self.rows.get(&spec.instance).cloned();
                let row = known.map_or(Row::new(spec.clone()), |row| Row { spec: spec.clone(), ..row });
                self.rows.put(spec.instance, row);
            }
            let rows = self.rows.sync(&mut self.disk);
            self.assignment.put((), assignment.clone());
            let assigned = self.assignment.sync(&mut self.disk);
            self.goes_on_if(net, rows);
            self.goes_on_if(net, assigned);
        }
        if !net.lives(self.node) {
            return;
        }
        let on_disk = self.assignment.durable().get(&()).map(|stored| stored.stamp);
        net.judge.acts(self.node, &assignment, on_disk);
        self.stop_unknown(net, &assignment.view.stopping);
        self.step(net, Input::Assigned { specs: whole, broken });
    }

    /// What shall not run, and nothing is known of here, is gone.
    fn stop_unknown(&mut self, net: &mut Net, stopping: &[InstanceId]) {
        let unknown: Vec<InstanceId> = match &self.life {
            Some(life) => stopping.iter().copied().filter(|id| !life.reconciler.knows(*id)).collect(),
            None => return,
        };
        for instance in unknown {
            if let Some(number) = self.push(net, News::Instance(InstanceNews::Stopped(Stopped { instance })))
            {
                self.keep_reports(net);
                self.hold(number, Held::No);
            }
        }
        self.send(net);
    }

    /// One input, and all that follows from it at once.
    fn step(&mut self, net: &mut Net, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let now = net.ms();
            let Some(life) = &mut self.life else { return };
            let actions = life.reconciler.step(now, input);
            self.perform(net, actions, &mut inputs);
        }
    }

    /// When the reconciler wants to be woken.
    fn set_alarm(&mut self, net: &mut Net) {
        let node = self.node;
        let now = net.ms();
        self.with(|life| {
            if let Some(deadline) = life.reconciler.deadline()
                && life.due.is_none_or(|due| deadline < due)
            {
                life.due = Some(deadline);
                net.wake(node, deadline.saturating_sub(now) * MS + 1, Timer::Tick);
            }
        });
    }
}
