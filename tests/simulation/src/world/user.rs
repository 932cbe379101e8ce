//! Users: each sends commands, as requests or into the queue, again under the same id until it has an answer.

use super::net::{MS, Micros, Net, SECOND};
use super::packet::{Ask, Came, Failure, Node, Reply, Timer};
use crate::jetstream::Message;
use events::subject::{self, HEADER_ACTOR, HEADER_ID};
use events::{Answer, CommandId, Order, wire};
use std::collections::BTreeMap;

/// How long a user waits for an answer before it sends again.
const PATIENCE: Micros = 3 * SECOND;

/// How a command is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Request,
    /// Published to the inbox, with an acknowledgement that it is there.
    Queue,
}

/// A command that a user will send.
#[derive(Clone, Debug)]
pub struct Errand {
    pub at: Micros,
    pub way: Way,
    pub order: Order,
}

/// A user. It never dies: what it wants is on paper.
pub struct User {
    node: Node,
    name: String,
    errands: Vec<Errand>,
    open: BTreeMap<u64, usize>,
    done: Vec<bool>,
}

impl User {
    pub fn new(node: Node, name: &str, errands: Vec<Errand>) -> Self {
        let done = vec![false; errands.len()];
        Self { node, name: name.to_owned(), errands, open: BTreeMap::new(), done }
    }

    /// Whether every command is answered, or in the inbox.
    pub fn is_done(&self) -> bool {
        self.done.iter().all(|done| *done)
    }

    /// The commands that were sent.
    pub fn ids(&self) -> impl Iterator<Item = CommandId> {
        (0..self.errands.len()).map(|number| self.id(number))
    }

    fn id(&self, number: usize) -> CommandId {
        format!("{}-{number}", self.name).parse().expect("a short id")
    }

    /// Another command of the kind that it sent last.
    pub fn ask_once_more(&mut self, net: &mut Net) {
        let Some(last) = self.errands.last().cloned() else { return };
        self.errands.push(Errand { way: Way::Request, ..last });
        self.done.push(false);
        net.wake(self.node, SECOND, Timer::Ready(self.errands.len() as u64 - 1));
    }

    pub fn came(&mut self, net: &mut Net, came: Came) {
        match came {
            Came::Booted => {
                for (number, errand) in self.errands.iter().enumerate() {
                    let wait = errand.at.saturating_sub(net.now).max(MS);
                    net.wake(self.node, wait, Timer::Ready(number as u64));
                }
            }
            Came::Timer(Timer::Ready(number)) => {
                self.send(net, usize::try_from(number).expect("a small number"));
            }
            Came::Done { call, result } => self.answered(net, call, &result),
            Came::Connected
            | Came::Cut
            | Came::Heard { .. }
            | Came::Entry { .. }
            | Came::Silent { .. }
            | Came::Timer(_) => {}
        }
    }

    fn send(&mut self, net: &mut Net, number: usize) {
        if self.done[number] {
            return;
        }
        let (id, errand) = (self.id(number), &self.errands[number]);
        net.judge.sent(&id);
        let kind = errand.order.kind();
        net.note(self.node, || format!("sends {id} {kind}"));
        let headers = [(HEADER_ID, id.as_str()), (HEADER_ACTOR, self.name.as_str())];
        let payload = wire::encode_order(&errand.order);
        let call = match errand.way {
            Way::Request => {
                let message = Message::new(subject::command(kind), &headers, payload);
                net.ask(self.node, Ask::Request(message), PATIENCE)
            }
            Way::Queue => {
                let message = Message::new(subject::queue(kind), &headers, payload);
                net.ask(self.node, Ask::Publish(message), SECOND)
            }
        };
        self.open.insert(call, number);
    }

    fn answered(&mut self, net: &mut Net, call: u64, result: &Result<Reply, Failure>) {
        let Some(number) = self.open.remove(&call) else { return };
        let is_done = match result {
            Ok(Reply::Answer(bytes)) => match wire::decode::<Answer>(bytes) {
                Ok(answer) => {
                    net.judge.heard(&self.id(number), &answer.outcome);
                    true
                }
                Err(_) => false,
            },
            Ok(Reply::Ack(_)) => true,
            Ok(_) | Err(_) => false,
        };
        if is_done {
            self.done[number] = true;
        } else {
            let wait = net.random.between(50 * MS, 500 * MS);
            net.wake(self.node, wait, Timer::Ready(number as u64));
        }
    }
}
