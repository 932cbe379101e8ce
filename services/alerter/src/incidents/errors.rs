//! Errors in the output of apps: equal ones of one app are one incident, whichever instances print them, so that an app
//! that errs in a loop floods nobody. It begins with a mail that shows the lines, goes on while they come, and ends when
//! none came for a while; then a mail counts them, if there was more than the one that was shown.

use super::names::Names;
use super::words::Words;
use super::{Notice, notice};
use events::command::alert::MailPhase;
use events::event::InstanceErred;
use events::{AppName, Event, EventNumber, Timestamp};
use std::collections::BTreeMap;

/// Incidents of one app that begin with a mail of their own while others are open; further ones are counted.
const MAILS_PER_APP: usize = 5;
/// Most incidents that are open at a time; further ones are not followed.
const OPEN: usize = 10_000;

/// The machine.
#[derive(Debug)]
pub(super) struct Errors {
    /// How long none must come until an incident ends.
    quiet_ms: u64,
    open: BTreeMap<(AppName, String), OpenError>,
}

/// An incident that has begun.
#[derive(Debug)]
pub(super) struct OpenError {
    /// The subject without its tag.
    pub headline: String,
    pub event: EventNumber,
    pub since: Timestamp,
    pub last_event: EventNumber,
    pub last_at: Timestamp,
    /// How many there were, those that were not reported one by one included.
    pub count: u64,
    /// Kinds of errors of the same app that got no mail of their own meanwhile.
    pub others: u64,
}

impl Errors {
    pub(super) fn new(quiet_ms: u64) -> Self {
        Self { quiet_ms, open: BTreeMap::new() }
    }

    /// An error was reported.
    pub(super) fn erred(
        &mut self,
        words: &Words,
        names: &Names,
        event: &Event,
        erred: &InstanceErred,
    ) -> Vec<Notice> {
        let mut notices = self.tick(words, event.at);
        let Some(place) = names.place(erred.instance) else { return notices };
        let key = (place.app.clone(), erred.fingerprint.clone());
        let count = 1 + erred.repeats;
        if let Some(open) = self.open.get_mut(&key) {
            open.count += count;
            (open.last_event, open.last_at) = (event.id, event.at);
            return notices;
        }
        let mut of_app = self.open.iter_mut().filter(|((app, _), _)| *app == key.0).map(|(_, open)| open);
        if let Some(first) = of_app.next()
            && 1 + of_app.count() >= MAILS_PER_APP
        {
            first.others += count;
            return notices;
        }
        if self.open.len() >= OPEN {
            return notices;
        }
        let (headline, body) = words.erred(names, event, erred);
        let (subject, incident) = (words.firing(&headline), incident(&key));
        notices.push(notice(incident, MailPhase::Firing, event.id, event.at, subject, body));
        let (since, last_at) = (event.at, event.at);
        let (event, last_event) = (event.id, event.id);
        self.open.insert(key, OpenError { headline, event, since, last_event, last_at, count, others: 0 });
        notices
    }

    /// Ends what was quiet for long enough.
    pub(super) fn tick(&mut self, words: &Words, now: Timestamp) -> Vec<Notice> {
        let quiet_ms = self.quiet_ms;
        let over = self.open.extract_if(.., |_, open| now.since(open.last_at) >= quiet_ms);
        let told = over.filter(|(_, open)| open.count > 1 || open.others > 0);
        told.map(|(key, open)| {
            let (subject, body) = words.errors_over(&open, quiet_ms);
            notice(incident(&key), MailPhase::Resolved, open.last_event, open.last_at, subject, body)
        })
        .collect()
    }
}

fn incident((app, fingerprint): &(AppName, String)) -> String {
    format!("error/{app}/{fingerprint}")
}
