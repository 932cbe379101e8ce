//! Plan, send, record: a machine that brings each mail on its way, at least once, and says so in the log.
//!
//! A mail is planned by a command before it is sent and recorded by one after it; only what the log shows as planned is
//! sent. A crash between sending and recording is the only way to a second mail, with the same Message-ID. Mails of
//! one incident go in order, so no end comes before its beginning. Times are milliseconds of a monotonic clock.

mod item;
mod pause;
#[cfg(test)]
mod stories;

pub use item::{Answered, Letter, Taken};

use crate::incidents::Notice;
use events::Timestamp;
use events::command::alert::{MailPhase, MailResult};
use events::event::MailPlanned;
use item::{Item, Stage};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// Most commands to the King at a time.
const COMMANDS: usize = 8;
/// Most mails that are planned and not yet sent; the King takes 10,000.
const PLANNED: usize = 1000;
/// Most mails on their way at a time.
const SENDINGS: usize = 4;
/// What happened longer ago when this Alerter first hears of it is not mailed any more, in milliseconds.
pub const ANCIENT_MS: u64 = 3_600_000;
/// Most incidents whose first mail is remembered for the reply to it.
const THREADS: usize = 10_000;

/// What the machine wants done; each is followed by a call with its outcome.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Ask the King to plan it, after so many refusals for want of room; then [`Courier::plan_answered`].
    Plan(Notice, u32),
    /// Send it to these recipients; then [`Courier::sent`].
    Send(Letter, Vec<String>),
    /// Ask the King to record it; then [`Courier::record_answered`].
    Record(Uuid, MailResult),
}

/// The machine.
#[derive(Debug)]
pub struct Courier {
    recipients: Vec<String>,
    /// How long a mail is tried.
    patience_ms: u64,
    /// Every mail that is not done, in the order in which it came up.
    items: BTreeMap<u64, Item>,
    /// Where each mail is in that order.
    places: BTreeMap<Uuid, u64>,
    next: u64,
    /// The first mail of incidents that may yet end, with its place in the order.
    threads: BTreeMap<String, (u64, Uuid)>,
}

impl Courier {
    /// A machine without mails; with the patience to try each for so long.
    pub fn new(recipients: Vec<String>, patience_ms: u64) -> Self {
        Self {
            recipients,
            patience_ms,
            items: BTreeMap::new(),
            places: BTreeMap::new(),
            next: 1,
            threads: BTreeMap::new(),
        }
    }

    /// An incident calls for a mail.
    pub fn want(&mut self, notice: Notice) {
        if self.find(notice.mail).is_none() {
            self.push(Item::wanted(notice));
        }
    }

    /// The log has been read to its end for the first time: what began and ended long ago and was never planned is
    /// not mailed, only known. What is still open is mailed however old it is; `open` holds the first mails of those
    /// incidents. Returns how many mails are left out.
    pub fn caught_up(&mut self, now: Timestamp, open: &BTreeSet<Uuid>) -> usize {
        let ancient = self.ancient(now, open);
        self.keep(|item| !ancient.contains(&item.mail));
        ancient.len()
    }

    /// Beginnings that are over and long past, with their ends; and ends long past of which nobody knows a beginning.
    fn ancient(&self, now: Timestamp, open: &BTreeSet<Uuid>) -> BTreeSet<Uuid> {
        let (mut ancient, mut begun) = (BTreeSet::new(), BTreeMap::new());
        let threads = self.threads.iter().map(|(incident, (number, _))| (incident.as_str(), *number));
        let threads: BTreeMap<_, _> = threads.collect();
        for (number, item) in &self.items {
            let incident = item.incident.as_str();
            let old = item.is_unplanned() && now.since(item.at) > ANCIENT_MS;
            match item.phase {
                MailPhase::Firing => {
                    let told = !old || open.contains(&item.mail);
                    begun.insert(incident, told);
                    if !told {
                        ancient.insert(item.mail);
                    }
                }
                MailPhase::Resolved => {
                    let in_log = threads.get(incident).is_some_and(|first| first < number);
                    let told = begun.insert(incident, false).unwrap_or(in_log || !old);
                    if item.is_unplanned() && !told {
                        ancient.insert(item.mail);
                    }
                }
            }
        }
        ancient
    }

    /// The log shows a plan.
    pub fn planned(&mut self, planned: &MailPlanned, at: Timestamp) {
        let number = match self.find(planned.mail) {
            Some(number) => number,
            None => self.push(Item::unknown(planned)),
        };
        let reply_to = match planned.phase {
            MailPhase::Firing => None,
            MailPhase::Resolved => self.threads.remove(&planned.incident).map(|(_, mail)| mail),
        };
        if planned.phase == MailPhase::Firing {
            self.threads.insert(planned.incident.clone(), (number, planned.mail));
            self.forget_oldest_thread();
        }
        let recipients = &self.recipients;
        if let Some(item) = self.items.get_mut(&number) {
            item.plan(planned, at, reply_to, recipients);
        }
    }

    /// The log shows what came of a mail: it is done.
    pub fn settled(&mut self, mail: Uuid) {
        if let Some(number) = self.places.remove(&mail) {
            self.items.remove(&number);
        }
    }

    /// The King answered a plan, or did not.
    pub fn plan_answered(&mut self, mail: Uuid, answered: Answered, now: u64) {
        let Some(item) = self.item(mail) else { return };
        match (answered, item.stage.clone()) {
            (Answered::Done, Stage::Planning) => item.stage = Stage::AwaitingPlan,
            (Answered::Refused, Stage::Planning) => self.settled(mail),
            (Answered::Unanswered, Stage::Planning) => item.wait(Stage::Wanted, now, pause::COMMAND),
            (Answered::Full, Stage::Planning) => {
                item.refusals += 1;
                item.wait(Stage::Wanted, now, pause::MAIL);
            }
            // The log was faster than the answer.
            (Answered::Done | Answered::Refused | Answered::Full | Answered::Unanswered, _) => {}
        }
    }

    /// What came of an attempt to send, for each recipient that it was sent to.
    pub fn sent(&mut self, mail: Uuid, taken: Vec<(String, Taken)>, now: u64) {
        let patience_ms = self.patience_ms;
        if let Some(item) = self.item(mail) {
            item.sent(taken, now, patience_ms);
        }
    }

    /// The King answered a record, or did not. A refusal ends it too: it will not be taken later either.
    pub fn record_answered(&mut self, mail: Uuid, answered: Answered, now: u64) {
        match answered {
            Answered::Done | Answered::Refused | Answered::Full => self.settled(mail),
            Answered::Unanswered => {
                if let Some(item) = self.item(mail)
                    && let Stage::Recording(result) = item.stage.clone()
                {
                    item.wait(Stage::Sent(result), now, pause::COMMAND);
                }
            }
        }
    }

    /// What is to be done now.
    pub fn next(&mut self, now: u64) -> Vec<Action> {
        self.drop_ends_without_beginning();
        self.startable(now).into_iter().filter_map(|number| self.items.get_mut(&number)?.start()).collect()
    }

    /// Mails that are not done.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether every mail is done.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// One pass in order: within an incident a mail is planned after the plans before it, and sent after the mails
    /// before it.
    fn startable(&self, now: u64) -> Vec<u64> {
        let mut commands = self.count(|stage| matches!(stage, Stage::Planning | Stage::Recording(_)));
        let mut sendings = self.count(|stage| matches!(stage, Stage::Sending));
        let mut planned = self.items.values().filter(|item| item.is_unsent() && !item.is_unplanned()).count();
        planned += self.count(|stage| matches!(stage, Stage::Planning));
        let (mut unplanned, mut unsent) = (BTreeSet::new(), BTreeSet::new());
        let mut startable = Vec::new();
        for (number, item) in &self.items {
            let incident = item.incident.as_str();
            let (lane, room) = match &item.stage {
                Stage::Wanted if planned < PLANNED && !unplanned.contains(incident) => {
                    (&mut commands, COMMANDS)
                }
                Stage::Planned if !unsent.contains(incident) => (&mut sendings, SENDINGS),
                Stage::Sent(_) => (&mut commands, COMMANDS),
                Stage::Wanted
                | Stage::Planning
                | Stage::AwaitingPlan
                | Stage::Planned
                | Stage::Sending
                | Stage::Recording(_) => (&mut 0, 0),
            };
            if *lane < room && item.due_at <= now {
                *lane += 1;
                planned += usize::from(item.is_unplanned());
                startable.push(*number);
            }
            if item.is_unplanned() {
                unplanned.insert(incident);
            }
            if item.is_unsent() {
                unsent.insert(incident);
            }
        }
        startable
    }

    /// The beginning was never mailed (too old, or refused): neither is the end.
    fn drop_ends_without_beginning(&mut self) {
        let firing = self.items.values().filter(|item| item.phase == MailPhase::Firing);
        let begun: BTreeSet<_> = firing.map(|item| item.incident.clone()).collect();
        let threads = std::mem::take(&mut self.threads);
        self.keep(|item| {
            item.phase == MailPhase::Firing
                || !item.is_unplanned()
                || begun.contains(&item.incident)
                || threads.contains_key(&item.incident)
        });
        self.threads = threads;
    }

    fn forget_oldest_thread(&mut self) {
        if self.threads.len() > THREADS
            && let Some(oldest) = self.threads.iter().min_by_key(|(_, (number, _))| *number)
        {
            let oldest = oldest.0.clone();
            self.threads.remove(&oldest);
        }
    }

    fn count(&self, is: impl Fn(&Stage) -> bool) -> usize {
        self.items.values().filter(|item| is(&item.stage)).count()
    }

    fn push(&mut self, item: Item) -> u64 {
        let number = self.next;
        self.next += 1;
        self.places.insert(item.mail, number);
        self.items.insert(number, item);
        number
    }

    fn keep(&mut self, wanted: impl Fn(&Item) -> bool) {
        self.items.retain(|_, item| wanted(item));
        let items = &self.items;
        self.places.retain(|_, number| items.contains_key(number));
    }

    fn find(&self, mail: Uuid) -> Option<u64> {
        self.places.get(&mail).copied()
    }

    fn item(&mut self, mail: Uuid) -> Option<&mut Item> {
        self.items.get_mut(self.places.get(&mail)?)
    }
}
