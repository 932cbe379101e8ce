//! Where inputs come from: commands, queued commands, reports and time.
//!
//! Batches of reports are large, so they are read beside the writer, a few ahead of it.

use super::ears::{Ears, Heard};
use super::run::WriterError;
use super::work::{ReportWork, UnreadableReports};
use bus::message::Message;
use bus::tail::{Entry, Tail};
use futures_util::stream::{FuturesOrdered, StreamExt as _};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior};

/// How often work that is left over is continued.
const TICK: Duration = Duration::from_secs(1);
/// Most batches of reports that are read ahead.
const BATCHES_AHEAD: usize = 4;

/// A message on the subject of reports: a batch, or something else.
pub(super) type Reports = Result<ReportWork, Box<UnreadableReports>>;

pub(super) struct Sources {
    hearing: Hearing,
    queue: Tail,
    tick: Interval,
}

/// Something came.
pub(super) enum Arrival {
    Command(Message),
    Reports(Reports),
    Queued(Box<Entry>),
    Tick,
}

impl Sources {
    pub fn new(ears: Ears, queue: Tail, beside: Handle) -> Self {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let hearing = Hearing { ears, beside, reading: FuturesOrdered::new(), ended: false };
        Self { hearing, queue, tick }
    }

    /// Waits for the next one. Nothing is lost when it is dropped half-way.
    pub async fn next(&mut self) -> Result<Arrival, WriterError> {
        tokio::select! {
            heard = self.hearing.next() => heard.ok_or(WriterError::Closed),
            entry = self.queue.next() => Ok(Arrival::Queued(Box::new(entry?))),
            _ = self.tick.tick() => Ok(Arrival::Tick),
        }
    }

    /// A command that has come in already. Far cheaper than to ask for anything that may come next.
    pub fn ready_command(&mut self) -> Option<Message> {
        self.hearing.ears.ready_command()
    }

    /// Continue what is left over at once.
    pub fn hurry(&mut self) {
        self.tick.reset_immediately();
    }

    /// Hears no more; [`Sources::heard`] gives what has come in already.
    pub async fn close(&mut self) {
        self.hearing.ears.close().await;
    }

    /// The next command or batch of reports; none when all that was heard has been given.
    pub async fn heard(&mut self) -> Option<Arrival> {
        self.hearing.next().await
    }
}

/// What is heard, and the batches of reports that are being read.
struct Hearing {
    ears: Ears,
    /// Where batches are read.
    beside: Handle,
    reading: FuturesOrdered<JoinHandle<Reports>>,
    ended: bool,
}

impl Hearing {
    async fn next(&mut self) -> Option<Arrival> {
        loop {
            let open = !self.ended && self.reading.len() < BATCHES_AHEAD;
            tokio::select! {
                Some(read) = self.reading.next() => {
                    return Some(Arrival::Reports(read.expect("reading does not panic and is not aborted")));
                }
                heard = self.ears.next(), if open => match heard {
                    Some(Heard::Command(message)) => return Some(Arrival::Command(message)),
                    Some(Heard::Reports(message)) => {
                        self.reading.push_back(self.beside.spawn(async { ReportWork::read(message) }));
                    }
                    None => self.ended = true,
                },
                else => return None,
            }
        }
    }
}
