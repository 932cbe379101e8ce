//! The Alerter: the real incidents and the real courier, with a mail server that is not always there.

use super::king::BEGINNING;
use super::net::{MS, Micros, Net, SECOND};
use super::packet::{Ask, Came, Failure, Node, Reply, Timer};
use super::tail::{Read, Tail};
use crate::coverage::Sight;
use crate::jetstream::{Entry, Message};
use alerter::courier::{Action, Answered, Courier, Taken};
use alerter::incidents::Incidents;
use bus::tail::Holes;
use events::command::{AlertCommand, PlanMail, RecordMail};
use events::event::AlertEvent;
use events::subject::{self, HEADER_ACTOR, HEADER_ID, LOG_STREAM};
use events::{Answer, Commit, Event, Fact, Order, Outcome, RefusalCode, Timestamp, wire};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

const TICK: Micros = 250 * MS;
/// How long the King may take for one command.
const KING_PATIENCE: Micros = 5 * SECOND;
/// How long a crashed instance must stay healthy until its incident ends.
const RESOLVE_AFTER_MS: u64 = 5000;
const MAIL_PATIENCE_MS: u64 = 600_000;

/// The Alerter's host, and the process while it runs.
pub struct Alerter {
    node: Node,
    /// What the mail server has taken.
    sent: BTreeSet<Uuid>,
    life: Option<Life>,
}

struct Life {
    tail: Tail,
    incidents: Incidents,
    courier: Courier,
    is_live: bool,
    commands: BTreeMap<u64, Errand>,
    sendings: BTreeMap<u64, (Uuid, Vec<String>)>,
    next: u64,
    last: u64,
}

#[derive(Clone, Copy)]
enum Errand {
    Plan(Uuid),
    Record(Uuid),
}

impl Alerter {
    pub fn new(node: Node) -> Self {
        Self { node, sent: BTreeSet::new(), life: None }
    }

    pub fn died(&mut self) {
        self.life = None;
    }

    /// Whether every mail is done, as of an event.
    pub fn is_quiet(&self, last: u64) -> bool {
        self.life.as_ref().is_some_and(|life| life.courier.is_empty() && life.last >= last)
    }

    pub fn came(&mut self, net: &mut Net, came: Came) {
        match came {
            Came::Booted => self.boot(net),
            Came::Connected | Came::Heard { .. } => {}
            Came::Cut => self.with(|life| life.tail.cut(net)),
            Came::Done { call, result } => self.done(net, call, &result),
            Came::Entry { consumer, entry } => self.entry(net, consumer, entry),
            Came::Silent { consumer } => self.with(|life| life.tail.silent(net, consumer)),
            Came::Timer(Timer::Reopen) => self.with(|life| life.tail.reopened(net)),
            Came::Timer(Timer::Tick) => {
                net.wake(self.node, TICK, Timer::Tick);
                let now = Timestamp(BEGINNING + net.ms());
                self.with(|life| life.tick(now));
            }
            Came::Timer(Timer::Ready(number)) => self.posted(net, number),
            Came::Timer(Timer::Beat | Timer::Lease | Timer::Again(_) | Timer::Look) => {}
        }
        self.send_out(net);
    }

    fn with(&mut self, act: impl FnOnce(&mut Life)) {
        if let Some(life) = &mut self.life {
            act(life);
        }
    }

    fn boot(&mut self, net: &mut Net) {
        net.wake(self.node, TICK, Timer::Tick);
        self.life = Some(Life {
            tail: Tail::open(net, self.node, LOG_STREAM, Vec::new(), Holes::Forbidden, 0),
            incidents: Incidents::new("sim", RESOLVE_AFTER_MS, RESOLVE_AFTER_MS),
            courier: Courier::new(vec!["ops@example.org".to_owned()], MAIL_PATIENCE_MS),
            is_live: false,
            commands: BTreeMap::new(),
            sendings: BTreeMap::new(),
            next: 0,
            last: 0,
        });
    }

    fn entry(&mut self, net: &mut Net, consumer: u64, entry: Entry) {
        let now = Timestamp(BEGINNING + net.ms());
        let Some(life) = &mut self.life else { return };
        let Read::Next(entry) = life.tail.entry(net, consumer, entry) else { return };
        let Ok(commit) = wire::decode::<Commit>(&entry.message.payload) else { return };
        commit.events.iter().for_each(|event| life.event(event));
        life.last = commit.last();
        if entry.pending == 0 && !life.is_live {
            life.is_live = true;
            life.tick(now);
            life.courier.caught_up(now, &life.incidents.open_mails());
        }
    }

    fn send_out(&mut self, net: &mut Net) {
        let node = self.node;
        let Some(life) = self.life.as_mut().filter(|life| life.is_live) else { return };
        for action in life.courier.next(net.ms()) {
            match action {
                Action::Plan(notice, refusals) => {
                    let mail = notice.mail;
                    let id = match refusals {
                        0 => format!("mail-plan-{mail}"),
                        refusals => format!("mail-plan-{mail}-{refusals}"),
                    };
                    let plan = PlanMail {
                        mail,
                        incident: notice.incident,
                        phase: notice.phase,
                        subject: notice.subject,
                        body: notice.body,
                    };
                    let call = command(net, node, &id, AlertCommand::Plan(plan));
                    life.commands.insert(call, Errand::Plan(mail));
                }
                Action::Record(mail, result) => {
                    let id = format!("mail-sent-{mail}");
                    let record = AlertCommand::Record(RecordMail { mail, result });
                    let call = command(net, node, &id, record);
                    life.commands.insert(call, Errand::Record(mail));
                }
                Action::Send(letter, to) => {
                    net.judge.mailed(letter.mail);
                    life.next += 1;
                    life.sendings.insert(life.next, (letter.mail, to));
                    let wait = net.random.between(5 * MS, 100 * MS);
                    net.wake(node, wait, Timer::Ready(life.next));
                }
            }
        }
    }

    /// The mail server took it, or not now, or nobody knows.
    fn posted(&mut self, net: &mut Net, number: u64) {
        let fate = if net.is_healed { 1000 } else { net.random.below(1000) };
        let Some(life) = &mut self.life else { return };
        let Some((mail, to)) = life.sendings.remove(&number) else { return };
        let taken = match fate {
            0..50 => Taken::Later { reason: "not now".to_owned() },
            50..100 => Taken::Unknown { reason: "the line went dead".to_owned() },
            _ => Taken::Yes { via: "sim".to_owned() },
        };
        if !matches!(taken, Taken::Later { .. }) && !self.sent.insert(mail) {
            net.saw(Sight::MailAgain);
        }
        let taken = to.into_iter().map(|recipient| (recipient, taken.clone())).collect();
        life.courier.sent(mail, taken, net.ms());
    }

    fn done(&mut self, net: &mut Net, call: u64, result: &Result<Reply, Failure>) {
        let now = net.ms();
        let Some(life) = &mut self.life else { return };
        if let Some(errand) = life.commands.remove(&call) {
            let answered = answered(result);
            match errand {
                Errand::Plan(mail) => life.courier.plan_answered(mail, answered, now),
                Errand::Record(mail) => life.courier.record_answered(mail, answered, now),
            }
            return;
        }
        life.tail.done(net, call, result);
    }
}

impl Life {
    fn event(&mut self, event: &Event) {
        for notice in self.incidents.apply(event) {
            self.courier.want(notice);
        }
        if let Fact::Alert(alert) = &event.fact {
            match alert {
                AlertEvent::Planned(planned) => self.courier.planned(planned, event.at),
                AlertEvent::Sent(_) | AlertEvent::Failed(_) => self.courier.settled(alert.mail()),
            }
        }
    }

    fn tick(&mut self, now: Timestamp) {
        if self.is_live {
            for notice in self.incidents.tick(now) {
                self.courier.want(notice);
            }
        }
    }
}

fn command(net: &mut Net, node: Node, id: &str, order: AlertCommand) -> u64 {
    let order = Order::Alert(order);
    let headers = [(HEADER_ID, id), (HEADER_ACTOR, "alerter")];
    net.judge.sent(&id.parse().expect("the id of a mail's command is short"));
    let message = Message::new(subject::command(order.kind()), &headers, wire::encode_order(&order));
    net.ask(node, Ask::Request(message), KING_PATIENCE)
}

fn answered(result: &Result<Reply, Failure>) -> Answered {
    let Ok(Reply::Answer(bytes)) = result else { return Answered::Unanswered };
    match wire::decode::<Answer>(bytes).map(|answer| answer.outcome) {
        Ok(Outcome::Accepted { .. }) => Answered::Done,
        Ok(Outcome::Refused { refusal, .. }) => match refusal.code {
            RefusalCode::Unavailable => Answered::Unanswered,
            RefusalCode::LimitReached => Answered::Full,
            RefusalCode::Unreadable | RefusalCode::Invalid | RefusalCode::Unknown | RefusalCode::Conflict => {
                Answered::Refused
            }
        },
        Err(_) => Answered::Unanswered,
    }
}
