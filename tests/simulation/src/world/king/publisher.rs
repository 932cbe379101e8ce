//! Public events: where the stream stands is read, then the real window goes on from there.

use super::super::net::Net;
use super::super::packet::{Ask, Failure, Node, Reply, Timer};
use super::super::tail::REQUEST;
use super::{RETRY, again};
use crate::coverage::Sight;
use crate::jetstream::{Message, code};
use bus::public_events::window::{Place, Window, rest};
use events::subject::{self, EVENTS_STREAM, HEADER_ID};
use events::{Event, wire};
use std::collections::{BTreeMap, VecDeque};

/// Most events that are handed over at once.
const AT_ONCE: usize = 256;
/// So many events before the next are handed over with it: the real shell hands over whole commits, of which a part may
/// be stored already.
const BEFORE: usize = 8;
const EXPECTED_LAST: &str = "Nats-Expected-Last-Sequence";

/// The publisher.
pub struct Publisher {
    node: Node,
    phase: Phase,
}

enum Phase {
    /// Until the next try.
    Resting,
    /// The stream is asked where it ends.
    Measuring(u64),
    /// The last message is read.
    Reading {
        call: u64,
        sequence: u64,
    },
    Standing(Place),
    Sending(Batch),
}

struct Batch {
    events: Vec<Event>,
    window: Window,
    calls: VecDeque<u64>,
    landed: BTreeMap<u64, Result<Reply, Failure>>,
}

impl Publisher {
    pub fn new(net: &mut Net, node: Node) -> Self {
        let mut publisher = Self { node, phase: Phase::Resting };
        publisher.begin(net);
        publisher
    }

    /// Reads where the stream stands.
    pub fn begin(&mut self, net: &mut Net) {
        if let Phase::Resting = self.phase {
            self.phase = Phase::Measuring(net.ask(self.node, Ask::State { stream: EVENTS_STREAM }, REQUEST));
        }
    }

    fn rest(&mut self, net: &mut Net) {
        self.phase = Phase::Resting;
        net.wake(self.node, RETRY, Timer::Again(again::PUBLISH));
    }

    pub fn is_idle(&self, last: u64) -> bool {
        matches!(&self.phase, Phase::Standing(place) if place.number == last)
    }

    /// Sends what is confirmed and not published.
    pub fn go_on(&mut self, net: &mut Net, events: &[Event]) {
        let Phase::Standing(place) = self.phase else { return };
        let from = usize::try_from(place.number).expect("events fit into memory").min(events.len());
        let waiting = &events[from.saturating_sub(BEFORE)..events.len().min(from + AT_ONCE)];
        match rest(waiting, place.number) {
            Ok([]) => {}
            Ok(waiting) => {
                let (events, window) = (waiting.to_vec(), Window::after(place));
                let batch = Batch { events, window, calls: VecDeque::new(), landed: BTreeMap::new() };
                self.phase = Phase::Sending(batch);
                self.fill(net);
            }
            Err(_) => self.rest(net),
        }
    }

    fn fill(&mut self, net: &mut Net) {
        let node = self.node;
        let Phase::Sending(batch) = &mut self.phase else { return };
        while let Some(next) = batch.window.dispatch(batch.events.len()) {
            let message = public(&batch.events[next.index], next.expected_last);
            batch.calls.push_back(net.ask(node, Ask::Publish(message), REQUEST));
        }
    }

    pub fn done(&mut self, net: &mut Net, call: u64, result: &Result<Reply, Failure>) {
        match &mut self.phase {
            Phase::Measuring(asked) if *asked == call => match result {
                Ok(Reply::State(state)) if state.count == 0 => {
                    self.phase = Phase::Standing(Place { sequence: state.last, number: 0 });
                }
                Ok(Reply::State(state)) => {
                    let sequence = state.last;
                    let ask = Ask::Read { stream: EVENTS_STREAM, sequence };
                    self.phase = Phase::Reading { call: net.ask(self.node, ask, REQUEST), sequence };
                }
                Ok(_) | Err(_) => self.rest(net),
            },
            Phase::Reading { call: asked, sequence } if *asked == call => {
                let sequence = *sequence;
                match number_of(result) {
                    Some(number) => self.phase = Phase::Standing(Place { sequence, number }),
                    None => self.rest(net),
                }
            }
            Phase::Sending(batch) if batch.calls.contains(&call) => {
                batch.landed.insert(call, result.clone());
                self.land(net);
            }
            Phase::Measuring(_)
            | Phase::Reading { .. }
            | Phase::Sending(_)
            | Phase::Resting
            | Phase::Standing(_) => {}
        }
    }

    /// The oldest first, as far as they have landed.
    fn land(&mut self, net: &mut Net) {
        let Phase::Sending(batch) = &mut self.phase else { return };
        while let Some(result) = batch.calls.front().and_then(|call| batch.landed.remove(call)) {
            batch.calls.pop_front();
            match result {
                Ok(Reply::Ack(ack)) => {
                    batch.window.landed(ack.sequence, ack.duplicate);
                }
                Ok(_) => batch.window.lost(),
                Err(failure) => {
                    if matches!(&failure, Failure::Refused(refusal) if refusal.code == code::WRONG_LAST_SEQUENCE)
                    {
                        net.saw(Sight::EventsOvertaken);
                    }
                    batch.window.lost();
                }
            }
        }
        if batch.calls.is_empty() && (batch.window.has_failed()) {
            return self.rest(net);
        }
        let is_over = batch.calls.is_empty()
            && batch.window.reached().number == batch.events.last().map_or(0, |event| event.id);
        if is_over {
            self.phase = Phase::Standing(batch.window.reached());
        } else {
            self.fill(net);
        }
    }
}

fn number_of(result: &Result<Reply, Failure>) -> Option<u64> {
    match result {
        Ok(Reply::Found(Some((_, message)))) => message.number("ce-id"),
        Ok(_) | Err(_) => None,
    }
}

fn public(event: &Event, expected_last: u64) -> Message {
    let (id, about) = (event.id.to_string(), event.fact.subject_id());
    let expected_last = expected_last.to_string();
    let headers = [(HEADER_ID, id.as_str()), (EXPECTED_LAST, &expected_last), ("ce-id", &id)];
    let subject = subject::event(&event.domain, event.fact.noun(), &about, event.fact.verb());
    Message::new(subject, &headers, wire::encode(event))
}
