//! One mail and how far it is.

use super::Action;
use super::pause::{self, Pace};
use crate::incidents::Notice;
use events::command::alert::{MailPhase, MailResult};
use events::event::MailPlanned;
use events::limits::TEXT_BYTES;
use events::{EventNumber, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// Most attempts of which nobody knows whether they were taken: more would only be more copies.
const COPIES: u32 = 3;

/// What the King said to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    Done,
    /// It will never be taken.
    Refused,
    /// Not now; this answer stands under the command's id, so the next attempt needs another.
    Full,
    /// No answer: unknown, to be asked again under the same id.
    Unanswered,
}

/// What became of a mail for one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// By this server or into this file.
    Yes { via: String },
    /// Refused for good.
    No { reason: String },
    /// Not now.
    Later { reason: String },
    /// Nobody knows: the mail may have been taken, so another attempt may be another copy.
    Unknown { reason: String },
}

/// A mail as it is sent, the same on every attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct Letter {
    pub mail: Uuid,
    pub incident: String,
    pub phase: MailPhase,
    /// The event that the mail tells of, where it is known.
    pub event: Option<EventNumber>,
    /// When it was planned.
    pub at: Timestamp,
    pub subject: String,
    pub body: String,
    /// The mail that told of the incident's beginning.
    pub reply_to: Option<Uuid>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Stage {
    /// Not in the log yet.
    Wanted,
    /// Its plan is with the King.
    Planning,
    /// The King took the plan; the log will show it.
    AwaitingPlan,
    /// In the log; to be sent.
    Planned,
    Sending,
    /// To be recorded.
    Sent(MailResult),
    /// Its record is with the King.
    Recording(MailResult),
}

#[derive(Clone, Debug)]
pub(super) struct Item {
    pub mail: Uuid,
    pub incident: String,
    pub phase: MailPhase,
    pub at: Timestamp,
    pub stage: Stage,
    pub due_at: u64,
    event: Option<EventNumber>,
    subject: String,
    body: String,
    reply_to: Option<Uuid>,
    attempts: u32,
    /// How often its plan was refused and is to be tried under another id.
    pub refusals: u32,
    first_sent_at: Option<u64>,
    recipients: BTreeMap<String, Taken>,
    /// Attempts for a recipient after which nobody knew.
    unknown: BTreeMap<String, u32>,
}

impl Item {
    pub(super) fn wanted(notice: Notice) -> Self {
        Self {
            mail: notice.mail,
            incident: notice.incident,
            phase: notice.phase,
            at: notice.at,
            stage: Stage::Wanted,
            due_at: 0,
            event: Some(notice.event),
            subject: notice.subject,
            body: notice.body,
            reply_to: None,
            attempts: 0,
            refusals: 0,
            first_sent_at: None,
            recipients: BTreeMap::new(),
            unknown: BTreeMap::new(),
        }
    }

    /// A plan in the log that no incident called for here: it is sent all the same.
    pub(super) fn unknown(planned: &MailPlanned) -> Self {
        let wanted = Self::wanted(Notice {
            mail: planned.mail,
            incident: planned.incident.clone(),
            phase: planned.phase,
            event: 0,
            at: Timestamp(0),
            subject: planned.subject.clone(),
            body: planned.body.clone(),
        });
        Self { event: None, ..wanted }
    }

    pub(super) fn is_unplanned(&self) -> bool {
        match self.stage {
            Stage::Wanted | Stage::Planning => true,
            Stage::AwaitingPlan | Stage::Planned | Stage::Sending | Stage::Sent(_) | Stage::Recording(_) => {
                false
            }
        }
    }

    pub(super) fn is_unsent(&self) -> bool {
        match self.stage {
            Stage::Wanted | Stage::Planning | Stage::AwaitingPlan | Stage::Planned | Stage::Sending => true,
            Stage::Sent(_) | Stage::Recording(_) => false,
        }
    }

    /// From here on the log's words count.
    pub(super) fn plan(
        &mut self,
        planned: &MailPlanned,
        at: Timestamp,
        reply_to: Option<Uuid>,
        recipients: &[String],
    ) {
        self.subject.clone_from(&planned.subject);
        self.body.clone_from(&planned.body);
        (self.at, self.reply_to) = (at, reply_to);
        (self.stage, self.due_at, self.attempts) = (Stage::Planned, 0, 0);
        let waiting = || Taken::Later { reason: "not tried yet".to_owned() };
        self.recipients = recipients.iter().map(|recipient| (recipient.clone(), waiting())).collect();
    }

    pub(super) fn start(&mut self) -> Option<Action> {
        let (stage, action) = match &self.stage {
            Stage::Wanted => (Stage::Planning, Action::Plan(self.notice(), self.refusals)),
            Stage::Planned => (Stage::Sending, Action::Send(self.letter(), self.waiting())),
            Stage::Sent(result) => {
                (Stage::Recording(result.clone()), Action::Record(self.mail, result.clone()))
            }
            Stage::Planning | Stage::AwaitingPlan | Stage::Sending | Stage::Recording(_) => return None,
        };
        self.stage = stage;
        Some(action)
    }

    pub(super) fn wait(&mut self, stage: Stage, now: u64, pace: Pace) {
        self.attempts += 1;
        self.stage = stage;
        self.due_at = now + pause::after(self.attempts, self.mail, pace);
    }

    pub(super) fn sent(&mut self, taken: Vec<(String, Taken)>, now: u64, patience_ms: u64) {
        let first = *self.first_sent_at.get_or_insert(now);
        for (recipient, taken) in taken {
            if matches!(taken, Taken::Unknown { .. }) {
                *self.unknown.entry(recipient.clone()).or_default() += 1;
            }
            self.recipients.insert(recipient, taken);
        }
        let given_up = now.saturating_sub(first) >= patience_ms;
        if !given_up && !self.waiting().is_empty() {
            self.wait(Stage::Planned, now, pause::MAIL);
            return;
        }
        self.stage = Stage::Sent(self.result());
        (self.due_at, self.attempts) = (0, 0);
    }

    fn waiting(&self) -> Vec<String> {
        self.recipients
            .iter()
            .filter(|(who, taken)| self.waits(who, taken))
            .map(|(who, _)| who.clone())
            .collect()
    }

    fn waits(&self, recipient: &str, taken: &Taken) -> bool {
        match taken {
            Taken::Yes { .. } | Taken::No { .. } => false,
            Taken::Later { .. } => true,
            Taken::Unknown { .. } => self.unknown.get(recipient).is_none_or(|count| *count < COPIES),
        }
    }

    /// Sent when anybody has it; what the others' servers said stands beside it.
    fn result(&self) -> MailResult {
        let (mut vias, mut reasons) = (BTreeSet::new(), Vec::new());
        for (recipient, taken) in &self.recipients {
            match taken {
                Taken::Yes { via } => drop(vias.insert(via.as_str())),
                Taken::No { reason } => reasons.push(format!("{recipient}: {reason}")),
                Taken::Later { reason } => {
                    reasons.push(format!("{recipient}: given up; the last time: {reason}"))
                }
                Taken::Unknown { reason } => reasons.push(format!(
                    "{recipient}: given up, though it may have been taken; the last time: {reason}"
                )),
            }
        }
        let reasons = reasons.join("; ");
        let via = vias.into_iter().collect::<Vec<_>>().join(", ");
        match (via.is_empty(), reasons.is_empty()) {
            (true, _) => MailResult::Failed { reason: cut(reasons) },
            (false, true) => MailResult::Sent { via: cut(via) },
            (false, false) => MailResult::Sent { via: cut(format!("{via}; not taken by {reasons}")) },
        }
    }

    fn notice(&self) -> Notice {
        Notice {
            mail: self.mail,
            incident: self.incident.clone(),
            phase: self.phase,
            event: self.event.unwrap_or_default(),
            at: self.at,
            subject: self.subject.clone(),
            body: self.body.clone(),
        }
    }

    fn letter(&self) -> Letter {
        Letter {
            mail: self.mail,
            incident: self.incident.clone(),
            phase: self.phase,
            event: self.event,
            at: self.at,
            subject: self.subject.clone(),
            body: self.body.clone(),
            reply_to: self.reply_to,
        }
    }
}

/// The log takes texts of this length.
fn cut(mut text: String) -> String {
    if text.len() > TEXT_BYTES {
        let end = (0..=TEXT_BYTES).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
    }
    text
}
