//! Notices: mails about the log itself. They go out without the log, for it is what is wrong; so the Alerter keeps a record of
//! its own of which it has sent.

use crate::courier::{Letter, Taken};
use crate::mail::Sender;
use crate::post::Post;
use bus::Bus;
use bus::connect::SubscribeError;
use events::command::alert::MailPhase;
use events::notice::{Notice, Standing};
use events::{subject, wire};
use serde::{Deserialize, Serialize};
use service::data::{FolderError, write_synced};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// Most troubles that are remembered; the oldest are forgotten first.
const REMEMBERED: usize = 256;
/// How long after a mail that was not taken the next is tried. Notices are repeated, so none is lost by waiting.
const PAUSE: Duration = Duration::from_secs(5);

/// Why notices cannot be heard or remembered.
#[derive(Debug, thiserror::Error)]
pub enum NoticeError {
    #[error("notices cannot be heard")]
    Subscribe(#[from] SubscribeError),
    #[error("the record of notices cannot be read from {path}; remove it, and what stands is mailed once more", path = path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the record of notices cannot be written")]
    Unwritable(#[from] FolderError),
}

/// What was mailed of one trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Mailed {
    id: Uuid,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Phase {
    Begun,
    Over,
}

/// Hears notices and mails each once.
pub struct Notices {
    pub bus: Bus,
    pub post: Post,
    pub sender: Arc<Sender>,
    pub to: Vec<String>,
    /// The record.
    pub path: PathBuf,
}

impl Notices {
    /// Works for ever.
    ///
    /// # Errors
    /// When notices cannot be heard, or the record not be kept.
    pub async fn run(self) -> Result<(), NoticeError> {
        let mut record = self.read()?;
        let mut heard = self.bus.subscribe(subject::NOTICES).await?;
        let mut not_before = Instant::now();
        while let Some(message) = heard.next().await {
            let notice: Notice = match wire::decode(&message.payload) {
                Ok(notice) => notice,
                Err(error) => {
                    tracing::warn!(reason = error.reason(), "a notice cannot be read");
                    continue;
                }
            };
            if !is_due(&record, &notice) || Instant::now() < not_before {
                continue;
            }
            if self.mail(&notice).await {
                remember(&mut record, &notice);
                self.write(&record)?;
            } else {
                not_before = Instant::now() + PAUSE;
            }
        }
        Ok(())
    }

    /// Whether anybody has it.
    async fn mail(&self, notice: &Notice) -> bool {
        let letter = letter(notice, &self.sender.kingdom);
        let taken = self.post.send(&self.sender, &letter, self.to.clone()).await;
        for (recipient, taken) in &taken {
            tracing::warn!(recipient, ?taken, subject = letter.subject, "a mail about the log");
        }
        taken.iter().any(|(_, taken)| matches!(taken, Taken::Yes { .. } | Taken::Unknown { .. }))
    }

    fn read(&self) -> Result<Vec<Mailed>, NoticeError> {
        let path = || self.path.clone();
        match std::fs::read(&self.path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|error| NoticeError::Unreadable { path: path(), source: error.into() }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(source) => Err(NoticeError::Unreadable { path: path(), source }),
        }
    }

    fn write(&self, record: &[Mailed]) -> Result<(), NoticeError> {
        let bytes = serde_json::to_vec(record).expect("a record of ids is JSON");
        Ok(write_synced(&self.path, &bytes, 0o600)?)
    }
}

fn is_due(record: &[Mailed], notice: &Notice) -> bool {
    let phase = record.iter().rev().find(|mailed| mailed.id == notice.id).map(|mailed| mailed.phase);
    match (notice.standing, phase) {
        (Standing::Standing, None | Some(Phase::Over)) | (Standing::Over, Some(Phase::Begun)) => true,
        (Standing::Standing, Some(Phase::Begun)) | (Standing::Over, None | Some(Phase::Over)) => false,
    }
}

fn remember(record: &mut Vec<Mailed>, notice: &Notice) {
    record.retain(|mailed| mailed.id != notice.id);
    let phase = match notice.standing {
        Standing::Standing => Phase::Begun,
        Standing::Over => Phase::Over,
    };
    record.push(Mailed { id: notice.id, phase });
    let surplus = record.len().saturating_sub(REMEMBERED);
    record.drain(..surplus);
}

fn letter(notice: &Notice, kingdom: &str) -> Letter {
    let (subject, body) = if notice.sequence == 0 { of_a_copy(notice) } else { of_the_log(notice) };
    let (mail, phase, reply_to) = match notice.standing {
        Standing::Standing => (notice.id, MailPhase::Firing, None),
        Standing::Over => (Uuid::new_v5(&notice.id, b"over"), MailPhase::Resolved, Some(notice.id)),
    };
    let subject = format!("[{kingdom}] {subject}");
    let incident = "log-damaged".to_owned();
    Letter { mail, incident, phase, event: None, at: notice.at, subject, body, reply_to }
}

/// A server has not all of the log, and the others do.
fn of_a_copy(notice: &Notice) -> (&'static str, String) {
    match notice.standing {
        Standing::Standing => (
            "a copy of the log is missing",
            format!(
                "{}.\n\nKing {} noticed it; everything goes on meanwhile.\n",
                notice.finding, notice.king
            ),
        ),
        Standing::Over => ("every copy of the log is there again", format!("It was: {}.\n", notice.finding)),
    }
}

fn of_the_log(notice: &Notice) -> (&'static str, String) {
    match notice.standing {
        Standing::Standing => (
            "the log is damaged: no King writes",
            format!(
                "{}.\n\nThe first commit that cannot be trusted is {}. King {} noticed it and writes nothing more; what \
                 runs goes on running.\n\nCompare log and journal:\n  kingctl king verify --journal <its data folder>/king/journal\n\
                 Then rebuild the log from the journals of all Kings that you have:\n  kingctl king repair --journal <its data \
                 folder>/king/journal --journal <that of another>\n",
                notice.finding, notice.sequence, notice.king
            ),
        ),
        Standing::Over => (
            "the log is whole again",
            format!(
                "The log holds again what King {} has seen of it.\n\nIt was: {}.\n",
                notice.king, notice.finding
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::{KingId, Timestamp};

    fn notice(id: u128, standing: Standing) -> Notice {
        let finding = "the log is gone".to_owned();
        Notice {
            id: Uuid::from_u128(id),
            king: KingId(Uuid::nil()),
            at: Timestamp(1),
            standing,
            finding,
            sequence: 1,
        }
    }

    #[test]
    fn each_trouble_is_mailed_once_and_its_end_once() {
        let mut record = Vec::new();
        let (begun, over) = (notice(1, Standing::Standing), notice(1, Standing::Over));
        assert!(!is_due(&record, &over), "an end without a beginning is no news");
        assert!(is_due(&record, &begun));
        remember(&mut record, &begun);
        assert!(!is_due(&record, &begun) && is_due(&record, &over));
        remember(&mut record, &over);
        assert!(!is_due(&record, &over) && is_due(&record, &begun), "it may happen again");
        assert!(is_due(&record, &notice(2, Standing::Standing)));
    }

    #[test]
    fn the_record_is_bounded_and_forgets_the_oldest() {
        let mut record = Vec::new();
        (0..=REMEMBERED as u128).for_each(|id| remember(&mut record, &notice(id, Standing::Standing)));
        assert_eq!(record.len(), REMEMBERED);
        assert!(is_due(&record, &notice(0, Standing::Standing)));
        assert!(!is_due(&record, &notice(1, Standing::Standing)));
    }

    #[test]
    fn the_end_answers_the_beginning() {
        let (begun, over) =
            (letter(&notice(1, Standing::Standing), "k"), letter(&notice(1, Standing::Over), "k"));
        assert_eq!(over.reply_to, Some(begun.mail));
        assert_ne!(over.mail, begun.mail);
        assert!(begun.subject.contains("no King writes"), "{}", begun.subject);
    }

    #[test]
    fn a_missing_copy_stops_nobody() {
        let of = |standing| letter(&Notice { sequence: 0, ..notice(1, standing) }, "k");
        let (begun, over) = (of(Standing::Standing), of(Standing::Over));
        assert!(begun.subject.contains("a copy") && begun.body.contains("goes on"), "{begun:?}");
        assert!(over.subject.contains("there again") && over.reply_to == Some(begun.mail), "{over:?}");
    }
}
