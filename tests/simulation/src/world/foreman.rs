//! A Foreman: the real relay and the real watch, with its own reports.

use super::king::BEGINNING;
use super::net::{MS, Micros, Net, SECOND};
use super::packet::{Ask, Asker, Came, Failure, Node, Reply, Timer};
use super::store::{Disk, Numbers};
use super::watch::Watch as View;
use crate::coverage::Sight;
use crate::jetstream::Message;
use events::answer::ReportAnswer;
use events::report::{News, ServantNews};
use events::view::{Beat, Domain, Stamped};
use events::{DomainName, Report, ReportId, Timestamp, subject, wire};
use foreman::relay::{Action, Relay, Sender, Ticket};
use foreman::watch::{Advice, Watch};
use std::collections::BTreeMap;
use uuid::Uuid;

const TICK: Micros = 200 * MS;
/// How long the King may take for one batch.
const KING_PATIENCE: Micros = 2 * SECOND;
/// After how much silence a servant counts as lost.
const LOST_AFTER_MS: u64 = 3000;

/// A Foreman's host, and the process while it runs.
pub struct Foreman {
    node: Node,
    id: Uuid,
    domain: DomainName,
    numbers: Numbers,
    life: Option<Life>,
}

struct Life {
    watch: Watch,
    relay: Relay,
    view: View,
    requests: BTreeMap<Ticket, Option<Asker>>,
    tickets: u64,
    asking: Option<(u64, u64)>,
    /// News of its own, the newest of each servant, and the request on its way with those it is about.
    news: Vec<ServantNews>,
    told: Option<(Ticket, Vec<ServantNews>)>,
    batches: u64,
}

impl Foreman {
    pub fn new(node: Node, id: Uuid, domain: DomainName) -> Self {
        Self { node, id, domain, numbers: Numbers::default(), life: None }
    }

    pub fn died(&mut self, net: &mut Net) {
        if self.life.take().is_some() {
            self.numbers.crashed(&mut net.random);
        }
    }

    /// Whether nothing waits here.
    pub fn is_quiet(&self) -> bool {
        self.life
            .as_ref()
            .is_some_and(|life| life.requests.is_empty() && life.news.is_empty() && life.told.is_none())
    }

    pub fn came(&mut self, net: &mut Net, came: Came) {
        match came {
            Came::Booted => self.boot(net),
            Came::Connected => {}
            Came::Cut => self.with(|life| life.view.cut(net)),
            Came::Done { call, result } => self.done(net, call, &result),
            Came::Heard { message, asker } => self.heard(net, &message, asker),
            Came::Entry { consumer, entry } => {
                let view = self.life.as_mut().and_then(|life| life.view.entry(net, consumer, entry));
                self.view(net, view);
            }
            Came::Silent { consumer } => self.with(|life| life.view.silent(net, consumer)),
            Came::Timer(Timer::Tick) => self.tick(net),
            Came::Timer(Timer::Reopen) => self.with(|life| life.view.reopened(net)),
            Came::Timer(Timer::Look) => self.with(|life| life.view.look(net)),
            Came::Timer(Timer::Beat | Timer::Lease | Timer::Again(_) | Timer::Ready(_)) => {}
        }
    }

    fn with(&mut self, act: impl FnOnce(&mut Life)) {
        if let Some(life) = &mut self.life {
            act(life);
        }
    }

    fn boot(&mut self, net: &mut Net) {
        self.numbers.open(net, self.id, BEGINNING + net.ms());
        // What was said in an earlier life is told anew if it is still true.
        self.numbers.forget_all();
        net.subscribe(self.node, &subject::ups(&self.domain));
        net.subscribe(self.node, &subject::beats(&self.domain));
        net.wake(self.node, TICK, Timer::Tick);
        self.life = Some(Life {
            watch: Watch::new(LOST_AFTER_MS, net.ms()),
            relay: Relay::new(self.domain.clone()),
            view: View::open(net, self.node, &subject::domain_key(&self.domain)),
            requests: BTreeMap::new(),
            tickets: 0,
            asking: None,
            news: Vec::new(),
            told: None,
            batches: 0,
        });
    }

    fn heard(&mut self, net: &mut Net, message: &Message, asker: Option<Asker>) {
        let now = net.ms();
        let Some(life) = &mut self.life else { return };
        if message.subject.starts_with("king.beat.") {
            let Ok(beat) = wire::decode::<Beat>(&message.payload) else { return };
            let advice = life.watch.beat(beat.servant, now);
            return self.heed(net, advice);
        }
        let Some(name) = subject::servant_of(&message.subject) else { return };
        let Ok(reports) = wire::decode::<Vec<Report>>(&message.payload) else { return };
        let ticket = life.ticket(asker);
        let actions = life.relay.received(ticket, &Sender::Servant(name), reports, now);
        self.perform(net, actions);
    }

    fn view(&mut self, net: &mut Net, bytes: Option<bytes::Bytes>) {
        let Some(bytes) = bytes else { return };
        let now = net.ms();
        if let (Some(life), Ok(stamped)) = (&mut self.life, wire::decode::<Stamped<Domain>>(&bytes)) {
            life.watch.view(&stamped.view, now);
        }
    }

    fn done(&mut self, net: &mut Net, call: u64, result: &Result<Reply, Failure>) {
        let now = net.ms();
        let Some(life) = &mut self.life else { return };
        if let Some((_, batch)) = life.asking.take_if(|(asked, _)| *asked == call) {
            let verdicts = match result {
                Ok(Reply::Answer(bytes)) => wire::decode::<ReportAnswer>(bytes).ok(),
                Ok(_) | Err(_) => None,
            };
            let actions = match verdicts {
                Some(answer) => life.relay.answered(batch, answer.verdicts, now),
                None => life.relay.failed(batch, now),
            };
            self.perform(net, actions);
            return self.tell(net);
        }
        let view = life.view.done(net, call, result);
        self.view(net, view);
    }

    fn tick(&mut self, net: &mut Net) {
        net.wake(self.node, TICK, Timer::Tick);
        let (now, hears) = (net.ms(), net.is_connected(self.node));
        let Some(life) = &mut self.life else { return };
        if hears {
            life.watch.connected(now);
        } else {
            life.watch.disconnected();
        }
        let advice = life.watch.tick(now);
        let actions = life.relay.tick(now);
        self.heed(net, advice);
        self.perform(net, actions);
        self.tell(net);
    }

    fn heed(&mut self, net: &mut Net, advice: Vec<Advice>) {
        for advice in advice {
            match advice {
                Advice::Report(news) => {
                    let what = format!("tells the King: {news:?}");
                    net.note(self.node, || what);
                    self.with(|life| {
                        life.news.retain(|other| about(other) != about(&news));
                        life.news.push(news);
                    });
                }
                Advice::Held(_) => {}
            }
        }
        self.tell(net);
    }

    /// Own reports, one request at a time, through the same relay.
    fn tell(&mut self, net: &mut Net) {
        let Some(life) = &mut self.life else { return };
        if life.told.is_some() || life.news.is_empty() {
            return;
        }
        let news = std::mem::take(&mut life.news);
        let ticket = life.ticket(None);
        life.told = Some((ticket, news.clone()));
        let mut reports = Vec::new();
        for news in news {
            let Some(number) = self.numbers.push(net, self.id, Vec::new()) else { continue };
            reports.push(Report {
                id: ReportId { sender: self.id, epoch: self.numbers.epoch(), number },
                at: Timestamp(BEGINNING + net.ms()),
                actor: format!("foreman:{}", self.domain).parse().expect("a domain's name is printable"),
                domain: self.domain.clone(),
                news: News::Servant(news),
            });
        }
        // Its disk does not fail here: what it says of its own it says again.
        self.numbers.sync(&mut Disk::default());
        let now = net.ms();
        if let Some(life) = &mut self.life {
            let actions = life.relay.received(ticket, &Sender::Foreman, reports, now);
            self.perform(net, actions);
        }
    }

    fn perform(&mut self, net: &mut Net, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Send { batch, reports } => self.send(net, batch, &reports),
                Action::Answer { ticket, verdicts } => {
                    self.end_of(ticket);
                    let asker = self.life.as_mut().and_then(|life| life.requests.remove(&ticket)).flatten();
                    if let Some(asker) = asker {
                        net.answer(self.node, asker, wire::encode(&ReportAnswer { verdicts }));
                    }
                }
                Action::Drop { ticket, .. } => {
                    for news in self.end_of(ticket) {
                        self.with(|life| life.watch.unsaid(about(&news)));
                    }
                    self.with(|life| {
                        life.requests.remove(&ticket);
                    });
                }
            }
        }
    }

    fn send(&mut self, net: &mut Net, batch: u64, reports: &Vec<Report>) {
        let message = Message::new(subject::report(&self.domain), &[], wire::encode(reports));
        let call = net.ask(self.node, Ask::Request(message), KING_PATIENCE);
        let is_again = self.life.as_ref().is_some_and(|life| life.batches == batch);
        if is_again {
            net.saw(Sight::RelayedAgain);
        }
        self.with(|life| (life.asking, life.batches) = (Some((call, batch)), batch));
    }

    /// An own request is over; what it was about.
    fn end_of(&mut self, ticket: Ticket) -> Vec<ServantNews> {
        let told = self.life.as_mut().and_then(|life| life.told.take_if(|(own, _)| *own == ticket));
        if told.is_some() {
            self.numbers.forget_all();
        }
        told.map(|(_, news)| news).unwrap_or_default()
    }
}

impl Life {
    fn ticket(&mut self, asker: Option<Asker>) -> Ticket {
        let ticket = Ticket(self.tickets);
        self.tickets += 1;
        self.requests.insert(ticket, asker);
        ticket
    }
}

fn about(news: &ServantNews) -> events::ServantId {
    match news {
        ServantNews::Register(register) => register.servant,
        ServantNews::Lose(lose) => lose.servant,
        ServantNews::Return(back) => back.servant,
        ServantNews::MeasureDisk(news) => news.servant,
        ServantNews::CleanDisk(news) => news.servant,
    }
}
