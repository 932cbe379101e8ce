//! One servant of a run, as whoever watches sees it: what was heard of it, and what is said to it.

use bus::flow::{Moment, Receiving, Sending};
use events::exec::{ExecOutcome, FromRun, Item, Packet, ToRun};
use events::query::ExecRunItem;
use events::{DomainName, ServantName, wire};

/// How often something is said when there is nothing to say, in milliseconds.
const SAY_AGAIN_MS: Moment = 2_000;
/// When a servant counts as silent, in milliseconds: then the King is asked what became of the run.
const SILENT_MS: Moment = 3_000;

/// A servant of a run.
pub struct Peer {
    pub servant: ServantName,
    /// Known once it is heard.
    pub domain: Option<DomainName>,
    pub end: End,
    sending: Sending<ToRun>,
    receiving: Receiving,
    heard_at: Moment,
    said_at: Moment,
}

/// How far a run is, as far as is known.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    GoesOn,
    Known(ExecOutcome),
    /// Its servant is lost: nobody knows.
    Unknown,
}

impl Peer {
    /// A servant that is not heard yet.
    pub fn new(servant: ServantName, now: Moment) -> Self {
        Self {
            servant,
            domain: None,
            end: End::GoesOn,
            sending: Sending::default(),
            receiving: Receiving::default(),
            heard_at: now,
            said_at: 0,
        }
    }

    /// Whether it still goes on, for all that is known.
    pub fn is_open(&self) -> bool {
        self.end == End::GoesOn
    }

    /// Takes a packet; gives what is new in it.
    pub fn hear(&mut self, now: Moment, payload: &[u8]) -> Option<FromRun> {
        let packet: Packet<FromRun> = wire::decode(payload).ok()?;
        self.heard_at = now;
        self.sending.acknowledged(now, packet.heard, packet.taken);
        self.receiving.hear(packet.item?)
    }

    /// What the King has stored of a run whose servant is silent.
    pub fn is_told(&mut self, run: &ExecRunItem) {
        self.end = match &run.outcome {
            Some(outcome) => End::Known(outcome.clone()),
            None if run.lost => End::Unknown,
            None => End::GoesOn,
        };
    }

    /// One piece of its output is written; says whether it should hear of that at once.
    pub fn taken(&mut self) -> bool {
        self.receiving.take();
        self.receiving.is_urgent()
    }

    /// Whether it has room for more input; one that needs none has.
    pub fn has_room(&self) -> bool {
        !self.is_open() || self.sending.has_room()
    }

    /// What to send it now: an item.
    pub fn say(&mut self, now: Moment, content: ToRun) -> Vec<u8> {
        let item = self.sending.push(now, content);
        self.packet(now, Some(item))
    }

    /// What to send it now, when there is something to say again, to acknowledge, or nothing was said for long.
    pub fn due(&mut self, now: Moment) -> Vec<Vec<u8>> {
        let again = self.sending.again(now);
        if !again.is_empty() {
            return again.into_iter().map(|item| self.packet(now, Some(item))).collect();
        }
        let is_due = self.receiving.is_news() || now >= self.said_at + SAY_AGAIN_MS;
        if is_due { vec![self.packet(now, None)] } else { Vec::new() }
    }

    /// Whether it has not been heard for long.
    pub fn is_silent(&self, now: Moment) -> bool {
        self.is_open() && now >= self.heard_at + SILENT_MS
    }

    fn packet(&mut self, now: Moment, item: Option<Item<ToRun>>) -> Vec<u8> {
        self.said_at = now;
        wire::encode(&self.receiving.packet(item))
    }
}
