//! Commands by which the Alerter records its mails.

use super::Consent;
use super::refuse::{refusal, too_many};
use crate::state::State;
use events::command::alert::MailResult;
use events::command::{AlertCommand, PlanMail, RecordMail};
use events::event::{AlertEvent, MailFailed, MailPlanned, MailSent};
use events::limits::{MAIL_BYTES, TEXT_BYTES};
use events::{Fact, Refusal, RefusalCode};

/// Most mails that may be planned and not yet sent.
pub const MAILS: usize = 10_000;

pub(super) fn decide(state: &State, order: &AlertCommand) -> Result<Consent, Refusal> {
    match order {
        AlertCommand::Plan(order) => plan(state, order),
        AlertCommand::Record(order) => record(state, order),
    }
}

fn plan(state: &State, order: &PlanMail) -> Result<Consent, Refusal> {
    if state.mails.contains_key(&order.mail) {
        let rule = format!("the mail {} is planned already", order.mail);
        return Err(refusal(RefusalCode::Conflict, "mail", rule, "send it, and record what comes of it"));
    }
    if state.mails.len() >= MAILS {
        return Err(too_many("mail", "mails planned and not sent", MAILS));
    }
    check_line("incident", &order.incident)?;
    check_line("subject", &order.subject)?;
    if order.body.len() > MAIL_BYTES {
        let rule = format!("is {} bytes long; at most {MAIL_BYTES}", order.body.len());
        return Err(refusal(RefusalCode::Invalid, "body", rule, "shorten it"));
    }
    Ok(fact(MailPlanned {
        mail: order.mail,
        incident: order.incident.clone(),
        phase: order.phase,
        subject: order.subject.clone(),
        body: order.body.clone(),
    })
    .into())
}

/// A line of a mail's head: short, and with nothing that could begin another.
fn check_line(field: &str, text: &str) -> Result<(), Refusal> {
    if text.is_empty() || text.len() > 512 || text.chars().any(char::is_control) {
        let rule = "has 1 to 512 bytes and no control characters";
        return Err(refusal(RefusalCode::Invalid, field, rule, "shorten and clean it"));
    }
    Ok(())
}

fn record(state: &State, order: &RecordMail) -> Result<Consent, Refusal> {
    if !state.mails.contains_key(&order.mail) {
        let rule = format!("no mail {} is waiting to be sent", order.mail);
        return Err(refusal(RefusalCode::Unknown, "mail", rule, "plan it first; record it once"));
    }
    let (MailResult::Sent { via: text } | MailResult::Failed { reason: text }) = &order.result;
    if text.len() > TEXT_BYTES {
        let rule = format!("is {} bytes long; at most {TEXT_BYTES}", text.len());
        return Err(refusal(RefusalCode::Invalid, "result", rule, "cut it"));
    }
    Ok(match &order.result {
        MailResult::Sent { via } => fact(MailSent { mail: order.mail, via: via.clone() }),
        MailResult::Failed { reason } => fact(MailFailed { mail: order.mail, reason: reason.clone() }),
    }
    .into())
}

fn fact(event: impl Into<AlertEvent>) -> Fact {
    Fact::Alert(event.into())
}
