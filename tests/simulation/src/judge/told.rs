//! What users and servants are told: nothing that is not stored, and the same to everybody.

use super::Judge;
use crate::jetstream::Message;
use crate::world::packet::Node;
use events::subject::HEADER_ID;
use events::{CommandId, EventNumber, Outcome, Report, ReportId, Verdict, wire};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Default)]
pub(super) struct ToldJudge {
    /// The highest event that an answer named before a command was first sent.
    floors: BTreeMap<CommandId, EventNumber>,
    answered: EventNumber,
    /// Which King answered a command first.
    answerers: BTreeMap<CommandId, Node>,
    verdicts: BTreeSet<ReportId>,
    contents: BTreeMap<ReportId, Vec<u8>>,
    numbered: BTreeSet<ReportId>,
}

impl Judge {
    /// A command is sent, perhaps again.
    pub fn sent(&mut self, id: &CommandId) {
        let answered = self.told.answered;
        self.told.floors.entry(id.clone()).or_insert(answered);
    }

    pub(super) fn floor(&self, id: &CommandId) -> EventNumber {
        self.told.floors.get(id).copied().unwrap_or_default()
    }

    pub(super) fn queued(&mut self, message: &Message, sequence: u64, _: u64) {
        let is_named = message.header(HEADER_ID).is_some();
        self.require(is_named, "queued commands of the simulation have ids", || sequence.to_string());
    }

    /// A King answers a command; whether another King did so before.
    pub fn answers(&mut self, node: Node, id: &CommandId, outcome: &Outcome) -> bool {
        let stored = self.log.outcomes.get(id).cloned();
        self.require(
            stored.as_ref() == Some(outcome),
            "no answer rests on an event that is not stored",
            || format!("{id} was told {outcome:?}; the log says {stored:?}"),
        );
        *self.told.answerers.entry(id.clone()).or_insert(node) != node
    }

    /// A user has an answer.
    pub fn heard(&mut self, id: &CommandId, outcome: &Outcome) {
        let stored = self.log.outcomes.get(id).cloned();
        self.require(stored.as_ref() == Some(outcome), "an answer is the command's own", || {
            format!("{id} heard {outcome:?}; the log says {stored:?}")
        });
        let event = match outcome {
            Outcome::Accepted { event, .. } => *event,
            Outcome::Refused { event, .. } => event.unwrap_or_default(),
        };
        self.told.answered = self.told.answered.max(event);
    }

    /// A King gives its verdicts.
    pub fn judged(&mut self, reports: &[ReportId], verdicts: &[Verdict]) {
        for (id, verdict) in reports.iter().zip(verdicts) {
            let is_stored = self.log.has_report(*id);
            let holds = *verdict != Verdict::Committed || is_stored;
            self.require(holds, "no verdict rests on an event that is not stored", || id.to_string());
            self.told.verdicts.insert(*id);
        }
    }

    /// A number is given to a report.
    pub fn numbered(&mut self, id: ReportId) {
        let is_new = self.told.numbered.insert(id);
        self.require(is_new, "no number of an outbox is used twice", || id.to_string());
    }

    /// A servant sends a report.
    pub fn reports(&mut self, report: &Report, is_on_disk: bool) {
        self.require(is_on_disk, "a report is on the disk before it goes out", || report.id.to_string());
        let bytes = wire::encode(report);
        let same = self.told.contents.entry(report.id).or_insert_with(|| bytes.clone()) == &bytes;
        self.require(same, "no number of an outbox is used twice", || report.id.to_string());
    }

    /// A servant forgets a report: the King has to have judged it.
    pub fn forgets(&mut self, id: ReportId) {
        let is_judged = self.told.verdicts.contains(&id);
        self.require(is_judged, "a report is kept until the King has committed it", || id.to_string());
    }

    /// A mail leaves.
    pub fn mailed(&mut self, mail: uuid::Uuid) {
        let is_planned = self.log.mails.contains(&mail);
        self.require(is_planned, "a mail is planned before it is sent", || mail.to_string());
    }
}
