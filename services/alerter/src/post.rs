//! Where mails go: to an SMTP server, or to files where none is configured.

mod files;
mod smtp;

pub use files::{Files, FilesError};
pub use smtp::{Smtp, SmtpError, SmtpUrl};

use crate::courier::{Letter, Taken};
use crate::mail::Sender;
use lettre::message::Mailbox;
use std::sync::Arc;

/// One of the two.
#[derive(Clone, Debug)]
pub enum Post {
    Smtp(Arc<Smtp>),
    Files(Arc<Files>),
}

impl Post {
    /// Sends a letter and says what became of it for each recipient. Bounded in time.
    pub async fn send(&self, sender: &Sender, letter: &Letter, to: Vec<String>) -> Vec<(String, Taken)> {
        match self {
            Self::Smtp(smtp) => smtp.send(sender, letter, to).await,
            Self::Files(files) => {
                let taken = files.write(sender, letter, &to);
                to.into_iter().map(|recipient| (recipient, taken.clone())).collect()
            }
        }
    }
}

/// The address of a recipient; they were parsed when the Alerter started.
fn mailbox(recipient: &str) -> Result<Mailbox, Taken> {
    recipient
        .parse()
        .map_err(|error| Taken::No { reason: format!("{recipient:?} is not an address: {error}") })
}

/// An error with its sources, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(error.source(), |source| source.source());
    sources.fold(error.to_string(), |text, source| format!("{text}: {source}"))
}
