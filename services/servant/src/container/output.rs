//! The output of a container: followed through the engine into the spool of the instance, where it goes the same way as
//! that of a process. It is read again from the last place after every break, however long the engine was away.

use super::engine::{Engine, Named, Status};
use super::lines::{Cutter, Line, Place, entry};
use super::shape::Labels;
use crate::keeper::InstanceFolder;
use crate::ship::Shipping;
use crate::spool::{SpoolLimits, SpoolWriter};
use bollard::container::LogOutput;
use events::subject::Output;
use futures_util::{FutureExt, Stream, StreamExt};
use serde::{Deserialize, Serialize};
use std::io;
use std::time::Duration;

const FILE: &str = "output";
/// Most entries that are spooled at once.
const ENTRIES: usize = 1000;
/// How long to wait before the output is asked for again, at first and at most.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// How far the output of an instance has come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Kept {
    container: String,
    places: [Place; 2],
}

/// Follows one container until it has ended and all that it wrote is spooled.
pub struct Follower {
    pub engine: Engine,
    pub labels: Labels,
    pub folder: InstanceFolder,
    /// The id of the container.
    pub container: String,
    pub shipping: Shipping,
}

impl Follower {
    /// Until there is nothing more. Can be broken off at any moment.
    pub async fn run(self) {
        let mut spool = match aside({
            let (folder, container) = (self.folder.clone(), self.container.clone());
            move || Spool::open(folder, container)
        })
        .await
        {
            Ok(spool) => spool,
            Err(error) => {
                tracing::error!(instance = %self.folder.instance, %error, "the output of a container cannot be spooled");
                return;
            }
        };
        let mut wait = FIRST_WAIT;
        loop {
            // Asked before: what was written before the end was seen is read after it.
            let has_ended = self.has_ended().await;
            let read = match self.engine.output(&self.container, spool.since()).await {
                Ok(stream) => self.read(stream, spool).await,
                Err(error) => {
                    tracing::debug!(instance = %self.folder.instance, %error, "no output for now");
                    (Read { any: false, is_whole: false }, spool)
                }
            };
            spool = read.1;
            match (read.0, has_ended) {
                (Read { is_whole: true, .. }, Some(true)) => break,
                (Read { any: true, .. }, _) => wait = FIRST_WAIT,
                (Read { .. }, _) => wait = (wait * 2).min(LONGEST_WAIT),
            }
            if has_ended != Some(true) {
                tokio::time::sleep(wait).await;
            }
            spool.again();
        }
        let finished = aside(move || spool.finish()).await;
        self.told(finished);
        self.shipping.wake();
    }

    /// None while it is not known.
    async fn has_ended(&self) -> Option<bool> {
        match self.engine.find(&self.container, &self.labels).await {
            Ok(Named::Own(own)) => Some(matches!(own.status, Status::Ended(_))),
            Ok(Named::Nothing | Named::Foreign) => Some(true),
            Err(_) => None,
        }
    }

    async fn read(
        &self,
        stream: impl Stream<Item = Result<LogOutput, bollard::errors::Error>> + Unpin,
        mut spool: Spool,
    ) -> (Read, Spool) {
        let mut read = Read { any: false, is_whole: true };
        let mut entries = stream.ready_chunks(ENTRIES);
        while let Some(chunk) = entries.next().await {
            // Removed: there is nothing more, and never will be.
            let is_gone = chunk.iter().any(is_of_nothing);
            let is_broken = !is_gone && chunk.iter().any(|entry| !is_entry(entry));
            let whole: Vec<LogOutput> =
                chunk.into_iter().take_while(is_entry).filter_map(Result::ok).collect();
            read.any |= !whole.is_empty();
            let (kept, back) = aside(move || spool.take(&whole)).await;
            spool = back;
            self.told(kept);
            self.shipping.wake();
            if is_broken {
                read.is_whole = false;
                break;
            }
        }
        (read, spool)
    }

    fn told(&self, kept: io::Result<()>) {
        if let Err(error) = kept {
            tracing::warn!(instance = %self.folder.instance, %error, "how far its output has come could not be noted");
        }
    }
}

/// What one reading brought.
struct Read {
    any: bool,
    /// It came to its end without a break.
    is_whole: bool,
}

/// A torn entry comes without its stream.
fn is_entry(entry: &Result<LogOutput, bollard::errors::Error>) -> bool {
    matches!(entry, Ok(LogOutput::StdOut { .. } | LogOutput::StdErr { .. }))
}

fn is_of_nothing(entry: &Result<LogOutput, bollard::errors::Error>) -> bool {
    use bollard::errors::Error::DockerResponseServerError;
    matches!(entry, Err(DockerResponseServerError { status_code: 404, .. }))
}

/// Disks may be slow: nobody else shall wait for them.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).map(|done| done.expect("spooling does not panic")).await
}

/// Both streams of an instance.
struct Spool {
    folder: InstanceFolder,
    container: String,
    streams: [Stage; 2],
}

struct Stage {
    cutter: Cutter,
    writer: SpoolWriter,
}

impl Spool {
    fn open(folder: InstanceFolder, container: String) -> io::Result<Self> {
        let kept = kept(&folder);
        let is_same = kept.container == container;
        let stage = |output: Output| -> io::Result<Stage> {
            let place = kept.places[output as usize];
            // Opened first: it mends what a killed one left.
            let writer = SpoolWriter::open(&folder.path, output, SpoolLimits::STANDARD)?;
            let next = writer.next_line();
            // Of another container nothing was taken yet.
            let place = if is_same { place } else { Place { mark: None, line: next } };
            Ok(Stage { cutter: Cutter::new(place, next), writer })
        };
        let streams = [stage(Output::Stdout)?, stage(Output::Stderr)?];
        Ok(Self { folder, container, streams })
    }

    /// The second from which both streams must be read again.
    fn since(&self) -> i64 {
        let seconds = |stage: &Stage| stage.cutter.place().mark.map_or(0, |mark| mark.at.seconds);
        self.streams.iter().map(seconds).min().unwrap_or_default()
    }

    fn again(&mut self) {
        self.streams.iter_mut().for_each(|stage| stage.cutter.again());
    }

    fn take(mut self, entries: &[LogOutput]) -> (io::Result<()>, Self) {
        let mut lines: [Vec<Line>; 2] = Default::default();
        for log in entries {
            let output = match log {
                LogOutput::StdErr { .. } => Output::Stderr,
                LogOutput::StdOut { .. } | LogOutput::StdIn { .. } | LogOutput::Console { .. } => {
                    Output::Stdout
                }
            };
            // Every entry has a moment: it was asked for.
            if let Some((at, bytes)) = entry(log.as_ref()) {
                let index = output as usize;
                self.streams[index].cutter.take(at, bytes, &mut lines[index]);
            }
        }
        let noted = self.write(lines);
        (noted, self)
    }

    fn finish(mut self) -> io::Result<()> {
        let mut lines: [Vec<Line>; 2] = Default::default();
        for (stage, lines) in self.streams.iter_mut().zip(&mut lines) {
            stage.cutter.finish(lines);
        }
        self.write(lines)
    }

    /// Into the spool, then the note of it: what was spooled and not noted is counted in the spool.
    fn write(&mut self, lines: [Vec<Line>; 2]) -> io::Result<()> {
        for (stage, lines) in self.streams.iter_mut().zip(lines) {
            for lines in lines.chunk_by(|one, next| one.at.timestamp() == next.at.timestamp()) {
                let at = lines.first().map_or_else(service::clock::now, |line| line.at.timestamp());
                let bytes: Vec<u8> = lines.iter().flat_map(|line| [&line.text[..], b"\n"].concat()).collect();
                stage.writer.take(at, &bytes);
            }
            stage.writer.flush();
        }
        let places = [self.streams[0].cutter.place(), self.streams[1].cutter.place()];
        let kept = Kept { container: self.container.clone(), places };
        let beside = self.folder.path.join(format!("{FILE}.new"));
        std::fs::write(&beside, serde_json::to_vec(&kept)?)?;
        std::fs::rename(beside, self.folder.path.join(FILE))
    }
}

fn kept(folder: &InstanceFolder) -> Kept {
    let bytes = std::fs::read(folder.path.join(FILE)).unwrap_or_default();
    // Damaged or not there: from the beginning. A reader would see lines twice, and none missing.
    serde_json::from_slice(&bytes).unwrap_or_default()
}
