//! What travels up: a machine that groups the requests of many senders into one batch at a time.
//!
//! A batch leaves at once when none is in flight; else what arrives is collected until the King's answer: group
//! commit. A sender is answered with the King's own verdicts and never before them. Nothing is stored: whoever is not
//! answered keeps its reports and sends them again.

mod request;
#[cfg(test)]
mod laws;
#[cfg(test)]
mod stories;

pub use request::{Sender, Ticket};

use events::limits::{MESSAGE_BYTES, REPORTS_PER_BATCH};
use events::{DomainName, Report, Verdict};
use request::Request;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Largest batch: the King takes up to 400 KB of one input.
pub const BATCH_BYTES: usize = 400 * 1024;
/// Most reports that wait here. What comes beyond is not answered, so that its sender keeps it.
pub const WAITING_REPORTS: usize = 50 * REPORTS_PER_BATCH;
/// Most bytes that wait here.
pub const WAITING_BYTES: usize = 32 * MESSAGE_BYTES;
/// How long a sender waits for its answer before it sends again.
pub const FRESH_MS: u64 = 5000;
/// After so many answers that do not fit, the senders of a batch are heard one by one.
const MISFITS: u32 = 2;
/// First and longest pause before a batch is sent again.
const PAUSE_MS: (u64, u64) = (50, 1000);

/// What the machine wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Ask the King; then call [`Relay::answered`] or [`Relay::failed`] with the number.
    Send { batch: u64, reports: Vec<Report> },
    /// Give a sender the verdicts on its reports, in their order.
    Answer { ticket: Ticket, verdicts: Vec<Verdict> },
    /// Forget a sender's request: it sends again.
    Drop { ticket: Ticket, why: Dropped },
}

/// Why a request is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// Too much waits already.
    Full,
    /// Its sender no longer waits for it.
    Stale,
    /// The King cannot read it, not even alone.
    Unreadable,
}

/// A report on its way, and where its verdict belongs.
#[derive(Debug)]
struct Carried {
    ticket: Ticket,
    slot: usize,
    bytes: usize,
    report: Report,
}

#[derive(Debug)]
struct Flight {
    batch: u64,
    carried: Vec<Carried>,
    attempts: u32,
    /// Answers that did not fit it: the King cannot read all of it.
    misfits: u32,
    /// When it may be sent again; none while it is with the King.
    resend_at: Option<u64>,
}

/// The machine.
#[derive(Debug)]
pub struct Relay {
    domain: DomainName,
    requests: BTreeMap<Ticket, Request>,
    waiting: VecDeque<Carried>,
    waiting_bytes: usize,
    flight: Option<Flight>,
    /// Requests that travel alone, as one of them cannot be read and stood in the others' way.
    alone: BTreeSet<Ticket>,
    batches: u64,
}

impl Relay {
    /// An empty relay of this domain.
    pub fn new(domain: DomainName) -> Self {
        let (requests, waiting) = (BTreeMap::new(), VecDeque::new());
        Self { domain, requests, waiting, waiting_bytes: 0, flight: None, alone: BTreeSet::new(), batches: 0 }
    }

    /// A request came in. Reports that their sender may not send are refused here; the rest travels on.
    pub fn received(
        &mut self,
        ticket: Ticket,
        sender: &Sender,
        reports: Vec<Report>,
        now: u64,
    ) -> Vec<Action> {
        let sizes: Vec<_> = reports.iter().map(|report| events::wire::encode(report).len()).collect();
        let bytes: usize = sizes.iter().sum();
        if self.waiting.len() + reports.len() > WAITING_REPORTS || self.waiting_bytes + bytes > WAITING_BYTES
        {
            return vec![Action::Drop { ticket, why: Dropped::Full }];
        }
        let mut request = Request::new(reports.len(), now);
        for (slot, (report, bytes)) in reports.into_iter().zip(sizes).enumerate() {
            match sender.refuses(&report, &self.domain) {
                Some(refusal) => request.fill(slot, Verdict::Refused(refusal)),
                None => {
                    self.waiting_bytes += bytes;
                    self.waiting.push_back(Carried { ticket, slot, bytes, report });
                }
            }
        }
        self.requests.insert(ticket, request);
        let mut actions = self.settle([ticket]);
        actions.extend(self.launch());
        actions
    }

    /// The King answered a batch: one verdict for each of its reports.
    pub fn answered(&mut self, batch: u64, verdicts: Vec<Verdict>, now: u64) -> Vec<Action> {
        let Some(flight) = self.flight.take_if(|flight| flight.batch == batch) else { return Vec::new() };
        if verdicts.len() != flight.carried.len() {
            tracing::warn!(
                batch,
                reports = flight.carried.len(),
                verdicts = verdicts.len(),
                "answer does not fit its batch"
            );
            return self.misfit(flight, now);
        }
        let mut tickets = Vec::with_capacity(flight.carried.len());
        for (carried, verdict) in flight.carried.into_iter().zip(verdicts) {
            if let Some(request) = self.requests.get_mut(&carried.ticket) {
                request.fill(carried.slot, verdict);
                tickets.push(carried.ticket);
            }
        }
        tickets.dedup();
        let mut actions = self.settle(tickets);
        actions.extend(self.launch());
        actions
    }

    fn misfit(&mut self, mut flight: Flight, now: u64) -> Vec<Action> {
        flight.misfits += 1;
        if flight.misfits < MISFITS {
            let batch = flight.batch;
            self.flight = Some(flight);
            return self.failed(batch, now);
        }
        let tickets: BTreeSet<_> = flight.carried.iter().map(|carried| carried.ticket).collect();
        let mut actions = Vec::new();
        match tickets.first() {
            Some(ticket) if tickets.len() == 1 => {
                self.requests.remove(ticket);
                self.forget_orphans();
                actions.push(Action::Drop { ticket: *ticket, why: Dropped::Unreadable });
            }
            Some(_) | None => self.split(flight.carried, tickets),
        }
        actions.extend(self.launch());
        actions
    }

    /// Back to the front, each request to travel alone.
    fn split(&mut self, carried: Vec<Carried>, tickets: BTreeSet<Ticket>) {
        self.alone.extend(tickets);
        for carried in carried.into_iter().rev() {
            self.waiting_bytes += carried.bytes;
            self.waiting.push_front(carried);
        }
    }

    /// The King did not answer a batch in time, or is not there: it is sent again, after a pause that doubles.
    pub fn failed(&mut self, batch: u64, now: u64) -> Vec<Action> {
        if let Some(flight) = self.flight.as_mut().filter(|flight| flight.batch == batch) {
            let (first, longest) = PAUSE_MS;
            let pause = first.saturating_mul(1 << flight.attempts.min(16)).min(longest);
            flight.attempts += 1;
            flight.resend_at = Some(now + pause);
        }
        self.tick(now)
    }

    /// Time has passed: stale requests go, a batch whose pause is over leaves again.
    pub fn tick(&mut self, now: u64) -> Vec<Action> {
        let mut actions = self.drop_stale(now);
        let Some(flight) = &mut self.flight else {
            actions.extend(self.launch());
            return actions;
        };
        if flight.resend_at.is_some_and(|at| at <= now) {
            flight.resend_at = None;
            let reports = flight.carried.iter().map(|carried| carried.report.clone()).collect();
            actions.push(Action::Send { batch: flight.batch, reports });
        }
        actions
    }

    /// A batch that is with the King is left alone: its verdicts may still come.
    fn drop_stale(&mut self, now: u64) -> Vec<Action> {
        let with_king = self.flight.as_ref().filter(|flight| flight.resend_at.is_none());
        let held: Vec<Ticket> = with_king
            .map(|flight| flight.carried.iter().map(|carried| carried.ticket).collect())
            .unwrap_or_default();
        let stale: Vec<Ticket> = self
            .requests
            .iter()
            .filter(|(ticket, request)| request.age(now) > FRESH_MS && !held.contains(ticket))
            .map(|(ticket, _)| *ticket)
            .collect();
        for ticket in &stale {
            self.requests.remove(ticket);
        }
        if !stale.is_empty() {
            self.forget_orphans();
        }
        stale.into_iter().map(|ticket| Action::Drop { ticket, why: Dropped::Stale }).collect()
    }

    fn forget_orphans(&mut self) {
        let requests = &self.requests;
        self.waiting.retain(|carried| requests.contains_key(&carried.ticket));
        self.waiting_bytes = self.waiting.iter().map(|carried| carried.bytes).sum();
        if let Some(flight) = &mut self.flight
            && flight.resend_at.is_some()
        {
            flight.carried.retain(|carried| requests.contains_key(&carried.ticket));
        }
        self.flight.take_if(|flight| flight.carried.is_empty());
    }

    fn settle(&mut self, tickets: impl IntoIterator<Item = Ticket>) -> Vec<Action> {
        let mut actions = Vec::new();
        for ticket in tickets {
            if self.requests.get(&ticket).is_some_and(Request::is_complete)
                && let Some(request) = self.requests.remove(&ticket)
            {
                actions.push(Action::Answer { ticket, verdicts: request.into_verdicts() });
            }
        }
        actions
    }

    fn launch(&mut self) -> Option<Action> {
        if self.flight.is_some() || self.waiting.is_empty() {
            return None;
        }
        let requests = &self.requests;
        self.alone.retain(|ticket| requests.contains_key(ticket));
        let carried = self.take_batch();
        let reports = carried.iter().map(|carried| carried.report.clone()).collect();
        self.batches += 1;
        self.flight = Some(Flight { batch: self.batches, carried, attempts: 0, misfits: 0, resend_at: None });
        Some(Action::Send { batch: self.batches, reports })
    }

    fn take_batch(&mut self) -> Vec<Carried> {
        let (mut taken, mut bytes) = (Vec::<Carried>::new(), 0);
        while let Some(next) = self.waiting.front() {
            let fits = taken.is_empty() || bytes + next.bytes <= BATCH_BYTES;
            let with = taken.last().is_none_or(|last| {
                last.ticket == next.ticket
                    || !(self.alone.contains(&last.ticket) || self.alone.contains(&next.ticket))
            });
            if taken.len() == REPORTS_PER_BATCH || !fits || !with {
                break;
            }
            bytes += next.bytes;
            taken.extend(self.waiting.pop_front());
        }
        self.waiting_bytes -= bytes;
        taken
    }
}
