//! Reading the stream of output, each line once: first what is stored, then what comes.

use super::entry::Entry;
use super::filter::Filter;
use super::merge::Merger;
use super::seen::{Begin, Seen};
use crate::client::Client;
use crate::failure::Failure;
use anyhow::anyhow;
use bus::logs::{LogTail, Logs, Start};
use events::Timestamp;
use std::time::Duration;
use tokio::time::timeout;

/// How long to wait for output that the server says it has.
const HISTORY_PATIENCE: Duration = Duration::from_secs(10);
/// Batches that are looked at first for the last lines; each further look takes four times as many.
const FIRST_LOOK: u64 = 4;
/// How much earlier than its lines say a batch may be stored: hosts may differ by so much in their clocks.
const SKEW_MS: u64 = 60_000;

/// How much of what is stored is wanted.
#[derive(Clone, Copy, Debug)]
pub enum Extent {
    /// The last so many lines.
    Last(usize),
    /// From here on, or the last so many of these.
    Since(Timestamp, Option<usize>),
}

/// Reads lines in order, each once.
pub struct Reader {
    logs: Logs,
    subject: String,
    tail: LogTail,
    seen: Seen,
    /// Batches that are stored and not read yet.
    pending: u64,
}

/// Whether all that is stored was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum History {
    Read,
    /// The merger has as much as it may hold: its older half is to be taken, then there is more.
    Goes,
}

impl Reader {
    pub async fn open(client: &Client, subject: &str, extent: Extent) -> Result<Self, Failure> {
        let logs = Logs::open(&client.bus).await.map_err(|error| anyhow!(error))?;
        let start = match extent {
            Extent::Last(0) => Start::New,
            Extent::Last(_) => Start::Last(FIRST_LOOK),
            Extent::Since(since, _) => Start::Since(Timestamp(since.0.saturating_sub(SKEW_MS))),
        };
        let (tail, seen) = begin(&logs, subject, start).await?;
        let pending = tail.backlog();
        Ok(Self { logs, subject: subject.to_owned(), tail, seen, pending })
    }

    /// Whether anything is stored of what is to be read.
    pub fn has_any(&self) -> bool {
        self.tail.backlog() > 0
    }

    /// What is stored, as far as it is wanted and the merger can hold it.
    pub async fn history(
        &mut self,
        filter: &Filter,
        extent: Extent,
        merger: &mut Merger,
    ) -> Result<History, Failure> {
        match extent {
            Extent::Last(0) => Ok(History::Read),
            Extent::Last(lines) => self.last(filter, lines, merger).await,
            Extent::Since(_, lines) => self.stored(filter, lines, merger).await,
        }
    }

    /// Looks further and further back until there are enough.
    async fn last(&mut self, filter: &Filter, lines: usize, merger: &mut Merger) -> Result<History, Failure> {
        let mut batches = FIRST_LOOK;
        loop {
            self.stored(filter, Some(lines), merger).await?;
            if merger.lines() >= lines || self.tail.backlog() < batches {
                return Ok(History::Read);
            }
            batches = batches.saturating_mul(4);
            (self.tail, self.seen) = begin(&self.logs, &self.subject, Start::Last(batches)).await?;
            self.pending = self.tail.backlog();
            *merger = Merger::default();
        }
    }

    /// Everything from where the tail began up to what is stored now.
    async fn stored(
        &mut self,
        filter: &Filter,
        lines: Option<usize>,
        merger: &mut Merger,
    ) -> Result<History, Failure> {
        while self.pending > 0 {
            let entry = timeout(HISTORY_PATIENCE, self.tail.next()).await.map_err(|_| self.stuck())?;
            let entry = entry.map_err(|error| anyhow!(error))?;
            self.pending = entry.pending;
            merger.add(self.seen.fresh(entry).into_iter().filter(|entry| filter.takes(entry)));
            match lines {
                Some(lines) if merger.lines() > lines.saturating_mul(2) => merger.keep_last(lines),
                None if merger.is_full() => return Ok(History::Goes),
                Some(_) | None => {}
            }
        }
        if let Some(lines) = lines {
            merger.keep_last(lines);
        }
        Ok(History::Read)
    }

    fn stuck(&self) -> Failure {
        let pending = self.pending;
        Failure::Failed(anyhow!(
            "the server says that {pending} more batches of output are stored, and did not send them within {} s; try again",
            HISTORY_PATIENCE.as_secs()
        ))
    }

    /// What comes next, whenever it comes.
    pub async fn next(&mut self) -> Result<Vec<Entry>, Failure> {
        let entry = self.tail.next().await.map_err(|error| anyhow!(error))?;
        Ok(self.seen.fresh(entry))
    }
}

async fn begin(logs: &Logs, subject: &str, start: Start) -> Result<(LogTail, Seen), Failure> {
    let tail = logs.tail(subject, start).await.map_err(|error| anyhow!(error))?;
    let begin = if tail.is_whole() { Begin::Oldest } else { Begin::Midway };
    Ok((tail, Seen::new(begin)))
}
