//! The writer: the real commit loop with its flights, fed by commands, reports and the inbox.

use super::super::net::Net;
use super::super::packet::{Ask, Asker, Failure, Node, Reply};
use super::super::tail::{REQUEST, Tail};
use super::Clock;
use super::appender::{Appender, Outcome};
use super::publisher::Publisher;
use super::views::Views;
use crate::coverage::Sight;
use crate::jetstream::{Entry, Message, Replicas};
use bus::log::Append;
use bus::tail::Holes;
use events::answer::ReportAnswer;
use events::subject::{COMMANDS, INBOX_STREAM, LOG_STREAM, REPORTS};
use events::{Answer, CommandId, Event, ReportId, Verdict, wire};
use king::election::Fold;
use king::writer::work::{self, ReportWork};
use king::writer::{Machine, Stored};
use realm::project::ViewKey;
use realm::{Input, Response, State};
use std::collections::{BTreeSet, VecDeque};

/// Who waits for what.
pub enum Ticket {
    Command { asker: Option<Asker>, id: CommandId, outcome: events::Outcome },
    Reports { asker: Option<Asker>, ids: Vec<ReportId>, work: ReportWork },
}

enum Arrival {
    Command { message: Message, asker: Option<Asker> },
    Reports { message: Message, asker: Option<Asker> },
    Queued(Entry),
    Tick,
}

/// The writer.
pub struct Writer {
    node: Node,
    machine: Machine<Ticket>,
    flights: VecDeque<Appender>,
    stored: VecDeque<(Stored<Ticket>, Append)>,
    arrivals: VecDeque<Arrival>,
    half_done: Option<(ReportWork, Option<Asker>, Vec<ReportId>)>,
    pub inbox: Tail,
    /// Where the inbox ended when another King wrote before.
    inherited: u64,
    pub views: Views,
    pub publisher: Publisher,
    last: u64,
    /// A look at the place behind the last commit, while nothing is in flight.
    look: Option<u64>,
}

impl Writer {
    pub fn new(net: &mut Net, node: Node, fold: &Fold) -> Self {
        net.subscribe(node, COMMANDS);
        net.subscribe(node, REPORTS);
        let after = fold.state.inbox;
        let end = net.server.jetstream.stream(INBOX_STREAM).map_or(0, |inbox| inbox.state().last);
        let inherited = if fold.state.epoch > 1 { end } else { 0 };
        let flights = bus::log::flights(match net.server.jetstream.replicas() {
            Replicas::One => 1,
            Replicas::Three => 3,
        });
        Self {
            node,
            machine: Machine::new(fold.state.clone(), fold.sequence, fold.hash).with_flights(flights),
            flights: VecDeque::new(),
            stored: VecDeque::new(),
            arrivals: VecDeque::new(),
            half_done: None,
            inbox: Tail::open(net, node, INBOX_STREAM, Vec::new(), Holes::Natural, after),
            inherited,
            views: Views::new(node, &fold.state),
            publisher: Publisher::new(net, node),
            last: fold.state.last,
            look: None,
        }
    }

    /// Whether a commit is out whose outcome it does not know.
    pub fn is_unresolved(&self) -> bool {
        self.flights.iter().any(Appender::is_doubtful)
    }

    /// Whether nothing is left to do.
    pub fn is_idle(&self) -> bool {
        self.machine.is_idle()
            && self.arrivals.is_empty()
            && self.half_done.is_none()
            && self.views.is_idle()
            && self.publisher.is_idle(self.last)
    }

    pub fn heard(&mut self, message: Message, asker: Option<Asker>) {
        if message.subject.starts_with("king.cmd.") {
            self.arrivals.push_back(Arrival::Command { message, asker });
        } else {
            self.arrivals.push_back(Arrival::Reports { message, asker });
        }
    }

    pub fn queued(&mut self, entry: Entry) {
        self.arrivals.push_back(Arrival::Queued(entry));
    }

    pub fn tick(&mut self, net: &mut Net) {
        if self.machine.is_idle() {
            let ask = Ask::Read { stream: LOG_STREAM, sequence: self.machine.last_commit() + 1 };
            self.look = Some(net.ask(self.node, ask, REQUEST));
        }
        self.arrivals.push_back(Arrival::Tick);
    }

    /// Whether it was a look that shows another King, with nothing of this one's on its way.
    pub fn is_overtaken(&mut self, call: u64, result: &Result<Reply, Failure>) -> bool {
        self.look.take_if(|look| *look == call).is_some() && matches!(result, Ok(Reply::Found(Some(_))))
    }

    /// Takes what waits as far as there is room, and sends what is due.
    pub fn go_on(&mut self, net: &mut Net, clock: &Clock, events: &[Event], state: &State) {
        loop {
            self.continue_reports(net, clock);
            self.launch(net);
            if !self.machine.has_room() || self.half_done.is_some() {
                break;
            }
            let Some(arrival) = self.arrivals.pop_front() else { break };
            self.arrived(net, clock, arrival);
        }
        self.last = state.last.max(events.last().map_or(0, |event| event.id));
        self.views.go_on(net, state);
        self.publisher.go_on(net, events);
    }

    fn arrived(&mut self, net: &mut Net, clock: &Clock, arrival: Arrival) {
        match arrival {
            Arrival::Command { message, asker } => self.command(net, clock, &message, asker),
            Arrival::Reports { message, asker } => self.reports(&message, asker),
            Arrival::Queued(entry) => {
                if let Some(command) = read(&entry.message) {
                    if entry.sequence <= self.inherited {
                        net.saw(Sight::QueuedAcross);
                    }
                    let context = clock.context(net);
                    self.machine.take(&Input::Command(command), &context);
                }
                self.machine.reached_inbox(entry.sequence);
            }
            Arrival::Tick => {
                if !self.machine.state().unsettled.is_empty() {
                    let context = clock.context(net);
                    self.machine.take(&Input::Tick, &context);
                }
            }
        }
    }

    fn command(&mut self, net: &mut Net, clock: &Clock, message: &Message, asker: Option<Asker>) {
        let Some(command) = read(message) else { return };
        let id = command.id.clone();
        let context = clock.context(net);
        if context.at < self.machine.state().at {
            net.saw(Sight::ClockWentBack);
        }
        let outcome = match self.machine.take(&Input::Command(command), &context) {
            Response::Decided(outcome) | Response::Repeated(outcome) => outcome,
            Response::Report(_) | Response::None => return,
        };
        if let Some(ticket) = self.machine.wait(Ticket::Command { asker, id, outcome }) {
            answer(net, self.node, ticket);
        }
    }

    fn reports(&mut self, message: &Message, asker: Option<Asker>) {
        let ids = wire::decode::<Vec<events::Report>>(&message.payload)
            .map(|reports| reports.iter().map(|report| report.id).collect());
        if let Ok(work) = ReportWork::read(carried(message)) {
            self.half_done = Some((work, asker, ids.unwrap_or_default()));
        }
    }

    fn continue_reports(&mut self, net: &mut Net, clock: &Clock) {
        let Some((mut work, asker, ids)) = self.half_done.take() else { return };
        while self.machine.has_room() {
            let Some(report) = work.next_report() else {
                if let Some(ticket) = self.machine.wait(Ticket::Reports { asker, ids, work }) {
                    answer(net, self.node, ticket);
                }
                return;
            };
            if let Some(refusal) = work.misplaced(&report) {
                work.push(Verdict::Refused(refusal));
                continue;
            }
            let id = report.id;
            let last = self.machine.state().senders.get(&id.sender).copied().unwrap_or_default();
            let context = clock.context(net);
            match self.machine.take(&Input::Report(report), &context) {
                Response::Report(verdict) => {
                    if (id.epoch, id.number) <= last {
                        net.saw(Sight::ReportAgain);
                    }
                    work.push(verdict);
                }
                Response::Decided(_) | Response::Repeated(_) | Response::None => {
                    work.push(Verdict::Redundant)
                }
            }
        }
        self.half_done = Some((work, asker, ids));
    }

    fn launch(&mut self, net: &mut Net) {
        while let Some(append) = self.machine.flush() {
            self.look = None;
            let mut appender = Appender::new(self.node, append);
            appender.attempt(net);
            if self.flights.is_empty() {
                appender.begin_to_settle();
            } else {
                net.saw(Sight::TwoInFlight);
            }
            self.flights.push_back(appender);
        }
    }

    pub fn append_again(&mut self, net: &mut Net) {
        if let Some(first) = self.flights.front_mut() {
            first.again(net);
        }
    }

    /// An answer came; how the flights stand.
    pub fn landed(&mut self, net: &mut Net, call: u64, result: &Result<Reply, Failure>) -> Outcome {
        let Some(flight) = self.flights.iter_mut().find(|flight| flight.asked(call)) else {
            return Outcome::Open;
        };
        let mut outcome = flight.done(net, call, result);
        while let Outcome::Stored(sequence) = outcome {
            let flight = self.flights.pop_front().expect("the first in flight has landed");
            self.stored.push_back((self.machine.stored(sequence), flight.append));
            outcome = match self.flights.front_mut() {
                Some(next) => next.settle(net),
                None => return Outcome::Stored(sequence),
            };
        }
        if outcome == Outcome::Deposed && self.flights.len() > 1 {
            net.saw(Sight::DeposedInFlight);
        }
        outcome
    }

    pub fn take_stored(&mut self) -> Option<(Stored<Ticket>, Append)> {
        self.stored.pop_front()
    }

    /// Whoever waited for it is answered.
    pub fn confirmed(&mut self, net: &mut Net, waiting: Vec<Ticket>, keys: BTreeSet<ViewKey>) {
        self.views.mark(keys);
        for ticket in waiting {
            answer(net, self.node, ticket);
        }
    }

    /// It writes no more.
    pub fn end(&mut self, net: &mut Net) {
        net.unsubscribe(self.node, COMMANDS);
        net.unsubscribe(self.node, REPORTS);
    }
}

fn answer(net: &mut Net, node: Node, ticket: Ticket) {
    match ticket {
        Ticket::Command { asker, id, outcome } => {
            if net.judge.answers(node, &id, &outcome) {
                net.saw(Sight::RepeatedAcross);
            }
            if let Some(asker) = asker {
                net.answer(node, asker, wire::encode(&Answer { id: Some(id), outcome }));
            }
        }
        Ticket::Reports { asker, ids, work } => {
            let (_, bytes) = work.finish();
            if let Ok(answer) = wire::decode::<ReportAnswer>(&bytes) {
                net.judge.judged(&ids, &answer.verdicts);
            }
            if let Some(asker) = asker {
                net.answer(node, asker, bytes);
            }
        }
    }
}

fn carried(message: &Message) -> bus::Message {
    let headers: Vec<(&str, &str)> =
        message.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    bus::Message::build(&message.subject, None, &headers, message.payload.clone())
        .expect("the headers of the simulation can be carried")
}

/// A command, as the real King reads it; those of the simulation all have ids.
fn read(message: &Message) -> Option<events::Command> {
    work::read_command(&carried(message), || "none".parse().expect("a short text is an id")).ok()
}
