//! The network, the server behind it, and time: everything that a node can reach.
//!
//! A connection keeps its order both ways; connections are independent. What is on the way when a connection is cut is
//! lost. Faults work here: weather (loss, copies, delay), one-way cuts, pauses, deaths in the middle of a step.

mod server;
mod link;

pub use link::{Direction, Link, Weather};
pub use server::Server;

use super::packet::{Ask, Asker, Came, Consume, Down, Failure, Node, Timer, Up};
use crate::coverage::{Coverage, Sight};
use crate::jetstream::{Message, Replicas};
use crate::judge::Judge;
use crate::random::Random;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// Microseconds of virtual time.
pub type Micros = u64;
pub const MS: Micros = 1000;
pub const SECOND: Micros = 1_000_000;

/// How long a client needs to see that a consumer is silent.
const SILENCE: Micros = SECOND;
/// Between two attempts to connect.
const RECONNECT: Micros = 150 * MS;

/// Something that will happen.
#[derive(Clone, Debug)]
enum Due {
    Up { node: Node, epoch: u32, packet: Up },
    Down { node: Node, epoch: u32, packet: Down },
    Came { node: Node, life: u32, came: Came },
    CallEnds { node: Node, life: u32, call: u64 },
    Connect { node: Node },
    Boot { node: Node },
    Resume { node: Node },
    Fault(usize),
    ServerBack,
    LeaderBack,
}

/// What happens outside of the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// A node has been told something.
    Step(Node),
    /// The fault with this number is due.
    Fault(usize),
}

/// Everything that nodes can reach.
pub struct Net {
    pub now: Micros,
    pub random: Random,
    pub server: Server,
    pub judge: Judge,
    pub coverage: Coverage,
    pub trace: Trace,
    /// Whether the network may lose, copy or delay anything: no longer after the heal.
    pub is_healed: bool,
    links: Vec<Link>,
    queue: BTreeMap<(Micros, u64), Due>,
    order: u64,
    calls: BTreeSet<Asker>,
    next_call: u64,
    /// The node whose step is under way, and how many effects it may still have: a death in the middle of a step.
    fuse: Option<Fuse>,
}

/// A death that waits: after so many effects of a node.
#[derive(Clone, Copy, Debug)]
struct Fuse {
    node: Node,
    effects: u64,
    down_for: Micros,
}

/// What happened, in words; only when it is wanted.
#[derive(Default)]
pub struct Trace {
    pub is_wanted: bool,
    pub lines: Vec<String>,
}

impl Net {
    /// A network of so many nodes around a server.
    pub fn new(mut random: Random, replicas: Replicas, nodes: usize, is_traced: bool) -> Self {
        let links = (0..nodes).map(|_| Link::default()).collect();
        let server = Server::new(replicas, random.fork());
        Self {
            now: 0,
            random,
            server,
            judge: Judge::default(),
            coverage: Coverage::default(),
            trace: Trace { is_wanted: is_traced, lines: Vec::new() },
            is_healed: false,
            links,
            queue: BTreeMap::new(),
            order: 0,
            calls: BTreeSet::new(),
            next_call: 1,
            fuse: None,
        }
    }

    /// Notes what happened.
    pub fn note(&mut self, node: Node, what: impl FnOnce() -> String) {
        if self.trace.is_wanted {
            let (now, name) = (self.now, self.judge.name(node));
            self.trace.lines.push(format!("{:>4}.{:06} {name:<10} {}", now / SECOND, now % SECOND, what()));
        }
    }

    /// A situation was seen.
    pub fn saw(&mut self, sight: Sight) {
        self.coverage.saw(sight);
    }

    /// The time in milliseconds, for machines.
    pub fn ms(&self) -> u64 {
        self.now / MS
    }

    fn at(&mut self, when: Micros, due: Due) {
        self.order += 1;
        self.queue.insert((when.max(self.now), self.order), due);
    }

    /// Whether a node's effects still count in this step.
    pub fn lives(&mut self, node: Node) -> bool {
        if !self.links[node].is_up {
            return false;
        }
        match &mut self.fuse {
            Some(fuse) if fuse.node == node && fuse.effects == 0 => {
                let down_for = fuse.down_for;
                self.fuse = None;
                self.crash(node, down_for);
                false
            }
            Some(fuse) if fuse.node == node => {
                fuse.effects -= 1;
                true
            }
            Some(_) | None => true,
        }
    }

    /// Asks; what comes of it is told as [`Came::Done`], within the time.
    pub fn ask(&mut self, node: Node, ask: Ask, within: Micros) -> u64 {
        let call = self.next_call;
        self.next_call += 1;
        if !self.lives(node) {
            return call;
        }
        let life = self.links[node].life;
        if self.links[node].is_connected {
            self.calls.insert(Asker { node, call });
            self.at(self.now + within, Due::CallEnds { node, life, call });
            self.up(node, Up::Call { call, ask });
        } else {
            let came = Came::Done { call, result: Err(Failure::NotSent) };
            self.at(self.now + within.min(50 * MS), Due::Came { node, life, came });
        }
        call
    }

    /// Publishes without an answer.
    pub fn tell(&mut self, node: Node, message: Message) {
        self.effect(node, Up::Tell(message));
    }

    /// Answers a question.
    pub fn answer(&mut self, node: Node, to: Asker, payload: impl Into<Bytes>) {
        self.effect(node, Up::Answer { to, payload: payload.into() });
    }

    /// Listens; kept over reconnects until the process ends.
    pub fn subscribe(&mut self, node: Node, pattern: &str) {
        if self.lives(node) {
            self.links[node].patterns.push(pattern.to_owned());
            self.effect(node, Up::Subscribe { pattern: pattern.to_owned() });
        }
    }

    /// Listens no more.
    pub fn unsubscribe(&mut self, node: Node, pattern: &str) {
        self.links[node].patterns.retain(|other| other != pattern);
        self.effect(node, Up::Unsubscribe { pattern: pattern.to_owned() });
    }

    /// Makes a consumer; its number.
    pub fn consume(&mut self, node: Node, stream: &'static str, after: u64, filters: &[String]) -> u64 {
        let consumer = self.next_call;
        self.next_call += 1;
        self.effect(node, Up::Consume(Consume { consumer, stream, after, filters: filters.to_vec() }));
        consumer
    }

    /// Ends a consumer.
    pub fn stop(&mut self, node: Node, consumer: u64) {
        self.effect(node, Up::Stop { consumer });
    }

    /// Wakes a node after a while.
    pub fn wake(&mut self, node: Node, after: Micros, timer: Timer) {
        let life = self.links[node].life;
        self.at(self.now + after, Due::Came { node, life, came: Came::Timer(timer) });
    }

    /// Whether a node's connection stands, as far as it knows.
    pub fn is_connected(&self, node: Node) -> bool {
        self.links[node].is_connected
    }

    /// Whether a node's process runs.
    pub fn is_up(&self, node: Node) -> bool {
        self.links[node].is_up
    }

    fn effect(&mut self, node: Node, packet: Up) {
        if self.links[node].is_connected && self.lives(node) {
            self.up(node, packet);
        }
    }

    fn up(&mut self, node: Node, packet: Up) {
        let can_be_lost = matches!(packet, Up::Call { .. } | Up::Tell(_) | Up::Answer { .. });
        for when in self.passage(node, Direction::Up, can_be_lost) {
            let epoch = self.links[node].epoch;
            self.at(when, Due::Up { node, epoch, packet: packet.clone() });
        }
    }

    pub(super) fn down(&mut self, node: Node, packet: Down) {
        let can_be_lost = !matches!(packet, Down::Entry { .. });
        for when in self.passage(node, Direction::Down, can_be_lost) {
            let epoch = self.links[node].epoch;
            self.at(when, Due::Down { node, epoch, packet: packet.clone() });
        }
    }

    fn passage(&mut self, node: Node, direction: Direction, can_be_lost: bool) -> Vec<Micros> {
        self.links[node].passage(&mut self.random, self.now, direction, can_be_lost)
    }

    /// The next thing that happens, until a time; what a node is told goes to `tell`.
    pub fn turn(&mut self, until: Micros) -> Option<(Turn, Option<Came>)> {
        loop {
            let (&(when, order), _) = self.queue.first_key_value()?;
            if when > until {
                self.now = until;
                return None;
            }
            let due = self.queue.remove(&(when, order))?;
            self.now = when;
            if let Some(turned) = self.happen(due) {
                return Some(turned);
            }
        }
    }

    fn happen(&mut self, due: Due) -> Option<(Turn, Option<Came>)> {
        match due {
            Due::Up { node, epoch, packet } => {
                if self.server.is_up && self.links[node].is_heard(epoch) {
                    server::take(self, node, packet);
                }
                None
            }
            Due::Down { node, epoch, packet } => {
                let link = &self.links[node];
                if !link.is_connected || link.epoch != epoch || !link.is_up {
                    return None;
                }
                let came = match packet {
                    Down::Reply { call, result } => {
                        return self.replied(node, call, result);
                    }
                    Down::Message { message, asker } => Came::Heard { message, asker },
                    Down::Entry { consumer, entry } => Came::Entry { consumer, entry },
                };
                self.told(node, came)
            }
            Due::Came { node, life, came } => {
                let link = &self.links[node];
                if !link.is_up || link.life != life {
                    return None;
                }
                if matches!(came, Came::Cut) {
                    if link.is_paused(self.now) {
                        let until = link.paused_until;
                        self.at(until, Due::Came { node, life, came });
                        return None;
                    }
                    if !link.is_connected {
                        return None;
                    }
                    self.is_cut(node);
                }
                self.told(node, came)
            }
            Due::CallEnds { node, life, call } => {
                if self.links[node].life != life {
                    return None;
                }
                self.replied(node, call, Err(Failure::TimedOut))
            }
            Due::Connect { node } => self.connect(node),
            Due::Boot { node } => self.boot(node),
            Due::Resume { node } => {
                self.resume(node);
                None
            }
            Due::Fault(number) => Some((Turn::Fault(number), None)),
            Due::ServerBack => {
                self.server.is_up = true;
                None
            }
            Due::LeaderBack => {
                self.server.is_led = true;
                None
            }
        }
    }

    fn replied(
        &mut self,
        node: Node,
        call: u64,
        result: Result<super::packet::Reply, Failure>,
    ) -> Option<(Turn, Option<Came>)> {
        // Only once: what comes after the time-out is nobody's any more.
        self.calls.remove(&Asker { node, call }).then_some(())?;
        self.told(node, Came::Done { call, result })
    }

    fn told(&mut self, node: Node, came: Came) -> Option<(Turn, Option<Came>)> {
        if self.links[node].is_paused(self.now) {
            let until = self.links[node].paused_until;
            let life = self.links[node].life;
            self.at(until, Due::Came { node, life, came });
            return None;
        }
        Some((Turn::Step(node), Some(came)))
    }

    fn connect(&mut self, node: Node) -> Option<(Turn, Option<Came>)> {
        let now = self.now;
        let link = &self.links[node];
        if link.is_connected || !link.is_up {
            return None;
        }
        if !self.server.is_up || link.is_blocked(now) {
            self.at(now + RECONNECT, Due::Connect { node });
            return None;
        }
        self.server.forget(node);
        let patterns = self.links[node].connect();
        for pattern in patterns {
            self.effect(node, Up::Subscribe { pattern });
        }
        self.told(node, Came::Connected)
    }

    fn boot(&mut self, node: Node) -> Option<(Turn, Option<Came>)> {
        if self.links[node].is_up {
            return None;
        }
        self.links[node].boot();
        self.at(self.now + 5 * MS, Due::Connect { node });
        Some((Turn::Step(node), Some(Came::Booted)))
    }

    fn resume(&mut self, node: Node) {
        self.links[node].paused_until = 0;
    }

    // Faults.

    /// A fault is due then.
    pub fn plan_fault(&mut self, when: Micros, number: usize) {
        self.at(when, Due::Fault(number));
    }

    /// A process is started then.
    pub fn plan_boot(&mut self, when: Micros, node: Node) {
        self.at(when, Due::Boot { node });
    }

    /// A process dies now and is started again later.
    pub fn crash(&mut self, node: Node, down_for: Micros) {
        if !self.links[node].is_up {
            return;
        }
        self.note(node, || format!("dies, for {} ms", down_for / MS));
        self.links[node].die();
        self.server.forget(node);
        self.calls.retain(|asker| asker.node != node);
        self.judge.died(node);
        self.at(self.now + down_for, Due::Boot { node });
    }

    /// A process will die after so many of its next effects.
    pub fn crash_after(&mut self, node: Node, effects: u64, down_for: Micros) {
        self.fuse = Some(Fuse { node, effects, down_for });
    }

    /// A process stands still.
    pub fn pause(&mut self, node: Node, length: Micros) {
        self.note(node, || format!("stands still for {} ms", length / MS));
        self.links[node].paused_until = self.now + length;
        self.at(self.now + length, Due::Resume { node });
    }

    /// A connection loses, copies and delays for a while.
    pub fn set_weather(&mut self, node: Node, weather: Weather) {
        self.note(node, || format!("{weather:?}"));
        self.links[node].weather = weather;
    }

    /// Nothing passes one way for a while; after some of it the connection is given up.
    pub fn block(&mut self, node: Node, direction: Direction, length: Micros) {
        self.note(node, || format!("cannot be passed {direction:?} for {} ms", length / MS));
        self.links[node].block(direction, self.now + length);
        if length > 3 * SECOND {
            self.cut_later(node, 2 * SECOND);
        }
    }

    /// A connection is cut now.
    pub fn cut(&mut self, node: Node) {
        self.cut_later(node, 0);
    }

    fn cut_later(&mut self, node: Node, after: Micros) {
        let life = self.links[node].life;
        self.at(self.now + after, Due::Came { node, life, came: Came::Cut });
    }

    /// The client side of a cut: every open question is answered by it.
    fn is_cut(&mut self, node: Node) {
        if !self.links[node].is_connected {
            return;
        }
        self.note(node, || "is cut off".to_owned());
        self.links[node].is_connected = false;
        let open: Vec<Asker> = self.calls.iter().filter(|asker| asker.node == node).copied().collect();
        let life = self.links[node].life;
        for asker in open {
            self.calls.remove(&asker);
            let came = Came::Done { call: asker.call, result: Err(Failure::Cut) };
            self.at(self.now, Due::Came { node, life, came });
        }
        let wait = self.random.between(1, RECONNECT);
        self.at(self.now + wait, Due::Connect { node });
    }

    /// The server dies and comes back on its disk.
    pub fn restart_server(&mut self, down_for: Micros) {
        self.note(usize::MAX, || format!("dies, for {} ms", down_for / MS));
        self.server.die();
        for node in 0..self.links.len() {
            self.links[node].end_of_server();
            self.cut(node);
        }
        self.at(self.now + down_for, Due::ServerBack);
    }

    /// The streams have no leader for a while; consumers are gone.
    pub fn change_leader(&mut self, length: Micros) {
        self.note(usize::MAX, || format!("has no leader for {} ms", length / MS));
        self.server.is_led = false;
        for (node, consumer) in self.server.end_consumers() {
            let life = self.links[node].life;
            self.at(self.now + SILENCE, Due::Came { node, life, came: Came::Silent { consumer } });
        }
        self.at(self.now + length, Due::LeaderBack);
    }

    pub(super) fn silence(&mut self, node: Node, consumer: u64) {
        let life = self.links[node].life;
        self.at(self.now + SILENCE, Due::Came { node, life, came: Came::Silent { consumer } });
    }

    /// Every fault of the network ends; what is dead is started.
    pub fn heal(&mut self) {
        self.note(usize::MAX, || "everything heals".to_owned());
        self.is_healed = true;
        self.fuse = None;
        let now = self.now;
        for node in 0..self.links.len() {
            self.links[node].heal();
            self.at(now, Due::Boot { node });
            self.at(now, Due::Connect { node });
        }
        self.server.heal();
    }
}
