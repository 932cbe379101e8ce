//! What has begun and what has ended: a machine that folds the log and says which mails that calls for.
//!
//! The same log gives the same mails with the same ids, so a plan can be sent again safely. An incident whose end
//! rests on time (a crashed instance that stays healthy) ends by a tick; on replay by the next event of the same
//! instance that is late enough, or by the plan of that mail in the log.

mod names;
mod open;
mod errors;
pub mod words;
#[cfg(test)]
mod laws;
#[cfg(test)]
mod stories;

pub use open::Key;

use errors::Errors;
use events::command::alert::MailPhase;
use events::disk::DiskLevel;
use events::event::{
    AlertEvent, InstanceCrashLooped, InstanceCrashed, InstanceEvent, InstanceFailed, MailPlanned,
    ServantEvent,
};
use events::{Event, EventNumber, Fact, InstanceId, KindFinder, Timestamp};
use names::Names;
use open::{Closing, Open};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;
use words::Words;

/// How the kinds of events begin that change something here.
const KINDS: [&str; 3] = ["instance.", "servant.", "alert."];
/// The same while no incident is open: nothing can end.
const KINDS_IN_CALM: [&str; 8] = [
    "instance.erred",
    "instance.placed",
    "instance.crashed",
    "instance.crash-looped",
    "instance.failed",
    "instance.stopped",
    "servant.",
    "alert.",
];

/// A mail that an incident calls for.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// The id of the mail: made of the incident, the phase and the event, so the same on every run.
    pub mail: Uuid,
    /// `crash/<instance>`, `crash-loop/<instance>`, `instance-failed/<instance>`, `servant-lost/<servant>`,
    /// `disk-full/<servant>` or `error/<app>/<fingerprint>`.
    pub incident: String,
    pub phase: MailPhase,
    /// The event that began or ended it.
    pub event: EventNumber,
    /// When that was.
    pub at: Timestamp,
    pub subject: String,
    pub body: String,
}

/// The machine.
#[derive(Debug)]
pub struct Incidents {
    /// How long a crashed instance must stay healthy until its incident ends.
    resolve_after_ms: u64,
    names: Names,
    words: Words,
    open: BTreeMap<Key, Open>,
    errors: Errors,
    finder: KindFinder,
    finder_in_calm: KindFinder,
}

impl Incidents {
    /// A machine that knows nothing yet; `kingdom` stands in the subjects, errors in output end when they were quiet for
    /// so long.
    pub fn new(kingdom: &str, resolve_after_ms: u64, errors_quiet_ms: u64) -> Self {
        Self {
            resolve_after_ms,
            names: Names::default(),
            words: Words::new(kingdom),
            open: BTreeMap::new(),
            errors: Errors::new(errors_quiet_ms),
            finder: KindFinder::new(&KINDS),
            finder_in_calm: KindFinder::new(&KINDS_IN_CALM),
        }
    }

    /// Whether anything in a commit may change something here; if not, it need not be read. It says yes too often.
    pub fn may_concern(&self, commit: &[u8]) -> bool {
        let finder = if self.open.is_empty() { &self.finder_in_calm } else { &self.finder };
        finder.may_be_in(commit)
    }

    /// Folds one event of the log; every event once, in order.
    pub fn apply(&mut self, event: &Event) -> Vec<Notice> {
        self.names.learn(&event.fact);
        let notices = match &event.fact {
            Fact::Instance(fact) => self.instance(event, fact),
            Fact::Servant(fact) => self.servant(event, fact),
            Fact::Alert(AlertEvent::Planned(planned)) => self.planned(planned),
            Fact::Alert(AlertEvent::Sent(_) | AlertEvent::Failed(_))
            | Fact::App(_)
            | Fact::Version(_)
            | Fact::Release(_)
            | Fact::Config(_)
            | Fact::Command(_)
            | Fact::King(_)
            | Fact::Exec(_) => Vec::new(),
        };
        self.names.forget(&event.fact);
        notices
    }

    /// Time has passed: crashed instances that stayed healthy long enough are well again.
    pub fn tick(&mut self, now: Timestamp) -> Vec<Notice> {
        let keys: Vec<_> = self.open.keys().copied().collect();
        let healed: Vec<_> = keys.into_iter().filter_map(|key| self.heal(key, now)).collect();
        healed.into_iter().chain(self.errors.tick(&self.words, now)).collect()
    }

    /// The first mails of the incidents that are open.
    pub fn open_mails(&self) -> BTreeSet<Uuid> {
        self.open.iter().map(|(key, open)| mail_id(&key.to_string(), MailPhase::Firing, open.event)).collect()
    }

    fn instance(&mut self, event: &Event, fact: &InstanceEvent) -> Vec<Notice> {
        let id = fact.instance();
        let mut notices: Vec<_> = self.heal(Key::Crash(id), event.at).into_iter().collect();
        notices.extend(match fact {
            InstanceEvent::Crashed(crashed) => self.crashed(event, crashed).into_iter().collect(),
            InstanceEvent::CrashLooped(looped) => self.crash_looped(event, looped).into_iter().collect(),
            InstanceEvent::Failed(failed) => self.failed(event, failed).into_iter().collect(),
            InstanceEvent::BecameHealthy(_) => self.became_healthy(event, id).into_iter().collect(),
            InstanceEvent::BecameUnhealthy(_) | InstanceEvent::Halted(_) => {
                self.no_longer_healthy(id);
                Vec::new()
            }
            InstanceEvent::Steadied(_) => {
                self.close(Key::CrashLoop(id), event, Closing::Steadied).into_iter().collect()
            }
            InstanceEvent::Finished(_) => self.close_all(event, id, Closing::Finished),
            InstanceEvent::Retired(retired) => self.close_all(event, id, Closing::Retired(retired.reason)),
            InstanceEvent::Stopped(_) => self.close_all(event, id, Closing::Stopped),
            InstanceEvent::Erred(erred) => self.errors.erred(&self.words, &self.names, event, erred),
            InstanceEvent::Placed(_)
            | InstanceEvent::Started(_)
            | InstanceEvent::PortsReplaced(_)
            | InstanceEvent::RestartOrdered(_)
            | InstanceEvent::WorkersScaled(_) => Vec::new(),
        });
        notices
    }

    fn crashed(&mut self, event: &Event, crashed: &InstanceCrashed) -> Option<Notice> {
        let id = crashed.instance;
        for key in [Key::CrashLoop(id), Key::Crash(id)] {
            if let Some(open) = self.open.get_mut(&key) {
                open.crashed_again(event, crashed);
                return None;
            }
        }
        let (subject, body) = self.words.crashed(&self.names, event, crashed);
        let mut open = Open::new(event);
        open.crashed_again(event, crashed);
        Some(self.fire(Key::Crash(id), open, subject, body))
    }

    /// The loop takes the place of the crash: one incident, one end.
    fn crash_looped(&mut self, event: &Event, looped: &InstanceCrashLooped) -> Option<Notice> {
        let id = looped.instance;
        self.open.remove(&Key::Crash(id));
        if self.open.contains_key(&Key::CrashLoop(id)) {
            return None;
        }
        let (subject, body) = self.words.crash_looped(&self.names, event, looped);
        Some(self.fire(Key::CrashLoop(id), Open::new(event), subject, body))
    }

    fn failed(&mut self, event: &Event, failed: &InstanceFailed) -> Option<Notice> {
        self.no_longer_healthy(failed.instance);
        let key = Key::InstanceFailed(failed.instance);
        if self.open.contains_key(&key) {
            return None;
        }
        let (subject, body) = self.words.failed(&self.names, event, failed);
        Some(self.fire(key, Open::new(event), subject, body))
    }

    fn became_healthy(&mut self, event: &Event, id: InstanceId) -> Option<Notice> {
        if let Some(open) = self.open.get_mut(&Key::Crash(id)) {
            open.healthy(event);
        }
        self.close(Key::InstanceFailed(id), event, Closing::Healthy)
    }

    fn no_longer_healthy(&mut self, id: InstanceId) {
        if let Some(open) = self.open.get_mut(&Key::Crash(id)) {
            open.unhealthy();
        }
    }

    fn servant(&mut self, event: &Event, fact: &ServantEvent) -> Vec<Notice> {
        let key = Key::ServantLost(fact.servant());
        let full = Key::DiskFull(fact.servant());
        let notice = match fact {
            ServantEvent::Lost(_) if self.open.contains_key(&key) => None,
            ServantEvent::Lost(lost) => {
                let (subject, body) = self.words.servant_lost(&self.names, event, lost);
                Some(self.fire(key, Open::new(event), subject, body))
            }
            ServantEvent::Returned(_) => self.close(key, event, Closing::Returned),
            ServantEvent::Removed(_) => {
                let gone = [key, full].map(|key| self.close(key, event, Closing::Removed));
                return gone.into_iter().flatten().collect();
            }
            ServantEvent::DiskChanged(changed) => match changed.disk.level {
                DiskLevel::Critical if self.open.contains_key(&full) => None,
                DiskLevel::Critical => {
                    let (subject, body) = self.words.disk_full(&self.names, event, changed);
                    Some(self.fire(full, Open::new(event), subject, body))
                }
                DiskLevel::High | DiskLevel::Normal => {
                    self.close(full, event, Closing::RoomAgain(changed.disk))
                }
            },
            ServantEvent::Joined(_) | ServantEvent::Changed(_) | ServantEvent::DiskCleaned(_) => None,
        };
        notice.into_iter().collect()
    }

    /// A plan in the log settles what time alone cannot: that the incident had ended when the mail was planned.
    /// A crash that came between the two begins a new one.
    fn planned(&mut self, planned: &MailPlanned) -> Vec<Notice> {
        let of_it = |(key, open): &(&Key, &Open)| {
            open.last_healthy
                .is_some_and(|event| mail_id(&key.to_string(), MailPhase::Resolved, event) == planned.mail)
        };
        let Some(key) = self.open.iter().find(of_it).map(|(key, _)| *key) else { return Vec::new() };
        let crash_after = self.open.remove(&key).filter(|open| open.healthy_at.is_none());
        match crash_after.and_then(|open| open.last_crash) {
            Some((event, crashed)) => self.crashed(&event, &crashed).into_iter().collect(),
            None => Vec::new(),
        }
    }

    fn heal(&mut self, key: Key, now: Timestamp) -> Option<Notice> {
        let open = self.open.get(&key)?;
        let (at, event) = (open.healthy_at?, open.last_healthy?);
        if now.since(at) < self.resolve_after_ms {
            return None;
        }
        self.resolve(key, event, at, Closing::Healthy)
    }

    fn close_all(&mut self, event: &Event, id: InstanceId, closing: Closing) -> Vec<Notice> {
        let keys = [Key::Crash(id), Key::CrashLoop(id), Key::InstanceFailed(id)];
        keys.into_iter().filter_map(|key| self.close(key, event, closing)).collect()
    }

    fn close(&mut self, key: Key, event: &Event, closing: Closing) -> Option<Notice> {
        self.resolve(key, event.id, event.at, closing)
    }

    fn resolve(&mut self, key: Key, event: EventNumber, at: Timestamp, closing: Closing) -> Option<Notice> {
        let open = self.open.remove(&key)?;
        let (subject, body) = self.words.resolved(&open, event, at, closing);
        Some(notice(key.to_string(), MailPhase::Resolved, event, at, subject, body))
    }

    fn fire(&mut self, key: Key, mut open: Open, subject: String, body: String) -> Notice {
        open.headline.clone_from(&subject);
        let (event, at) = (open.event, open.since);
        self.open.insert(key, open);
        notice(key.to_string(), MailPhase::Firing, event, at, self.words.firing(&subject), body)
    }
}

fn notice(
    incident: String,
    phase: MailPhase,
    event: EventNumber,
    at: Timestamp,
    subject: String,
    body: String,
) -> Notice {
    Notice { mail: mail_id(&incident, phase, event), incident, phase, event, at, subject, body }
}

/// The namespace of the ids of mails.
const MAILS: Uuid = Uuid::from_u128(0x6b1f_3a52_9c0e_4d7b_8a44_2f61_5de0_7c93);

/// UUID version 5 (RFC 9562, 5.5) of incident, phase and event.
fn mail_id(incident: &str, phase: MailPhase, event: EventNumber) -> Uuid {
    let phase = match phase {
        MailPhase::Firing => "firing",
        MailPhase::Resolved => "resolved",
    };
    Uuid::new_v5(&MAILS, format!("{incident}\n{phase}\n{event}").as_bytes())
}
