//! Who tries first: the real machine of the lease, with the key that it asks for.

use super::super::net::{MS, Net};
use super::super::packet::{Ask, Failure, Node, Reply, Timer};
use super::super::tail::REQUEST;
use crate::jetstream::{Message, code};
use events::KingId;
use king::lease::{Action, Lease, Machine, Observation, Settings, Stored};

const STREAM: &str = "KV_KING_LEASE";
const KEY: &str = "$KV.KING_LEASE.king";
/// How long a lease lasts: longer than in a real kingdom, so that a run is not made of renewals.
const LEASE_MS: u64 = 1200;
const EXPECTED_REVISION: &str = "Nats-Expected-Last-Subject-Sequence";

/// The machine and its questions.
pub struct Helm {
    node: Node,
    machine: Machine,
    asked: Option<u64>,
    wakes_at: Option<u64>,
}

impl Helm {
    /// A King that begins to follow the log.
    pub fn new(net: &mut Net, node: Node, me: KingId, epoch: u64) -> Self {
        let seed = net.random.next();
        let settings = Settings { me, forerunner: None, lease_ms: LEASE_MS, seed };
        Self { node, machine: Machine::new(settings, epoch, net.ms()), asked: None, wakes_at: None }
    }

    /// Takes an observation; what is left to do beside reading and writing the key.
    pub fn observe(&mut self, net: &mut Net, observation: Observation) -> Vec<Action> {
        let mut left = Vec::new();
        for action in self.machine.observe(observation, net.ms()) {
            match action {
                Action::Read => {
                    let ask = Ask::ReadLast { stream: STREAM, subject: KEY.to_owned() };
                    self.asked = Some(net.ask(self.node, ask, REQUEST));
                }
                Action::Write { lease, revision } => {
                    let revision = revision.to_string();
                    let message = Message::new(KEY, &[(EXPECTED_REVISION, &revision)], lease.to_string());
                    self.asked = Some(net.ask(self.node, Ask::Publish(message), REQUEST));
                }
                Action::Elect
                | Action::Reign
                | Action::Drain
                | Action::Depose
                | Action::Follow
                | Action::Call { .. }
                | Action::End => left.push(action),
            }
        }
        self.set_alarm(net);
        left
    }

    fn set_alarm(&mut self, net: &mut Net) {
        if let Some(at) = self.machine.wakes_at()
            && self.wakes_at.is_none_or(|set| at < set)
        {
            self.wakes_at = Some(at);
            net.wake(self.node, at.saturating_sub(net.ms()) * MS + 1, Timer::Lease);
        }
    }

    /// It is time.
    pub fn woken(&mut self, net: &mut Net) -> Vec<Action> {
        self.wakes_at = None;
        self.observe(net, Observation::Time)
    }

    pub fn asked(&self, call: u64) -> bool {
        self.asked == Some(call)
    }

    /// The key has answered, or not.
    pub fn done(&mut self, net: &mut Net, result: &Result<Reply, Failure>) -> Vec<Action> {
        self.asked = None;
        let observation = match result {
            Ok(Reply::Found(found)) => Observation::Read(found.as_ref().and_then(stored)),
            Ok(Reply::Ack(ack)) => Observation::Written { revision: ack.sequence },
            Err(Failure::Refused(refusal)) if refusal.code == code::WRONG_LAST_SEQUENCE => {
                Observation::Overtaken
            }
            Ok(_) | Err(_) => Observation::Unreachable,
        };
        self.observe(net, observation)
    }
}

fn stored((revision, message): &(u64, Message)) -> Option<Stored> {
    let text = std::str::from_utf8(&message.payload).ok()?;
    let lease: Lease = text.parse().ok()?;
    Some(Stored { revision: *revision, lease })
}
