//! What takes time: commands to the King and mails to a server. Each is bounded and tells its outcome.

use crate::courier::{Answered, Letter, Taken};
use crate::incidents::Notice;
use crate::mail::Sender;
use crate::post::Post;
use bus::Bus;
use events::command::alert::MailResult;
use events::command::{AlertCommand, PlanMail, RecordMail};
use events::wire::{Format, encode_order};
use events::{Answer, Order, Refusal, RefusalCode, subject};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// How long the King may take for one command.
const KING_PATIENCE: Duration = Duration::from_secs(5);
/// Who these commands are from.
const ACTOR: &str = "alerter";

/// What came of an errand.
pub(super) enum Outcome {
    Plan(Uuid, Answered),
    Send(Uuid, Vec<(String, Taken)>),
    Record(Uuid, Answered),
}

/// The King repeats what it said to an id, so each refusal that may pass makes another id.
pub(super) async fn plan(bus: Bus, notice: Notice, refusals: u32) -> Outcome {
    let mail = notice.mail;
    let id = match refusals {
        0 => format!("mail-plan-{mail}"),
        refusals => format!("mail-plan-{mail}-{refusals}"),
    };
    let plan = PlanMail {
        mail,
        incident: notice.incident,
        phase: notice.phase,
        subject: notice.subject,
        body: notice.body,
    };
    Outcome::Plan(mail, command(&bus, &id, AlertCommand::Plan(plan)).await)
}

pub(super) async fn record(bus: Bus, mail: Uuid, result: MailResult) -> Outcome {
    let id = format!("mail-sent-{mail}");
    let record = RecordMail { mail, result };
    Outcome::Record(mail, command(&bus, &id, AlertCommand::Record(record)).await)
}

pub(super) async fn send(post: Post, sender: Arc<Sender>, letter: Letter, to: Vec<String>) -> Outcome {
    let taken = post.send(&sender, &letter, to).await;
    for (recipient, taken) in &taken {
        match taken {
            Taken::Yes { via } => tracing::info!(mail = %letter.mail, recipient, via, "mail is sent"),
            Taken::No { reason } => {
                tracing::warn!(mail = %letter.mail, recipient, reason, "mail is refused for good")
            }
            Taken::Later { reason } | Taken::Unknown { reason } => {
                tracing::warn!(mail = %letter.mail, recipient, reason, "mail is tried again")
            }
        }
    }
    Outcome::Send(letter.mail, taken)
}

/// One attempt; under its id it is done once however often it is tried.
async fn command(bus: &Bus, id: &str, order: AlertCommand) -> Answered {
    let order = Order::Alert(order);
    let headers = [(subject::HEADER_ID, id), (subject::HEADER_ACTOR, ACTOR)];
    let answer =
        bus.request(&subject::command(order.kind()), &headers, encode_order(&order), KING_PATIENCE).await;
    let answer: Result<Answer, String> = match answer {
        Ok(message) => Format::MessagePack.decode(&message.payload).map_err(|error| error.reason()),
        Err(error) => Err(error.to_string()),
    };
    match answer.map(|answer| answer.outcome) {
        Ok(events::Outcome::Accepted { .. }) => Answered::Done,
        Ok(events::Outcome::Refused { refusal, .. }) => refused(id, &refusal),
        Err(reason) => {
            tracing::warn!(command = id, reason, "the King did not answer; tried again");
            Answered::Unanswered
        }
    }
}

fn refused(id: &str, refusal: &Refusal) -> Answered {
    match refusal.code {
        RefusalCode::Unavailable => {
            tracing::warn!(command = id, %refusal, "the King is not ready; tried again");
            Answered::Unanswered
        }
        RefusalCode::LimitReached => {
            tracing::warn!(command = id, %refusal, "the King has no room; tried again");
            Answered::Full
        }
        RefusalCode::Unreadable | RefusalCode::Invalid | RefusalCode::Unknown | RefusalCode::Conflict => {
            tracing::warn!(command = id, %refusal, "the King refuses");
            Answered::Refused
        }
    }
}
