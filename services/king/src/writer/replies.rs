//! The way back to whoever waits.

use super::work::ReportWork;
use bus::Bus;
use bus::message::Message;
use events::wire::Format;
use events::{Answer, CommandId, Outcome};

/// Who waits for what.
pub(super) enum Ticket {
    Command { message: Message, format: Format, id: CommandId, outcome: Outcome },
    Reports(ReportWork),
}

/// Sends answers.
#[derive(Clone)]
pub(super) struct Replies(pub Bus);

impl Replies {
    pub async fn answer(&self, ticket: Ticket) {
        match ticket {
            Ticket::Command { message, format, id, outcome } => {
                self.reply(&message, format.encode(&Answer { id: Some(id), outcome })).await;
            }
            Ticket::Reports(work) => {
                let (message, answer) = work.finish();
                self.reply(&message, answer).await;
            }
        }
    }

    /// Whoever asked may be gone, or the link down: the outcome is stored and can be asked for. So the writer never
    /// waits for a link to come back.
    pub async fn reply(&self, message: &Message, payload: Vec<u8>) {
        if !self.0.is_connected() {
            tracing::debug!(subject = &*message.subject, "answer was not sent: the link to NATS is down");
        } else if let Err(error) = self.0.answer(message, payload).await {
            tracing::warn!(%error, subject = &*message.subject, "answer was not sent");
        }
    }
}
