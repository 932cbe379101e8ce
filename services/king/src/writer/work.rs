//! Work: messages turned into inputs, and the answers that they will get.

use bus::message::Message;
use bus::tail::Entry;
use events::answer::ReportAnswer;
use events::limits::REPORTS_PER_BATCH;
use events::subject::{
    HEADER_ACTOR, HEADER_CONTENT_TYPE, HEADER_ID, HEADER_PLAN, HEADER_SCHEMA, domain_of_report, kind_of,
};
use events::wire::Format;
use events::{
    Actor, Answer, Command, CommandId, DomainName, Outcome, Refusal, RefusalCode, Report, ReportBatch,
    Verdict, wire,
};
use service::clock;
use uuid::Uuid;

/// A message of the inbox or of a request, as far as a command needs it.
pub trait Envelope {
    fn subject(&self) -> &str;
    fn header(&self, name: &str) -> Option<&str>;
    fn payload(&self) -> &[u8];
}

impl Envelope for Message {
    fn subject(&self) -> &str {
        &self.subject
    }
    fn header(&self, name: &str) -> Option<&str> {
        Message::header(self, name)
    }
    fn payload(&self) -> &[u8] {
        &self.payload
    }
}

impl Envelope for Entry {
    fn subject(&self) -> &str {
        Entry::subject(self)
    }
    fn header(&self, name: &str) -> Option<&str> {
        Entry::header(self, name)
    }
    fn payload(&self) -> &[u8] {
        &self.payload
    }
}

/// In which format a message is, and its answer shall be.
pub fn format_of(envelope: &impl Envelope) -> Format {
    Format::of(envelope.header(HEADER_CONTENT_TYPE), envelope.payload())
}

/// What stands before the kind of a command in a question for its plan.
pub const PLAN_PREFIX: &str = "plan.";

/// Reads a message as a command, or as a question for the plan of one. `default_id` is its id when it names none.
///
/// # Errors
/// The refusal to answer with; nothing of it is stored.
pub fn read_command(
    envelope: &impl Envelope,
    default_id: impl FnOnce() -> CommandId,
) -> Result<Command, Box<Refusal>> {
    let kind = kind_of(envelope.subject()).unwrap_or_default();
    let kind = kind.strip_prefix(PLAN_PREFIX).unwrap_or(kind);
    let id = match envelope.header(HEADER_ID) {
        Some(text) => {
            text.parse().map_err(|error| unreadable("id", &error, "send a shorter, printable Nats-Msg-Id"))?
        }
        None => default_id(),
    };
    let actor = match envelope.header(HEADER_ACTOR) {
        Some(text) => {
            text.parse().map_err(|error| unreadable("actor", &error, "send a printable King-Actor"))?
        }
        None => Actor::anonymous(),
    };
    let schema = match envelope.header(HEADER_SCHEMA) {
        Some(text) => {
            text.parse().map_err(|error| unreadable("schema", &error, "send a number as King-Schema"))?
        }
        None => 1,
    };
    let plan = match envelope.header(HEADER_PLAN) {
        Some(text) => {
            let fix = "send the token of a plan as King-Plan, or leave it out";
            Some(text.parse().map_err(|error| unreadable("plan", &error, fix))?)
        }
        None => None,
    };
    let order = format_of(envelope).decode_order(kind, schema, envelope.payload()).map_err(|error| {
        let fix = "compare it with the commands that the documentation lists";
        Box::new(refuse(RefusalCode::Unreadable, "command", format!("{kind}: {}", error.reason()), fix))
    })?;
    Ok(Command { id, actor, order, plan })
}

fn unreadable(field: &str, error: &impl std::fmt::Display, fix: &str) -> Box<Refusal> {
    Box::new(refuse(RefusalCode::Unreadable, field, error.to_string(), fix))
}

fn refuse(code: RefusalCode, field: &str, rule: String, fix: &str) -> Refusal {
    Refusal { code, field: field.to_owned(), rule, fix: fix.to_owned() }
}

/// The id of a queued command that names none: the same however often it is read.
pub fn queued_id(inbox_created_at: &str, sequence: u64) -> CommandId {
    let name = format!("{inbox_created_at}/{sequence}");
    CommandId::from_uuid(Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()))
}

/// A fresh id, for a request that names none.
pub fn fresh_command_id() -> CommandId {
    CommandId::from_uuid(clock::fresh_id())
}

/// The answer to a message that is no command.
pub fn unreadable_answer(refusal: Refusal) -> Answer {
    Answer { id: None, outcome: Outcome::Refused { event: None, refusal } }
}

/// A batch of reports on its way through the machine, one report at a time.
pub struct ReportWork {
    pub message: Message,
    /// The domain whose Foreman sends it.
    domain: Option<DomainName>,
    reports: std::vec::IntoIter<Report>,
    verdicts: Vec<Verdict>,
}

/// A message that is no batch of reports.
pub struct UnreadableReports {
    pub message: Message,
    pub reason: String,
}

impl ReportWork {
    /// Reads a batch.
    ///
    /// # Errors
    /// Why the message is none.
    pub fn read(message: Message) -> Result<Self, Box<UnreadableReports>> {
        match Format::MessagePack.decode::<ReportBatch>(&message.payload) {
            Ok(ReportBatch(reports)) if reports.len() > REPORTS_PER_BATCH => {
                let reason = format!("{} reports; at most {REPORTS_PER_BATCH}", reports.len());
                Err(Box::new(UnreadableReports { message, reason }))
            }
            Ok(ReportBatch(reports)) => {
                let (domain, verdicts) =
                    (domain_of_report(&message.subject), Vec::with_capacity(reports.len()));
                Ok(Self { message, domain, reports: reports.into_iter(), verdicts })
            }
            Err(error) => Err(Box::new(UnreadableReports { reason: error.reason(), message })),
        }
    }

    /// The next report to take.
    pub fn next_report(&mut self) -> Option<Report> {
        self.reports.next()
    }

    /// The refusal of a report that does not belong to the domain whose Foreman sends it.
    pub fn misplaced(&self, report: &Report) -> Option<Refusal> {
        if self.domain.as_ref() == Some(&report.domain) {
            return None;
        }
        let rule = format!("a report of the domain {:?} came by {:?}", report.domain, self.message.subject);
        Some(refuse(RefusalCode::Invalid, "domain", rule, "send it to the Foreman of its own domain"))
    }

    /// What became of the report taken last.
    pub fn push(&mut self, verdict: Verdict) {
        self.verdicts.push(verdict);
    }

    /// The message to answer, and the answer.
    pub fn finish(self) -> (Message, Vec<u8>) {
        (self.message, wire::encode(&ReportAnswer { verdicts: self.verdicts }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(subject: &str, headers: &[(&str, &str)], payload: &[u8]) -> Message {
        Message::build(subject, None, headers, payload.to_vec()).unwrap()
    }

    fn refusal(message: &Message) -> Refusal {
        *read_command(message, fresh_command_id).unwrap_err()
    }

    #[test]
    fn json_from_any_client_is_a_command() {
        let message = message("king.cmd.app.deploy", &[], br#" {"app":"shop","version":"1.4.0","count":2}"#);
        let command = read_command(&message, fresh_command_id).unwrap();
        assert_eq!((command.order.kind(), command.actor), ("app.deploy", Actor::anonymous()));
    }

    #[test]
    fn what_cannot_be_read_is_refused_by_name() {
        let cases: [(&str, &[u8], &str); 9] = [
            ("king.cmd.app.create", br#"{"app":"shop","colour":"red"}"#, "unknown field `colour`"),
            ("king.cmd.app.create", br#"{"app":"sh.op"}"#, "is not a name"),
            ("king.cmd.app.create", br#"{"app":"../up"}"#, "is not a name"),
            ("king.cmd.app.create", br#"{"app":"shop""#, "EOF"),
            ("king.cmd.app.create", b"app=shop", "not the JSON"),
            ("king.cmd.app.create", b"\x81\xa3app", "not the MessagePack"),
            ("king.cmd.app.deploy", br#"{"app":"shop","version":"one"}"#, "unexpected character"),
            (
                "king.cmd.app.deploy",
                br#"{"app":"shop","version":"1.0.0","count":-1}"#,
                "invalid value: integer `-1`",
            ),
            ("king.cmd.app.explode", b"{}", "is unknown; known: app.create"),
        ];
        for (subject, payload, expected) in cases {
            let refusal = refusal(&message(subject, &[], payload));
            assert!(refusal.rule.contains(expected), "{refusal}: expected {expected}");
        }
    }

    #[test]
    fn headers_are_checked() {
        let long = "x".repeat(129);
        for (header, value, field) in [(HEADER_ID, long.as_str(), "id"), (HEADER_PLAN, "1", "plan")] {
            let refusal = refusal(&message("king.cmd.app.create", &[(header, value)], br#"{"app":"a"}"#));
            assert_eq!(refusal.field, field);
        }
    }

    #[test]
    fn a_queued_command_has_the_same_id_each_time_it_is_read() {
        assert_eq!(queued_id("2026-11-20T10:00:00Z", 7), queued_id("2026-11-20T10:00:00Z", 7));
        assert_ne!(queued_id("2026-11-20T10:00:00Z", 7), queued_id("2026-11-20T10:00:00Z", 8));
    }
}
