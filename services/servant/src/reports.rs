//! Reports on their way up: kept in the outbox until the King has committed them, sent in order, as often as it takes.

use bus::outbox::{Outbox, OutboxError};
use bus::{Bus, connect::RequestError};
use events::answer::{ReportAnswer, Verdict};
use events::report::ServantNews;
use events::{Actor, DomainName, News, Refusal, Report, ReportId, ServantId, ServantName, subject, wire};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::Notify;

/// Most reports in one request.
const BATCH: usize = 200;
/// Largest request, well below what is looked at.
const BATCH_BYTES: usize = 256 * 1024;
/// How long an answer may take: it comes after the King's commit.
const ANSWER: Duration = Duration::from_secs(5);
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// Why sending has ended.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The King does not take this servant.
    #[error("the King refuses this servant: {0}")]
    Refused(Refusal),
    #[error("the outbox of reports failed; look at the disk of the data folder")]
    Outbox(#[from] OutboxError),
}

/// Who reports.
#[derive(Clone, Debug)]
pub struct Sender {
    pub servant: ServantId,
    pub name: ServantName,
    pub domain: DomainName,
}

impl Sender {
    fn actor(&self) -> Actor {
        format!("servant:{}", self.name).parse().expect("a name is printable and short")
    }
}

/// The outbox. Clones share it.
#[derive(Clone)]
pub struct Reports {
    sender: Sender,
    outbox: Outbox,
    /// Reports that must not go out yet.
    held: Arc<Mutex<BTreeSet<u64>>>,
    wake: Arc<Notify>,
}

impl Reports {
    /// Opens the outbox.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn open(folder: &Path, sender: Sender) -> Result<Self, OutboxError> {
        let outbox = Outbox::open(folder).await?;
        if let Some(aside) = outbox.set_aside() {
            tracing::error!(aside = %aside.display(), "the outbox was damaged and is set aside; its reports are lost");
        }
        Ok(Self { sender, outbox, held: Arc::default(), wake: Arc::new(Notify::new()) })
    }

    /// Takes a report; durable after the next [`Reports::barrier`], and held back until [`Reports::release`].
    ///
    /// # Errors
    /// When the outbox is full or the disk fails.
    pub fn push(&self, news: impl Into<News>) -> Result<u64, OutboxError> {
        let report = Report {
            // The number is given by the outbox and put in when it is sent.
            id: ReportId { sender: self.sender.servant.0, epoch: 0, number: 0 },
            at: service::clock::now(),
            actor: self.sender.actor(),
            domain: self.sender.domain.clone(),
            news: news.into(),
        };
        tracing::debug!(kind = report.news.kind(), "report");
        // Held before it can be seen: what is pushed shows after the next barrier.
        let number = self.outbox.push(wire::encode(&report))?;
        self.held().insert(number);
        Ok(number)
    }

    /// Makes what was pushed durable.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn barrier(&self) -> Result<(), OutboxError> {
        self.outbox.barrier().await
    }

    /// Waits until the disk fails.
    pub async fn fails(&self) -> OutboxError {
        self.outbox.fails().await
    }

    /// Lets these go out.
    pub fn release(&self, numbers: &[u64]) {
        let mut held = self.held();
        for number in numbers {
            held.remove(number);
        }
        drop(held);
        self.wake.notify_one();
    }

    fn held(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.held.lock().expect("nobody panics with it")
    }

    /// How many reports wait.
    pub fn len(&self) -> usize {
        self.outbox.len()
    }

    /// Whether this one waits: not before the barrier after it.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn is_waiting(&self, number: u64) -> Result<bool, OutboxError> {
        Ok(self.outbox.pending(1)?.first().is_some_and(|(first, _)| *first <= number))
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.outbox.is_empty()
    }

    /// Sends what waits, for ever.
    ///
    /// # Errors
    /// When the King refuses this servant, or the outbox fails.
    pub async fn send(self, bus: Bus) -> Result<(), SendError> {
        let mut wait = FIRST_WAIT;
        loop {
            let reports = match self.next_batch()? {
                Batch::Reports(reports) => reports,
                Batch::Unreadable => continue,
            };
            let Some(last) = reports.last().map(|report| report.id.number) else {
                self.wake.notified().await;
                continue;
            };
            match self.ask(&bus, &reports).await {
                Ok(answer) => {
                    wait = FIRST_WAIT;
                    self.outbox.ack_up_to(last)?;
                    judge(&reports, &answer)?;
                }
                Err(error) => {
                    if wait == FIRST_WAIT {
                        tracing::warn!(%error, waiting = self.len(), "reports wait; trying again until they are taken");
                    }
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(LONGEST_WAIT);
                }
            }
        }
    }

    fn next_batch(&self) -> Result<Batch, OutboxError> {
        let first_held = self.held().first().copied();
        let (batch, dropped) =
            batch(&self.sender, self.outbox.epoch(), self.outbox.pending(BATCH)?, first_held);
        match dropped {
            Some(number) => {
                self.outbox.ack_up_to(number)?;
                Ok(if batch.is_empty() { Batch::Unreadable } else { Batch::Reports(batch) })
            }
            None => Ok(Batch::Reports(batch)),
        }
    }

    async fn ask(&self, bus: &Bus, reports: &Vec<Report>) -> Result<ReportAnswer, AskError> {
        let subject = subject::up(&self.sender.domain, &self.sender.name);
        let message = bus.request(&subject, &[], wire::encode(reports), ANSWER).await?;
        let answer: ReportAnswer = wire::decode(&message.payload)?;
        if answer.verdicts.len() == reports.len() {
            Ok(answer)
        } else {
            Err(AskError::Count { sent: reports.len(), answered: answer.verdicts.len() })
        }
    }
}

/// The reports to send next, in one request, out of what waits; and the last of those before them that nobody can ever
/// read. What is held holds back all that comes after it.
pub fn batch(
    sender: &Sender,
    epoch: u64,
    waiting: Vec<(u64, Vec<u8>)>,
    first_held: Option<u64>,
) -> (Vec<Report>, Option<u64>) {
    let (mut reports, mut dropped, mut bytes) = (Vec::new(), None, 0);
    let first_held = first_held.unwrap_or(u64::MAX);
    for (number, entry) in waiting.into_iter().take(BATCH).take_while(|(number, _)| *number < first_held) {
        bytes += entry.len();
        if bytes > BATCH_BYTES && !reports.is_empty() {
            break;
        }
        match wire::decode::<Report>(&entry) {
            Ok(mut report) => {
                report.id = ReportId { sender: sender.servant.0, epoch, number };
                reports.push(report);
            }
            Err(error) => {
                // Written by another version: nobody can ever take it.
                tracing::error!(number, error = error.reason(), "a report that cannot be read is dropped");
                if !reports.is_empty() {
                    break;
                }
                dropped = Some(number);
            }
        }
    }
    (reports, dropped)
}

/// What is sent next.
enum Batch {
    /// None when none waits.
    Reports(Vec<Report>),
    /// What was looked at could not be read and was dropped; there may be more behind it.
    Unreadable,
}

#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("the Foreman's answer cannot be read")]
    Unreadable(#[from] wire::WireError),
    #[error("{sent} reports were sent and {answered} answered")]
    Count { sent: usize, answered: usize },
}

/// Whether the King takes this servant, by its verdicts.
///
/// # Errors
/// When it refuses the registration.
pub fn judge(reports: &[Report], answer: &ReportAnswer) -> Result<(), SendError> {
    for (report, verdict) in reports.iter().zip(&answer.verdicts) {
        match (verdict, &report.news) {
            (Verdict::Committed | Verdict::Redundant, _) => {}
            (Verdict::Refused(refusal), News::Servant(ServantNews::Register(_))) => {
                return Err(SendError::Refused(refusal.clone()));
            }
            (Verdict::Refused(refusal), news) => {
                tracing::error!(kind = news.kind(), %refusal, "the King refuses a report");
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::InstanceId;
    use events::report::{InstanceNews, Stopped};
    use uuid::Uuid;

    #[tokio::test]
    async fn unreadable_reports_are_dropped_and_do_not_hide_what_is_behind_them() {
        let folder = tempfile::tempdir().unwrap();
        let sender = Sender {
            servant: ServantId(Uuid::from_u128(1)),
            name: "one".parse().unwrap(),
            domain: "default".parse().unwrap(),
        };
        let reports = Reports::open(folder.path(), sender).await.unwrap();
        for _ in 0..BATCH {
            reports.outbox.push(b"\xc1").unwrap();
        }
        let instance = InstanceId(Uuid::from_u128(2));
        let number = reports.push(News::Instance(InstanceNews::Stopped(Stopped { instance }))).unwrap();
        reports.barrier().await.unwrap();
        reports.release(&[number]);
        assert!(matches!(reports.next_batch().unwrap(), Batch::Unreadable));
        assert!(reports.is_waiting(number).unwrap());
        let Batch::Reports(batch) = reports.next_batch().unwrap() else {
            panic!("a report was dropped");
        };
        assert_eq!(batch.iter().map(|report| report.id.number).collect::<Vec<_>>(), [number]);
        reports.outbox.ack_up_to(number).unwrap();
        assert!(!reports.is_waiting(number).unwrap());
    }
}
