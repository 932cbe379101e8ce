//! Shipping: the output of an instance from its spool to `KING_LOGS`, in order, each line at least once. A reader tells
//! repeated lines by their numbers. While nothing can be stored the spool keeps it, packed; memory holds none of it.

use crate::errors::{Alarm, Patterns, Watch};
use crate::keeper::InstanceFolder;
use crate::reports::Reports;
use crate::spec::Spec;
use crate::spool::{self, Batch, BatchLimits, Bookmark, SpoolReader};
use bus::Bus;
use bus::connect::StoreError;
use bus::logs::{Logs, LogsError};
use events::log::LogBatch;
use events::manifest::Errors;
use events::report::InstanceNews;
use events::subject::{self, Output};
use events::{AppName, DomainName, News, ProcessName};
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};

/// Most lines and bytes in one message: large, because each is synced by itself.
const BATCH: BatchLimits = BatchLimits { lines: 8192, bytes: 512 * 1024 };
/// Instances that hold a batch in memory at the same time.
const AT_ONCE: usize = 8;
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// The spool is looked at this often even when nobody says that there is something; the seldomer the longer it is silent.
const LOOK: Duration = Duration::from_secs(5);
const LONGEST_LOOK: Duration = Duration::from_secs(60);
/// The same while an error waits to be told.
const LOOK_FOR_ERRORS: Duration = Duration::from_secs(1);
/// Most sets of patterns that are kept compiled.
const PATTERNS: usize = 256;
/// How often more of what waits is packed while the bus is away.
const PACK: Duration = Duration::from_secs(1);

/// Why output stays in the spool for now.
#[derive(Debug, thiserror::Error)]
enum ShipError {
    #[error("the spool cannot be read or changed")]
    Spool(#[from] io::Error),
    #[error(transparent)]
    Logs(#[from] LogsError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

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

/// Where output goes, shared by all instances: it bounds what they hold in memory together.
#[derive(Clone)]
pub struct Dock {
    bus: Bus,
    domain: DomainName,
    /// Where errors in the output are told.
    reports: Reports,
    room: Arc<Semaphore>,
    patterns: Arc<Mutex<BTreeMap<Option<Errors>, Patterns>>>,
}

impl Dock {
    pub fn new(bus: Bus, domain: DomainName, reports: Reports) -> Self {
        Self { bus, domain, reports, room: Arc::new(Semaphore::new(AT_ONCE)), patterns: Arc::default() }
    }

    /// Compiled once for all instances that look for the same.
    fn patterns(&self, errors: Option<&Errors>) -> Patterns {
        let mut patterns = self.patterns.lock().expect("nobody panics with it");
        if patterns.len() >= PATTERNS {
            patterns.clear();
        }
        patterns.entry(errors.cloned()).or_insert_with(|| Patterns::new(errors)).clone()
    }
}

/// Whose output it is.
pub struct Shipper {
    dock: Dock,
    app: AppName,
    process: ProcessName,
    folder: InstanceFolder,
    logs: Option<Logs>,
    streams: [Stream; 2],
    /// Taken while it looks aside.
    watch: Option<Watch>,
    marks: [Bookmark; 2],
    /// When it is looked at next if nobody says anything.
    look: Duration,
}

impl Shipper {
    /// Reads from this folder.
    pub fn new(dock: Dock, spec: &Spec, folder: InstanceFolder) -> Self {
        let marks = folder.next_to_ship();
        let streams = Output::ALL.map(|output| Stream::new(output, &folder, marks[output as usize]));
        let (app, process) = (spec.key.app.clone(), spec.process.clone());
        let watch = Some(Watch::new(dock.patterns(spec.how.errors.as_ref())));
        Self { dock, app, process, folder, logs: None, streams, watch, marks, look: LOOK }
    }

    /// Ships until it is closed and everything is shipped. Begins when it is woken up: where nothing was written yet there
    /// is nothing to look for.
    pub async fn run(mut self, shipping: Shipping) {
        // As below: not to be woken up is no error.
        let _ = tokio::time::timeout(self.look, shipping.wake.notified()).await;
        if let Err(error) = spool::tidy(&self.folder.path) {
            tracing::warn!(instance = %self.folder.instance, %error, "what was half packed could not be removed");
        }
        let mut wait = FIRST_WAIT;
        loop {
            if tokio::time::timeout(PACK, self.dock.bus.connected()).await.is_err() {
                Box::pin(self.pack()).await;
                continue;
            }
            // Read before the spool: what comes after it is woken up for.
            let is_closing = shipping.is_closing.load(Ordering::SeqCst);
            // Most instances are silent most of the time: the room that this needs is taken only meanwhile.
            match Box::pin(self.round(is_closing)).await {
                Ok(true) => (wait, self.look) = (FIRST_WAIT, LOOK),
                Ok(false) if is_closing => break,
                Ok(false) => {
                    // Not to be woken up is no error: the next look finds it.
                    if tokio::time::timeout(self.look_in(), shipping.wake.notified()).await.is_err() {
                        self.look = (self.look * 2).min(LONGEST_LOOK);
                    }
                }
                Err(error) => {
                    if wait == FIRST_WAIT {
                        tracing::warn!(
                            instance = %self.folder.instance,
                            error = service::chain(&error),
                            "output waits in the spool; trying again until it is stored"
                        );
                    }
                    self.rewind();
                    Box::pin(self.pack()).await;
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(LONGEST_WAIT);
                }
            }
        }
        let alarms = self.watch().end(service::clock::now());
        Box::pin(self.tell(alarms)).await;
        if let Err(error) = self.folder.remove() {
            tracing::warn!(instance = %self.folder.instance, %error, "the folder of an instance could not be removed");
        }
    }

    /// One batch of each stream; says whether there was any.
    async fn round(&mut self, is_closing: bool) -> Result<bool, ShipError> {
        let room = self.dock.room.clone();
        let _room = room.acquire().await.expect("it is never closed");
        let mut any = false;
        for output in Output::ALL {
            let end = if is_closing { End::Reached } else { End::Ahead };
            let Some(batch) = self.read(output, end).await? else {
                continue;
            };
            any = true;
            let mark = batch.end;
            self.store(output, batch).await?;
            // Before the place is kept: an error is told twice rather than never, and the King knows it again.
            self.tell_errors().await;
            self.marks[output as usize] = mark;
            self.folder.keep_next_to_ship(self.marks)?;
            self.streams[output as usize].forget_before(mark.next)?;
        }
        if !any {
            self.tell_errors().await;
        }
        Ok(any)
    }

    /// Reads the next lines and looks for errors in them.
    async fn read(&mut self, output: Output, end: End) -> Result<Option<Batch>, ShipError> {
        let mut watch = self.watch.take().expect("put back after each look");
        let read = self.streams[output as usize].aside(move |reader| {
            let mut batch = reader.read(BATCH);
            if let (Ok(None), End::Reached) = (&batch, end) {
                batch = Ok(reader.rest());
            }
            if let Ok(Some(batch)) = &batch {
                watch.look(output, batch.first, &batch.lines, service::clock::now());
            }
            Ok((batch, watch))
        });
        let (batch, watch) = read.await?;
        self.watch = Some(watch);
        Ok(batch?)
    }

    fn watch(&mut self) -> &mut Watch {
        self.watch.as_mut().expect("put back after each look")
    }

    fn look_in(&mut self) -> Duration {
        if self.watch().is_waiting() { LOOK_FOR_ERRORS } else { self.look }
    }

    async fn tell_errors(&mut self) {
        let alarms = self.watch().alarms(service::clock::now());
        self.tell(alarms).await;
    }

    /// Reports errors. One that cannot be is logged here: the output matters more.
    async fn tell(&self, alarms: Vec<Alarm>) {
        if alarms.is_empty() {
            return;
        }
        let instance = self.folder.instance;
        let mut numbers = Vec::new();
        for alarm in alarms {
            tracing::info!(%instance, headline = alarm.headline, "an error in its output");
            match self.dock.reports.push(News::Instance(InstanceNews::Erred(alarm.news(instance)))) {
                Ok(number) => numbers.push(number),
                Err(error) => tracing::error!(%instance, %error, "an error in its output cannot be reported"),
            }
        }
        if let Err(error) = self.dock.reports.barrier().await {
            tracing::error!(%instance, %error, "reports of errors in its output may not outlive this servant");
        }
        self.dock.reports.release(&numbers);
    }

    /// The id holds the count too: the same first line may come back in a longer batch.
    async fn store(&mut self, output: Output, batch: Batch) -> Result<(), ShipError> {
        let instance = self.folder.instance;
        let subject = subject::log(&self.dock.domain, &self.app, instance, output);
        let id = format!("{instance}/{output}/{}+{}", batch.first, batch.lines.len());
        if let Some(gap) = &batch.gap {
            tracing::error!(%instance, %output, lines = gap.lines, bytes = gap.bytes, reason = %gap.reason, "output is lost");
        }
        let batch = LogBatch {
            first: batch.first,
            lines: batch.lines,
            process: Some(self.process.clone()),
            position: batch.position,
            gap: batch.gap,
        };
        // The stream may not be there yet: it is opened when it is needed.
        let logs = match &self.logs {
            Some(logs) => logs,
            None => self.logs.insert(Logs::open(&self.dock.bus).await?),
        };
        logs.append(&subject, &id, &batch).await?;
        Ok(())
    }

    /// What was read and not stored is read again.
    fn rewind(&mut self) {
        for (stream, mark) in self.streams.iter_mut().zip(self.marks) {
            *stream = Stream::new(stream.output, &self.folder, mark);
        }
    }

    /// Packs the oldest closed segment of each stream, so that the spool holds more.
    async fn pack(&mut self) {
        for stream in &mut self.streams {
            if let Err(error) = stream.pack().await {
                tracing::warn!(instance = %self.folder.instance, %error, "the spool could not be packed");
            }
        }
    }
}

/// Whether an instance may still write.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Ahead,
    Reached,
}

struct Stream {
    output: Output,
    /// Taken while it works aside.
    reader: Option<SpoolReader>,
}

impl Stream {
    fn new(output: Output, folder: &InstanceFolder, from: Bookmark) -> Self {
        Self { output, reader: Some(SpoolReader::open(&folder.path, output, from)) }
    }

    async fn pack(&mut self) -> io::Result<()> {
        self.aside(|reader| {
            let waiting = reader.waiting()?;
            let plain = waiting.iter().find(|segment| segment.form == spool::Form::Frames);
            plain.map_or(Ok(()), spool::pack)
        })
        .await
    }

    /// Works on files where it keeps nobody waiting.
    async fn aside<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut SpoolReader) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let mut reader = self.reader.take().expect("put back after each work");
        let (reader, done) = tokio::task::spawn_blocking(move || {
            let done = work(&mut reader);
            (reader, done)
        })
        .await
        .map_err(io::Error::other)?;
        self.reader = Some(reader);
        done
    }

    fn forget_before(&self, number: u64) -> io::Result<()> {
        self.reader.as_ref().map_or(Ok(()), |reader| reader.forget_before(number))
    }
}
