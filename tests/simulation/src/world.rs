//! The world: the cast around the server, and the run of one plan.
//!
//! Read [`net`] (what nodes can reach), then the nodes: [`king`], [`foreman`], [`servant`], [`alerter`], [`user`]. Each
//! drives the real machines as the real shells do.

pub mod net;
pub mod packet;
mod tail;
mod watch;
mod store;
pub mod king;
mod foreman;
mod servant;
mod alerter;
pub mod user;
mod settle;
mod strike;

use crate::coverage::{Coverage, Sight};
use crate::jetstream::{Discard, JetStream, StreamConfig};
use crate::judge::Violation;
use crate::plan::{Disaster, HEAL, Plan};
use crate::random::Random;
use alerter::Alerter;
use events::subject::{
    EVENTS_STREAM, EVENTS_SUBJECTS, INBOX_STREAM, INBOX_SUBJECTS, LOG_STREAM, LOG_SUBJECT,
};
use events::{DomainName, ServantId};
use foreman::Foreman;
use king::King;
use net::{MS, Micros, Net, SECOND, Turn};
use packet::{Came, Node};
use servant::Servant;
use user::User;
use uuid::Uuid;

/// How long everything may take to come to rest after the heal.
const PATIENCE: Micros = 150 * SECOND;
/// How often it is looked whether everything is at rest.
const LOOK: Micros = 500 * MS;
/// How long Kings may take to notice that the log is not what it was.
const ALARM: Micros = 40 * SECOND;

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Run {
    pub violation: Option<Violation>,
    pub coverage: Coverage,
    pub trace: Vec<String>,
    pub commits: u64,
    pub virtual_micros: Micros,
}

/// Runs a plan to its end.
pub fn run(plan: &Plan, is_traced: bool) -> Run {
    let mut world = World::new(plan, is_traced);
    world.play(plan);
    Run {
        violation: world.net.judge.violation().cloned(),
        coverage: world.net.coverage,
        trace: world.net.trace.lines,
        commits: world.net.judge.log.sequence,
        virtual_micros: world.net.now,
    }
}

#[derive(Clone, Copy)]
enum Who {
    King(usize),
    Foreman(usize),
    Servant(usize),
    Alerter,
    User(usize),
}

struct World {
    net: Net,
    who: Vec<Who>,
    kings: Vec<King>,
    foremen: Vec<Foreman>,
    servants: Vec<Servant>,
    alerter: Alerter,
    users: Vec<User>,
    /// When the disk of the log has room again.
    full_until: Option<Micros>,
}

impl World {
    fn new(plan: &Plan, is_traced: bool) -> Self {
        let mut random = Random::new(plan.seed ^ 0x51_3d);
        let mut who: Vec<Who> = (0..plan.kings).map(Who::King).collect();
        who.extend((0..2).map(Who::Foreman));
        who.extend((0..plan.servants).map(Who::Servant));
        who.push(Who::Alerter);
        who.extend((0..plan.users.len()).map(Who::User));
        let mut net = Net::new(random.fork(), plan.replicas, who.len(), is_traced);
        provision(&mut net.server.jetstream);
        net.judge.introduce(who.iter().map(Who::name).collect());
        let at =
            |wanted: Who| who.iter().position(|one| one.name() == wanted.name()).expect("it is in the cast");
        let domains: [DomainName; 2] = ["default", "far"].map(|name| name.parse().expect("a name"));
        Self {
            kings: (0..plan.kings).map(|king| King::new(at(Who::King(king)))).collect(),
            foremen: (0..2)
                .map(|index| {
                    let id = Uuid::from_u128(900 + index as u128);
                    Foreman::new(at(Who::Foreman(index)), id, domains[index].clone())
                })
                .collect(),
            servants: (0..plan.servants)
                .map(|index| {
                    let id = ServantId(Uuid::from_u128(100 + index as u128));
                    let name = format!("s{index}").parse().expect("a name");
                    Servant::new(at(Who::Servant(index)), id, name, domains[index % 2].clone())
                })
                .collect(),
            alerter: Alerter::new(at(Who::Alerter)),
            users: plan
                .users
                .iter()
                .enumerate()
                .map(|(index, errands)| {
                    User::new(at(Who::User(index)), &format!("user{index}"), errands.clone())
                })
                .collect(),
            net,
            who,
            full_until: None,
        }
    }

    fn play(&mut self, plan: &Plan) {
        for node in 0..self.who.len() {
            let when = self.net.random.below(200 * MS);
            self.net.plan_boot(when, node);
        }
        for (number, (at, _)) in plan.faults.iter().enumerate() {
            self.net.plan_fault(*at, number);
        }
        self.until(plan, HEAL);
        self.net.heal();
        self.set_full(false);
        let deadline = self.net.now + PATIENCE;
        let mut unrest = self.unrest();
        while let Some(why) = &unrest {
            if self.net.judge.violation().is_some() {
                return;
            }
            if self.net.now >= deadline {
                let why = why.clone();
                return self.net.judge.blame("everything comes to rest after the heal", || why);
            }
            self.until(plan, self.net.now + LOOK);
            unrest = self.unrest();
        }
        if let Some(disaster) = plan.disaster {
            self.disaster(plan, disaster);
        }
    }

    fn until(&mut self, plan: &Plan, when: Micros) {
        while let Some((turn, came)) = self.net.turn(when) {
            match (turn, came) {
                (Turn::Fault(number), _) => self.strike(plan.faults[number].1),
                (Turn::Step(node), Some(came)) => self.step(node, came),
                (Turn::Step(_), None) => {}
            }
            if self.full_until.is_some_and(|until| self.net.now >= until) {
                self.set_full(false);
            }
            if self.net.judge.violation().is_some() {
                return;
            }
        }
    }

    fn step(&mut self, node: Node, came: Came) {
        let net = &mut self.net;
        match self.who[node] {
            Who::King(index) => self.kings[index].came(net, came),
            Who::Foreman(index) => self.foremen[index].came(net, came),
            Who::Servant(index) => self.servants[index].came(net, came),
            Who::Alerter => self.alerter.came(net, came),
            Who::User(index) => self.users[index].came(net, came),
        }
        if !self.net.is_up(node) {
            self.died(node);
        }
    }

    /// What a process knew is gone with it.
    fn died(&mut self, node: Node) {
        let net = &mut self.net;
        match self.who[node] {
            Who::King(index) => self.kings[index].died(net),
            Who::Foreman(index) => self.foremen[index].died(net),
            Who::Servant(index) => self.servants[index].died(net),
            Who::Alerter => self.alerter.died(),
            Who::User(_) => {}
        }
    }

    fn set_full(&mut self, is_full: bool) {
        self.full_until = None;
        if let Ok(log) = self.net.server.jetstream.stream_mut(LOG_STREAM) {
            log.set_full(is_full);
        }
    }

    /// The log is no more what it was: every King stops, and nothing is appended.
    fn disaster(&mut self, plan: &Plan, disaster: Disaster) {
        self.net.note(usize::MAX, || format!("loses commits: {disaster:?}"));
        let jetstream = &mut self.net.server.jetstream;
        match disaster {
            Disaster::Cut(commits) => {
                let log = jetstream.stream_mut(LOG_STREAM).expect("the log is there");
                let last = log.state().last;
                log.lose_after(last.saturating_sub(commits));
            }
            Disaster::Lost => {
                jetstream.delete(LOG_STREAM).expect("the log is there");
                jetstream.create(log()).expect("the name is free");
            }
        }
        self.net.judge.log_is_cut();
        self.net.restart_server(200 * MS);
        let writer = self.users.len() - 1;
        self.users[writer].ask_once_more(&mut self.net);
        let deadline = self.net.now + ALARM;
        while !self.kings.iter().all(King::is_stopped) {
            if self.net.judge.violation().is_some() {
                return;
            }
            if self.net.now >= deadline {
                return self
                    .net
                    .judge
                    .blame("every King stops when the log lost commits", || "one goes on".to_owned());
            }
            self.until(plan, self.net.now + LOOK);
        }
        self.net.saw(match disaster {
            Disaster::Cut(_) => Sight::LogCut,
            Disaster::Lost => Sight::LogLost,
        });
    }
}

impl Who {
    fn name(&self) -> String {
        match self {
            Self::King(index) => format!("king {index}"),
            Self::Foreman(index) => format!("foreman {index}"),
            Self::Servant(index) => format!("servant {index}"),
            Self::Alerter => "alerter".to_owned(),
            Self::User(index) => format!("user {index}"),
        }
    }
}

fn log() -> StreamConfig {
    let mut log = StreamConfig::new(LOG_STREAM, &[LOG_SUBJECT]);
    (log.deny_delete, log.deny_purge, log.duplicate_window_ms) = (true, true, 500);
    log
}

fn provision(jetstream: &mut JetStream) {
    let mut public = StreamConfig::new(EVENTS_STREAM, &[EVENTS_SUBJECTS]);
    (public.discard, public.duplicate_window_ms) = (Discard::Old, 500);
    let bucket = |stream: &str, subjects: &str| {
        let mut bucket = StreamConfig::new(stream, &[subjects]);
        bucket.max_per_subject = Some(1);
        bucket
    };
    let inbox = StreamConfig::new(INBOX_STREAM, &[INBOX_SUBJECTS]);
    let views = bucket("KV_KING_VIEWS", "$KV.KING_VIEWS.>");
    let lease = bucket("KV_KING_LEASE", "$KV.KING_LEASE.>");
    for config in [log(), public, inbox, views, lease] {
        jetstream.create(config).expect("every name is free in the beginning");
    }
}
