//! A King: it follows the log, and writes while it holds the lease and nobody has taken its place.
//!
//! Real are the fold, the commit loop, the appending, the rules of views and public events, and how commands and reports
//! are read. The shell around them is this simulation's.

mod appender;
mod election;
mod journal;
mod lease;
mod publisher;
mod views;
mod writer;

use super::net::{MS, Micros, Net, SECOND};
use super::packet::{Ask, Came, Failure, Node, Reply, Timer};
use super::store::Disk;
use super::tail::{REQUEST, Read, Tail};
use crate::coverage::Sight;
use crate::jetstream::Entry;
use ::king::election::Fold;
use ::king::lease::{Action, Observation};
use appender::Outcome;
use bus::outbox::ledger::Synced;
use bus::tail::Holes;
use election::Election;
use events::event::ServantEvent;
use events::subject::LOG_STREAM;
use events::{Event, Fact, KingId, Timestamp};
use journal::Journal;
use lease::Helm;
use realm::Context;
use uuid::Uuid;
use writer::Writer;

/// When virtual time begins, on a wall clock: milliseconds since 1970.
pub const BEGINNING: u64 = 1_790_000_000_000;
/// How often work that is left over is continued.
const TICK: Micros = SECOND;
/// Before something that failed is tried again.
const RETRY: Micros = 250 * MS;

/// What [`Timer::Again`] is for.
mod again {
    pub const APPEND: u64 = 1;
    pub const VIEWS: u64 = 2;
    pub const PUBLISH: u64 = 3;
    pub const ELECT: u64 = 4;
    pub const CHECK: u64 = 5;
    pub const UNELECTED: u64 = 6;
}

/// A King's host: its disk and its clock, and the process while it runs.
pub struct King {
    node: Node,
    pub journal: Journal,
    pub disk: Disk,
    /// How far its wall clock is off, in milliseconds.
    pub clock_ms: i64,
    life: Option<Box<Life>>,
}

/// A running King.
struct Life {
    node: Node,
    id: KingId,
    fold: Fold,
    /// Every confirmed event.
    events: Vec<Event>,
    tail: Option<Tail>,
    /// None before it follows the log.
    helm: Option<Helm>,
    role: Role,
    clock_ms: i64,
    /// Whether it stood still since it last heard of the log.
    was_paused: bool,
}

enum Role {
    /// Asks the stream for the last commit of its journal.
    Checking(u64),
    Backup,
    Electing(Election),
    Writing(Box<Writer>),
    /// The log is not what it was: it goes on no more.
    Stopped,
}

impl King {
    /// A host that was never started.
    pub fn new(node: Node) -> Self {
        Self { node, journal: Journal::default(), disk: Disk::default(), clock_ms: 0, life: None }
    }

    /// Something came.
    pub fn came(&mut self, net: &mut Net, came: Came) {
        if matches!(came, Came::Booted) {
            self.life = Some(Box::new(Life::boot(net, self.node, &mut self.journal)));
        }
        if matches!(came, Came::Timer(Timer::Tick)) && self.life.is_some() {
            self.keep_journal(net);
            if !net.is_up(self.node) {
                return;
            }
        }
        if let Some(life) = &mut self.life {
            life.clock_ms = self.clock_ms;
            life.came(net, &mut self.journal, came);
        }
    }

    /// A King whose disk has failed it ends, and is started again.
    fn keep_journal(&mut self, net: &mut Net) {
        match self.journal.sync(&mut self.disk) {
            Synced::Yes => {}
            Synced::No => {
                net.saw(Sight::SyncFailed);
                net.crash(self.node, RETRY);
            }
        }
    }

    /// The process died.
    pub fn died(&mut self, net: &mut Net) {
        if let Some(life) = self.life.take() {
            if let Role::Writing(writer) = &life.role
                && writer.is_unresolved()
            {
                net.saw(Sight::DiedUnresolved);
            }
            self.journal.crashed(&mut net.random);
        }
    }

    /// It stood still.
    pub fn paused(&mut self) {
        if let Some(life) = &mut self.life {
            life.was_paused = true;
        }
    }

    /// Whether it has ended for good because the log is not what it was.
    pub fn is_stopped(&self) -> bool {
        self.life.as_ref().is_some_and(|life| matches!(life.role, Role::Stopped))
    }

    /// Whether it writes and has nothing to do.
    pub fn is_idle_writer(&self) -> bool {
        self.life.as_ref().is_some_and(|life| match &life.role {
            Role::Writing(writer) => writer.is_idle(),
            Role::Checking(_) | Role::Backup | Role::Electing(_) | Role::Stopped => false,
        })
    }

    /// Whether it takes itself for the writer.
    pub fn writes(&self) -> bool {
        self.life.as_ref().is_some_and(|life| matches!(life.role, Role::Writing(_)))
    }

    /// The last event that it has confirmed.
    pub fn last(&self) -> u64 {
        self.life.as_ref().map_or(0, |life| life.fold.state.last)
    }
}

impl Life {
    fn boot(net: &mut Net, node: Node, journal: &mut Journal) -> Self {
        let id = KingId(Uuid::from_u128(net.random.wide()));
        net.judge.is_king(node, id);
        let mut fold = Fold::empty();
        let events = journal.replay(net, &mut fold);
        net.judge.confirmed(node, &fold.state);
        net.wake(node, TICK, Timer::Tick);
        let role = Role::Checking(0);
        Self { node, id, fold, events, tail: None, helm: None, role, clock_ms: 0, was_paused: false }
    }

    fn came(&mut self, net: &mut Net, journal: &mut Journal, came: Came) {
        match came {
            Came::Booted => {}
            Came::Connected => self.connected(net),
            Came::Cut => self.cut(net),
            Came::Done { call, result } => self.done(net, journal, call, result),
            Came::Heard { message, asker } => {
                if let Role::Writing(writer) = &mut self.role {
                    writer.heard(message, asker);
                }
            }
            Came::Entry { consumer, entry } => self.entry(net, journal, consumer, entry),
            Came::Silent { consumer } => self.silent(net, consumer),
            Came::Timer(timer) => self.timer(net, timer),
        }
        self.go_on(net, journal);
    }

    fn connected(&mut self, net: &mut Net) {
        match self.role {
            Role::Checking(_) => self.check(net),
            Role::Backup | Role::Electing(_) | Role::Writing(_) | Role::Stopped => {}
        }
    }

    /// The journal has to agree with the stream before anything goes on.
    fn check(&mut self, net: &mut Net) {
        let sequence = self.fold.sequence;
        if sequence == 0 {
            return self.follow(net);
        }
        self.role = Role::Checking(net.ask(self.node, Ask::Read { stream: LOG_STREAM, sequence }, REQUEST));
    }

    fn checked(&mut self, net: &mut Net, result: Result<Reply, Failure>) {
        match result {
            Ok(Reply::Found(Some((_, message))))
                if events::Digest::of(&message.payload) == self.fold.hash =>
            {
                self.follow(net);
            }
            Ok(_) => self.stop(net, "the log does not hold the last commit of the journal"),
            Err(_) => net.wake(self.node, RETRY, Timer::Again(again::CHECK)),
        }
    }

    fn follow(&mut self, net: &mut Net) {
        self.role = Role::Backup;
        let after = self.fold.sequence;
        self.tail = Some(Tail::open(net, self.node, LOG_STREAM, Vec::new(), Holes::Forbidden, after));
        if self.helm.is_none() {
            self.helm = Some(Helm::new(net, self.node, self.id, self.fold.state.epoch));
            self.observe(net, Observation::Time);
        }
    }

    fn observe(&mut self, net: &mut Net, observation: Observation) {
        let actions = self.helm.as_mut().map(|helm| helm.observe(net, observation));
        self.obey(net, actions.unwrap_or_default());
    }

    /// What the lease calls for.
    fn obey(&mut self, net: &mut Net, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Elect if !matches!(self.role, Role::Stopped) => self.elect(net),
                // The election is folded already; see `reign`.
                Action::Reign => self.take_the_throne(net),
                Action::Depose => self.step_down(net),
                Action::Follow if matches!(self.role, Role::Electing(_)) => self.follow(net),
                Action::Drain => {
                    self.step_down(net);
                    self.observe(net, Observation::Drained);
                }
                Action::Elect
                | Action::Follow
                | Action::Call { .. }
                | Action::End
                | Action::Read
                | Action::Write { .. } => {}
            }
        }
    }

    /// The log is not what it was: nothing is appended any more.
    fn stop(&mut self, net: &mut Net, why: &str) {
        net.note(self.node, || format!("stops: {why}"));
        net.judge.retires(self.node);
        self.tail = None;
        self.role = Role::Stopped;
    }

    fn cut(&mut self, net: &mut Net) {
        if let Some(tail) = &mut self.tail {
            tail.cut(net);
        }
        if let Role::Writing(writer) = &mut self.role {
            writer.inbox.cut(net);
        }
    }

    fn silent(&mut self, net: &mut Net, consumer: u64) {
        if let Some(tail) = &mut self.tail {
            tail.silent(net, consumer);
        }
        if let Role::Writing(writer) = &mut self.role {
            writer.inbox.silent(net, consumer);
        }
    }

    fn entry(&mut self, net: &mut Net, journal: &mut Journal, consumer: u64, entry: Entry) {
        if let Role::Writing(writer) = &mut self.role {
            if let Read::Next(entry) = writer.inbox.entry(net, consumer, entry) {
                writer.queued(entry);
            }
            return;
        }
        let Some(tail) = &mut self.tail else { return };
        match tail.entry(net, consumer, entry) {
            Read::Next(entry) => self.fold(net, journal, &entry),
            Read::Nothing => {}
            Read::Lost => self.stop(net, "the log lost commits"),
        }
    }

    fn fold(&mut self, net: &mut Net, journal: &mut Journal, entry: &Entry) {
        let payload = &entry.message.payload;
        match self.fold.take(entry.sequence, payload) {
            Ok(commit) => {
                self.events.extend(commit.events);
                journal.push(entry.sequence, payload.clone());
                net.judge.confirmed(self.node, &self.fold.state);
                let epoch = self.fold.state.epoch;
                self.observe(net, Observation::Followed { epoch });
            }
            Err(error) => self.stop(net, &error.to_string()),
        }
    }

    fn timer(&mut self, net: &mut Net, timer: Timer) {
        match timer {
            Timer::Tick => {
                net.wake(self.node, TICK, Timer::Tick);
                if let Role::Writing(writer) = &mut self.role {
                    writer.tick(net);
                }
            }
            Timer::Lease => {
                let actions = self.helm.as_mut().map(|helm| helm.woken(net));
                self.obey(net, actions.unwrap_or_default());
            }
            Timer::Reopen => {
                if let Some(tail) = &mut self.tail {
                    tail.reopened(net);
                }
                if let Role::Writing(writer) = &mut self.role {
                    writer.inbox.reopened(net);
                }
            }
            Timer::Again(again::CHECK) => self.connected(net),
            Timer::Again(again::ELECT) => {
                if let Role::Electing(Election { end: None, .. }) = &self.role {
                    self.elect(net);
                }
            }
            Timer::Again(again::UNELECTED) => self.unelected(net),
            Timer::Again(what) => self.try_again(net, what),
            Timer::Beat | Timer::Look | Timer::Ready(_) => {}
        }
    }

    fn try_again(&mut self, net: &mut Net, what: u64) {
        match (&mut self.role, what) {
            (Role::Electing(Election { appender: Some(appender), .. }), again::APPEND) => appender.again(net),
            (Role::Writing(writer), again::APPEND) => writer.append_again(net),
            (Role::Writing(writer), again::VIEWS) => writer.views.again(),
            (Role::Writing(writer), again::PUBLISH) => writer.publisher.begin(net),
            (Role::Checking(_) | Role::Backup | Role::Electing(_) | Role::Writing(_) | Role::Stopped, _) => {}
        }
    }

    fn done(&mut self, net: &mut Net, journal: &mut Journal, call: u64, result: Result<Reply, Failure>) {
        if let Some(helm) = self.helm.as_mut().filter(|helm| helm.asked(call)) {
            let actions = helm.done(net, &result);
            return self.obey(net, actions);
        }
        if let Some(tail) = &mut self.tail
            && tail.asked(call)
        {
            if let Read::Lost = tail.done(net, call, &result) {
                self.stop(net, "the log is shorter than what was read from it");
            }
            return;
        }
        match &mut self.role {
            Role::Checking(asked) if *asked == call => self.checked(net, result),
            Role::Electing(election) if election.measuring == Some(call) => self.measured(net, result),
            Role::Electing(Election { appender: Some(appender), .. }) => {
                let outcome = appender.done(net, call, &result);
                self.elected(net, journal, outcome);
            }
            Role::Writing(_) => self.written(net, journal, call, result),
            Role::Checking(_) | Role::Backup | Role::Electing(_) | Role::Stopped => {}
        }
    }

    /// What follows from where everything stands.
    fn go_on(&mut self, net: &mut Net, journal: &mut Journal) {
        self.stand_for_election(net);
        let context = Clock { clock_ms: self.clock_ms };
        if let Role::Writing(writer) = &mut self.role {
            writer.go_on(net, &context, &self.events, &self.fold.state);
        }
        self.confirm(net, journal);
    }

    fn written(&mut self, net: &mut Net, journal: &mut Journal, call: u64, result: Result<Reply, Failure>) {
        let Role::Writing(writer) = &mut self.role else { return };
        writer.inbox.done(net, call, &result);
        if writer.is_overtaken(call, &result) {
            net.saw(Sight::SeenOvertaken);
            return self.step_down(net);
        }
        let is_superseded = writer.views.done(net, &self.fold.state, call, &result);
        writer.publisher.done(net, call, &result);
        let outcome = writer.landed(net, call, &result);
        self.confirm(net, journal);
        match outcome {
            Outcome::Open | Outcome::Stored(_) if is_superseded => {
                net.saw(Sight::ViewSuperseded);
                self.step_down(net);
            }
            Outcome::Open | Outcome::Stored(_) => {}
            Outcome::Deposed => {
                net.saw(Sight::StaleRefused);
                if self.was_paused {
                    net.saw(Sight::PausedDeposed);
                }
                self.step_down(net);
            }
            Outcome::Shorter => self.stop(net, "the log is shorter than what was read from it"),
            Outcome::Refused => {
                net.saw(Sight::LogFull);
                self.step_down(net);
            }
        }
    }

    /// What is stored may be seen: first here, then by whoever waits.
    fn confirm(&mut self, net: &mut Net, journal: &mut Journal) {
        let Role::Writing(writer) = &mut self.role else { return };
        while let Some((stored, append)) = writer.take_stored() {
            let events = &stored.commit.events;
            events.iter().for_each(|event| look(net, event));
            let keys = king::kingdom::advance(&mut self.fold.state, events, stored.commit.inbox);
            self.fold.sequence = stored.sequence;
            self.fold.hash = append.hash;
            self.events.extend(events.iter().cloned());
            journal.push(stored.sequence, append.payload);
            net.judge.confirmed(self.node, &self.fold.state);
            writer.confirmed(net, stored.waiting, keys);
        }
        writer.views.go_on(net, &self.fold.state);
        writer.publisher.go_on(net, &self.events);
    }

    fn step_down(&mut self, net: &mut Net) {
        net.note(self.node, || "steps down".to_owned());
        net.judge.retires(self.node);
        if let Role::Writing(writer) = &mut self.role {
            writer.end(net);
        }
        self.follow(net);
        self.observe(net, Observation::Deposed);
    }
}

/// What of an event must have been seen.
fn look(net: &mut Net, event: &Event) {
    match &event.fact {
        Fact::Servant(ServantEvent::Lost(_)) => net.saw(Sight::ServantLost),
        Fact::Servant(ServantEvent::Returned(_)) => net.saw(Sight::ServantReturned),
        Fact::Servant(
            ServantEvent::Joined(_)
            | ServantEvent::Changed(_)
            | ServantEvent::Removed(_)
            | ServantEvent::DiskChanged(_)
            | ServantEvent::DiskCleaned(_),
        )
        | Fact::App(_)
        | Fact::Version(_)
        | Fact::Release(_)
        | Fact::Config(_)
        | Fact::Instance(_)
        | Fact::Command(_)
        | Fact::Alert(_)
        | Fact::King(_)
        | Fact::Exec(_) => {}
    }
}

/// A King's wall clock.
struct Clock {
    clock_ms: i64,
}

impl Clock {
    fn context(&self, net: &mut Net) -> Context {
        let wall = BEGINNING + net.ms();
        Context { at: Timestamp(wall.saturating_add_signed(self.clock_ms)), entropy: net.random.wide() }
    }
}
