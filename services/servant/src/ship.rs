//! Shipping: the output of an instance from its spool to `KING_LOGS`, in order, each line at least once. A reader tells
//! repeated lines by their numbers.

use crate::keeper::InstanceFolder;
use crate::spool::{Batch, SpoolReader};
use bus::Bus;
use bus::logs::Logs;
use events::log::{LogBatch, LogLine};
use events::subject::{self, Output};
use events::{AppName, DomainName};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// Most lines and bytes in one message.
const LINES: usize = 1000;
const BYTES: usize = 256 * 1024;
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// The spool is looked at this often even when nobody says that there is something.
const LOOK: Duration = Duration::from_secs(2);

/// A handle on the shipping of one instance.
#[derive(Clone, Debug, Default)]
pub struct Shipping {
    wake: Arc<Notify>,
    is_closing: Arc<AtomicBool>,
}

impl Shipping {
    /// There may be new lines.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Nothing more will come: ship what is there, then remove the folder.
    pub fn close(&self) {
        self.is_closing.store(true, Ordering::SeqCst);
        self.wake();
    }
}

/// Whose output it is.
pub struct Shipper {
    bus: Bus,
    domain: DomainName,
    app: AppName,
    folder: InstanceFolder,
    logs: Option<Logs>,
}

impl Shipper {
    /// Reads from this folder, writes to this bus.
    pub fn new(bus: Bus, domain: DomainName, app: AppName, folder: InstanceFolder) -> Self {
        Self { bus, domain, app, folder, logs: None }
    }

    /// Ships until it is closed and everything is shipped.
    pub async fn run(mut self, shipping: Shipping) {
        let next = self.folder.next_to_ship();
        let mut streams = Output::ALL.map(|output| Stream {
            output,
            reader: Some(SpoolReader::open(&self.folder.path, output, next[output as usize])),
        });
        let mut next = next;
        let mut wait = FIRST_WAIT;
        loop {
            // Read before the spool: what comes after it is woken up for.
            let is_closing = shipping.is_closing.load(Ordering::SeqCst);
            match self.round(&mut streams, &mut next).await {
                Ok(true) => wait = FIRST_WAIT,
                Ok(false) if is_closing => break,
                Ok(false) => {
                    // Not to be woken up is no error: the next look finds it.
                    let _ = tokio::time::timeout(LOOK, shipping.wake.notified()).await;
                }
                Err(error) => {
                    tracing::warn!(instance = %self.folder.instance, %error, "output waits in the spool");
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(LONGEST_WAIT);
                }
            }
        }
        if let Err(error) = self.folder.remove() {
            tracing::warn!(instance = %self.folder.instance, %error, "the folder of an instance could not be removed");
        }
    }

    /// One batch of each stream; says whether there was any.
    async fn round(&mut self, streams: &mut [Stream; 2], next: &mut [u64; 2]) -> io::Result<bool> {
        let mut any = false;
        for stream in streams {
            let Some(batch) = stream.read().await? else {
                continue;
            };
            any = true;
            self.ship(stream.output, &batch).await;
            next[stream.output as usize] = batch.first + batch.lines.len() as u64;
            self.folder.keep_next_to_ship(*next)?;
            stream.forget_before(next[stream.output as usize])?;
        }
        Ok(any)
    }

    async fn ship(&mut self, output: Output, batch: &Batch) {
        if let Some(gap) = gap(batch) {
            self.append(output, gap).await;
        }
        self.append(output, LogBatch { first: batch.first, lines: batch.lines.clone() }).await;
    }

    /// Until it is stored. The id holds the count too: the same first line may come back in a longer batch.
    async fn append(&mut self, output: Output, batch: LogBatch) {
        let instance = self.folder.instance;
        let subject = subject::log(&self.domain, &self.app, instance, output);
        let id = format!("{instance}/{output}/{}+{}", batch.first, batch.lines.len());
        let mut wait = FIRST_WAIT;
        loop {
            let error = match self.try_append(&subject, &id, &batch).await {
                Ok(()) => return,
                Err(error) => error,
            };
            if wait == FIRST_WAIT {
                tracing::warn!(%instance, error, "output waits in the spool; trying again until it is stored");
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }
}

impl Shipper {
    /// The stream may not be there yet: it is opened when it is needed.
    async fn try_append(&mut self, subject: &str, id: &str, batch: &LogBatch) -> Result<(), String> {
        let logs = match &self.logs {
            Some(logs) => logs,
            None => self.logs.insert(Logs::open(&self.bus).await.map_err(|error| error.to_string())?),
        };
        logs.append(subject, id, batch).await.map(|_| ()).map_err(|error| error.to_string())
    }
}

struct Stream {
    output: Output,
    /// Taken while it reads aside.
    reader: Option<SpoolReader>,
}

impl Stream {
    async fn read(&mut self) -> io::Result<Option<Batch>> {
        let mut reader = self.reader.take().expect("put back after each read");
        let (reader, batch) = tokio::task::spawn_blocking(move || {
            let batch = reader.read(LINES, BYTES);
            (reader, batch)
        })
        .await
        .map_err(io::Error::other)?;
        self.reader = Some(reader);
        batch
    }

    fn forget_before(&self, number: u64) -> io::Result<()> {
        self.reader.as_ref().map_or(Ok(()), |reader| reader.forget_before(number))
    }
}

/// One line in the place of those that are lost.
fn gap(batch: &Batch) -> Option<LogBatch> {
    let at = batch.lines.first()?.at;
    let text = format!("[king: {} lines lost here: the spool was full]", batch.lost).into_bytes();
    (batch.lost > 0).then(|| LogBatch { first: batch.first - batch.lost, lines: vec![LogLine { at, text }] })
}
