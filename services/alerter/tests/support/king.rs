//! Somebody who plays the King: appends to the log what a test says, and answers the Alerter's commands.

use super::PATIENCE;
use bus::log::Log;
use bus::{Bus, Message, Subscription};
use events::command::alert::MailResult;
use events::command::{AlertCommand, Order};
use events::event::{AlertEvent, MailFailed, MailPlanned, MailSent};
use events::wire::{Format, encode};
use events::{
    Actor, Answer, Cause, Commit, Digest, DomainName, Event, EventNumber, Fact, Outcome, Timestamp,
};
use std::collections::BTreeMap;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

enum Wish {
    Append(Vec<Fact>, Timestamp),
    TakeRecords(bool),
}

pub struct King {
    orders: mpsc::Sender<Wish>,
    log: watch::Receiver<Vec<Event>>,
}

impl King {
    pub async fn start(bus: &Bus) -> Self {
        let commands = bus.subscribe("king.cmd.alert.*").await.expect("subscribed");
        let (orders, inbox) = mpsc::channel(16);
        let (tell, log) = watch::channel(Vec::new());
        let play = Play {
            bus: bus.clone(),
            log: Log::open(bus).await.expect("provisioned"),
            sequence: 0,
            previous: Digest::ZERO,
            outcomes: BTreeMap::new(),
            takes_records: true,
            tell,
        };
        tokio::spawn(play.run(commands, inbox));
        Self { orders, log }
    }

    /// These things happen now.
    pub async fn commits(&self, facts: impl IntoIterator<Item = Fact>) {
        self.commits_at(facts, service::clock::now()).await;
    }

    pub async fn commits_at(&self, facts: impl IntoIterator<Item = Fact>, at: Timestamp) {
        let facts: Vec<_> = facts.into_iter().collect();
        self.orders.send(Wish::Append(facts, at)).await.expect("the King lives");
    }

    /// Whether records of mails are taken, or left without an answer.
    pub async fn takes_records(&self, takes: bool) {
        self.orders.send(Wish::TakeRecords(takes)).await.expect("the King lives");
    }

    /// The alert events of the log, as soon as there are so many.
    pub async fn alerts(&self, count: usize) -> Vec<AlertEvent> {
        let alerts = |events: &[Event]| -> Vec<AlertEvent> {
            let alert = |event: &Event| match &event.fact {
                Fact::Alert(alert) => Some(alert.clone()),
                _ => None,
            };
            events.iter().filter_map(alert).collect()
        };
        let mut log = self.log.clone();
        let enough = timeout(PATIENCE, log.wait_for(|events| alerts(events).len() >= count)).await;
        let found = alerts(&self.log.borrow());
        enough
            .unwrap_or_else(|_| panic!("{count} alert events were wanted; there are {found:?}"))
            .expect("lives");
        found
    }
}

struct Play {
    bus: Bus,
    log: Log,
    sequence: u64,
    previous: Digest,
    outcomes: BTreeMap<String, EventNumber>,
    takes_records: bool,
    tell: watch::Sender<Vec<Event>>,
}

impl Play {
    async fn run(mut self, mut commands: Subscription, mut orders: mpsc::Receiver<Wish>) {
        loop {
            tokio::select! {
                Some(message) = commands.next() => self.command(&message).await,
                order = orders.recv() => match order {
                    Some(Wish::Append(facts, at)) => drop(self.append(facts, at).await),
                    Some(Wish::TakeRecords(takes)) => self.takes_records = takes,
                    None => return,
                },
            }
        }
    }

    async fn command(&mut self, message: &Message) {
        let id = message.header("Nats-Msg-Id").expect("every command has an id").to_owned();
        assert_eq!(message.header("King-Actor"), Some("alerter"));
        let kind = message.subject.strip_prefix("king.cmd.").expect("a command");
        let order = Format::MessagePack.decode_order(kind, 1, &message.payload).expect("it can be read");
        let Order::Alert(order) = order else { panic!("the Alerter says only alerts") };
        if matches!(order, AlertCommand::Record(_)) && !self.takes_records {
            return;
        }
        let event = match self.outcomes.get(&id) {
            Some(event) => *event,
            None => self.append(vec![Fact::Alert(fact(order, &id))], service::clock::now()).await,
        };
        self.outcomes.insert(id.clone(), event);
        let id = Some(id.parse().expect("a command id"));
        let answer = Answer { id, outcome: Outcome::Accepted { event, release: None } };
        self.bus.answer(message, encode(&answer)).await.expect("connected");
    }

    async fn append(&mut self, facts: Vec<Fact>, at: Timestamp) -> EventNumber {
        let first = self.tell.borrow().len() as u64 + 1;
        let event = |(number, fact)| {
            let (actor, domain) = (Actor::king(), DomainName::default_domain());
            Event { id: number, at, actor, cause: Cause::Tick, domain, fact }
        };
        let events: Vec<_> = (first..).zip(facts).map(event).collect();
        let commit = Commit { epoch: 1, first, previous: self.previous, inbox: 0, events: events.clone() };
        let bytes = encode(&commit);
        self.previous = Digest::of(&bytes);
        self.sequence = self.log.append(bytes, self.sequence).await.expect("the only writer");
        self.tell.send_modify(|log| log.extend(events));
        first
    }
}

fn fact(order: AlertCommand, id: &str) -> AlertEvent {
    match order {
        AlertCommand::Plan(plan) => {
            assert_eq!(id, format!("mail-plan-{}", plan.mail));
            let (mail, incident, phase) = (plan.mail, plan.incident, plan.phase);
            MailPlanned { mail, incident, phase, subject: plan.subject, body: plan.body }.into()
        }
        AlertCommand::Record(record) => {
            assert_eq!(id, format!("mail-sent-{}", record.mail));
            match record.result {
                MailResult::Sent { via } => MailSent { mail: record.mail, via }.into(),
                MailResult::Failed { reason } => MailFailed { mail: record.mail, reason }.into(),
            }
        }
    }
}
