//! The bytes of a mail: headers, a plain text and the same as simple HTML. The same letter gives the same bytes.
//!
//! What stands in a letter came over the bus from whoever likes: nothing of it may end a header or add one.

mod html;
#[cfg(test)]
mod stories;

use crate::courier::Letter;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message, MultiPart, SinglePart};
use std::time::{Duration, UNIX_EPOCH};
use uuid::Uuid;

/// Longest subject, in characters. Longer ones are cut.
const SUBJECT_CHARACTERS: usize = 200;

/// Why a letter cannot become a mail.
#[derive(Debug, thiserror::Error)]
#[error("mail {mail} cannot be written")]
pub struct ComposeError {
    mail: Uuid,
    #[source]
    source: lettre::error::Error,
}

/// Who writes, for which kingdom.
#[derive(Clone, Debug)]
pub struct Sender {
    pub from: Mailbox,
    /// The right side of Message-IDs and the name of the list.
    pub kingdom: String,
}

impl Sender {
    /// The mail to these recipients.
    ///
    /// # Errors
    /// When there is no recipient.
    pub fn compose(&self, letter: &Letter, to: &[Mailbox]) -> Result<Message, ComposeError> {
        let subject: String = one_line(&letter.subject).chars().take(SUBJECT_CHARACTERS).collect();
        let text = printable(&letter.body);
        let mut mail = Message::builder()
            .from(self.from.clone())
            .date(UNIX_EPOCH + Duration::from_millis(letter.at.0))
            .message_id(Some(self.message_id(letter.mail)))
            .subject(&*subject);
        for mailbox in to {
            mail = mail.to(mailbox.clone());
        }
        if let Some(first) = letter.reply_to {
            let first = self.message_id(first);
            mail = mail.in_reply_to(first.clone()).references(first);
        }
        let html = html::page(&subject, &text);
        let mut mail = mail
            .multipart(alternative(letter.mail, text, html))
            .map_err(|source| ComposeError { mail: letter.mail, source })?;
        for (name, value) in self.marks(letter) {
            mail.headers_mut().insert_raw(HeaderValue::new(HeaderName::new_from_ascii_str(name), value));
        }
        Ok(mail)
    }

    /// `<mail@kingdom>`, the same on every attempt.
    pub fn message_id(&self, mail: Uuid) -> String {
        format!("<{mail}@{}>", self.kingdom)
    }

    /// What tells programs that a program wrote this: RFC 3834 (Auto-Submitted), RFC 2919 (List-Id), and what
    /// Exchange and older responders heed.
    fn marks(&self, letter: &Letter) -> Vec<(&'static str, String)> {
        let mut marks = vec![
            ("Auto-Submitted", "auto-generated".to_owned()),
            ("X-Auto-Response-Suppress", "All".to_owned()),
            ("Precedence", "bulk".to_owned()),
            ("List-Id", format!("<alerts.{}.king>", self.kingdom)),
            ("X-King-Incident", one_line(&letter.incident).chars().take(SUBJECT_CHARACTERS).collect()),
        ];
        marks.extend(letter.event.map(|event| ("X-King-Event", event.to_string())));
        marks
    }
}

fn alternative(mail: Uuid, text: String, html: String) -> MultiPart {
    let part = |kind, body| SinglePart::builder().header(kind).body(body);
    MultiPart::builder()
        .kind(lettre::message::MultiPartKind::Alternative)
        .boundary(format!("king-{}", mail.simple()))
        .singlepart(part(ContentType::TEXT_PLAIN, text))
        .singlepart(part(ContentType::TEXT_HTML, html))
}

/// One line without control characters: fit for a header.
fn one_line(text: &str) -> String {
    let spaced = |character: char| if character.is_control() { ' ' } else { character };
    let line: String = text.chars().map(spaced).collect();
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Lines without other control characters: fit for a body.
fn printable(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    text.chars()
        .map(|character| if character.is_control() && !"\n\t".contains(character) { ' ' } else { character })
        .collect()
}
