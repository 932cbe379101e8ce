//! The server: the model of JetStream and of core NATS behind a connection.

use super::super::packet::{Ask, Asker, Consume, Down, Failure, Node, Reply, Up};
use super::Net;
use crate::core::Subscriptions;
use crate::jetstream::{Entry, JetStream, Message, PublishFailure, Refusal, Replicas, code};
use crate::random::Random;
use std::collections::BTreeMap;

/// The server.
pub struct Server {
    pub jetstream: JetStream,
    pub is_up: bool,
    /// Whether the streams have a leader.
    pub is_led: bool,
    subscriptions: Subscriptions<Node>,
    consumers: BTreeMap<(Node, u64), Consumer>,
    random: Random,
    /// How many of a thousand acknowledgements are lost with a change of the leader.
    pub lost_acks: u64,
}

#[derive(Clone, Debug)]
struct Consumer {
    stream: &'static str,
    created: u64,
    after: u64,
    count: u64,
    filters: Vec<String>,
}

impl Server {
    pub fn new(replicas: Replicas, random: Random) -> Self {
        Self {
            jetstream: JetStream::new(replicas),
            is_up: true,
            is_led: true,
            subscriptions: Subscriptions::default(),
            consumers: BTreeMap::new(),
            random,
            lost_acks: 0,
        }
    }

    pub fn forget(&mut self, node: Node) {
        self.subscriptions.remove(&node);
        self.consumers.retain(|(owner, _), _| *owner != node);
    }

    pub fn die(&mut self) {
        self.is_up = false;
        self.subscriptions = Subscriptions::default();
        self.consumers.clear();
    }

    pub fn end_consumers(&mut self) -> Vec<(Node, u64)> {
        std::mem::take(&mut self.consumers).into_keys().collect()
    }

    pub fn heal(&mut self) {
        self.is_up = true;
        self.is_led = true;
        self.lost_acks = 0;
    }
}

/// A packet arrives.
pub(super) fn take(net: &mut Net, node: Node, packet: Up) {
    match packet {
        Up::Call { call, ask } => asked(net, Asker { node, call }, ask),
        Up::Tell(message) => drop(spread(net, &message, None)),
        Up::Answer { to, payload } => {
            net.down(to.node, Down::Reply { call: to.call, result: Ok(Reply::Answer(payload)) });
        }
        Up::Subscribe { pattern } => net.server.subscriptions.add(node, &pattern, None),
        Up::Unsubscribe { pattern } => net.server.subscriptions.remove_one(&node, &pattern),
        Up::Consume(consume) => begin(net, node, consume),
        Up::Stop { consumer } => drop(net.server.consumers.remove(&(node, consumer))),
    }
}

fn asked(net: &mut Net, asker: Asker, ask: Ask) {
    if let Ask::Request(message) = &ask {
        if spread(net, message, Some(asker)) == 0 {
            reply(net, asker, Err(Failure::NoResponders));
        }
        return;
    }
    if !net.server.is_led {
        return leaderless(net, asker);
    }
    let answer = match ask {
        Ask::Publish(message) => return publish(net, asker, &message),
        Ask::Read { stream, sequence } => net
            .server
            .jetstream
            .stream(stream)
            .map(|stream| Reply::Found(stream.read(sequence).map(|message| (sequence, message.clone())))),
        Ask::ReadLast { stream, subject } => net.server.jetstream.stream(stream).map(|stream| {
            Reply::Found(stream.read_last(&subject).map(|(sequence, message)| (sequence, message.clone())))
        }),
        Ask::State { stream } => {
            net.server.jetstream.stream(stream).map(|stream| Reply::State(stream.state()))
        }
        Ask::Purge { stream, before } => {
            let purged =
                net.server.jetstream.stream_mut(stream).and_then(|stream| stream.purge_before(before));
            purged.map(|_| Reply::Purged)
        }
        Ask::Request(_) => unreachable!("requests are spread"),
    };
    reply(net, asker, answer.map_err(Failure::Refused));
}

/// Without a leader there is no answer, or the server says that nobody is there, or that it is not available.
fn leaderless(net: &mut Net, asker: Asker) {
    match net.server.random.below(3) {
        0 => {}
        1 => reply(net, asker, Err(Failure::NoResponders)),
        _ => reply(net, asker, Err(Failure::Refused(Refusal::of(code::UNAVAILABLE)))),
    }
}

fn publish(net: &mut Net, asker: Asker, message: &Message) {
    let published = net.server.jetstream.publish(message, net.now / super::MS);
    match published {
        Ok(ack) => {
            if !ack.duplicate {
                let name = asker.node;
                if !message.subject.starts_with("$KV.KING_LEASE") {
                    net.note(name, || format!("stored {} at {}", message.subject, ack.sequence));
                }
                let Net { judge, server, now, .. } = net;
                judge.stored(asker.node, message, ack.sequence, &server.jetstream, *now);
                push(net);
            }
            if !net.server.random.chance(net.server.lost_acks) {
                reply(net, asker, Ok(Reply::Ack(ack)));
            }
        }
        Err(PublishFailure::NoResponders) => reply(net, asker, Err(Failure::NoResponders)),
        Err(PublishFailure::Refused(refusal)) => reply(net, asker, Err(Failure::Refused(refusal))),
        Err(PublishFailure::Unanswered) => {}
    }
}

fn reply(net: &mut Net, asker: Asker, result: Result<Reply, Failure>) {
    net.down(asker.node, Down::Reply { call: asker.call, result });
}

/// Core: to everybody who listens; how many those are.
fn spread(net: &mut Net, message: &Message, asker: Option<Asker>) -> usize {
    let receivers = net.server.subscriptions.receivers(&message.subject, net.now);
    for receiver in &receivers {
        net.down(*receiver, Down::Message { message: message.clone(), asker });
    }
    receivers.len()
}

fn begin(net: &mut Net, node: Node, consume: Consume) {
    let Consume { consumer, stream, after, filters } = consume;
    let found = net.server.jetstream.stream(stream).map(|stream| stream.state().created);
    match found {
        Ok(created) if net.server.is_led => {
            let made = Consumer { stream, created, after, count: 0, filters };
            net.server.consumers.insert((node, consumer), made);
            push(net);
        }
        Ok(_) | Err(_) => net.silence(node, consumer),
    }
}

/// Every consumer gets what it has not got.
fn push(net: &mut Net) {
    let mut entries: Vec<(Node, u64, Entry)> = Vec::new();
    for ((node, number), consumer) in &mut net.server.consumers {
        let Ok(stream) = net.server.jetstream.stream(consumer.stream) else { continue };
        if stream.state().created != consumer.created {
            continue;
        }
        let last = stream.state().last;
        while let Some((sequence, message)) = stream.next_after(consumer.after, &consumer.filters) {
            (consumer.after, consumer.count) = (sequence, consumer.count + 1);
            let entry =
                Entry { sequence, count: consumer.count, pending: last - sequence, message: message.clone() };
            entries.push((*node, *number, entry));
        }
    }
    for (node, consumer, entry) in entries {
        net.down(node, Down::Entry { consumer, entry });
    }
}
