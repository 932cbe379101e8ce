//! One run from its start to its end: it carries bytes between the command and whoever watches, and holds it to its
//! limits.

use super::child::{self, Runner, Streams};
use super::watcher::{Watcher, Word};
use super::words::{RunOrder, Said};
use bus::flow::ITEM_BYTES;
use events::exec::{ExecEnd, ExecOutcome, Stdio};
use events::limits::EXEC_REASON_BYTES;
use events::subject::Output;
use events::view::AssignedExec;
use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// How long a run has to end by itself once it is told to.
pub const GRACE: Duration = Duration::from_secs(5);
/// How long pipes that a stranger holds open are read once nothing of the run is left.
const STRANGERS: Duration = Duration::from_millis(500);

/// What shall become of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    Run,
    Cancel,
    /// End at once: the Servant does.
    Leave,
}

/// Runs a command to its end, whatever that is.
pub async fn run(
    program: &Path,
    assigned: &AssignedExec,
    order: &RunOrder,
    watcher: &mut Watcher,
    wish: watch::Receiver<Wish>,
) -> ExecOutcome {
    let began = Instant::now();
    let end = match child::start(program, order, &assigned.stdio).await {
        Err(error) => (not_started(format!("no process could be made for it: {error}")), 0),
        Ok((streams, runner)) => {
            let mut run = Run::new(assigned, streams, runner, watcher, began);
            let end = run.carry(wish).await;
            (end, run.output_bytes)
        }
    };
    ExecOutcome {
        end: end.0,
        duration_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        output_bytes: end.1,
        discarded_bytes: watcher.discarded,
    }
}

/// A run that did not start, with a reason that fits into a report.
pub fn not_started(mut reason: String) -> ExecEnd {
    reason.truncate(reason.floor_char_boundary(EXEC_REASON_BYTES));
    ExecEnd::NotStarted(reason)
}

/// How far the command itself is.
enum Stage {
    Runs,
    /// Nothing of it is left, and this is how it ended; since then.
    Ended(ExecEnd, Instant),
}

struct Run<'a> {
    assigned: &'a AssignedExec,
    runner: Runner,
    watcher: &'a mut Watcher,
    input: Option<Sender>,
    /// Input that was heard and is not written yet, with the place in the first of it.
    waiting: VecDeque<Option<Vec<u8>>>,
    written: usize,
    output: Option<Receiver>,
    errors: Option<Receiver>,
    output_bytes: u64,
    stage: Stage,
    /// Why it was told to end, and when it is killed for that.
    told: Option<ExecEnd>,
    kill_at: Option<Instant>,
    /// It shall end: output that nobody takes at once is not waited for.
    is_hurried: bool,
    time_over: Instant,
    read_at: Instant,
}

/// What a run waits for.
enum Woken {
    Said(Option<Said>),
    Word(Word),
    Read(Output, Option<Vec<u8>>),
    Wrote(Option<usize>),
    Wish(Wish),
    Time,
}

impl<'a> Run<'a> {
    fn new(
        assigned: &'a AssignedExec,
        streams: Streams,
        runner: Runner,
        watcher: &'a mut Watcher,
        began: Instant,
    ) -> Self {
        Self {
            assigned,
            runner,
            watcher,
            input: streams.input,
            waiting: VecDeque::new(),
            written: 0,
            output: Some(streams.output),
            errors: streams.errors,
            output_bytes: 0,
            stage: Stage::Runs,
            told: None,
            kill_at: None,
            is_hurried: false,
            time_over: began + Duration::from_millis(assigned.limits.time_ms),
            read_at: began,
        }
    }

    async fn carry(&mut self, mut wish: watch::Receiver<Wish>) -> ExecEnd {
        loop {
            if let Stage::Ended(end, since) = &self.stage {
                let quiet = self.read_at.max(*since).elapsed() >= STRANGERS && self.has_room();
                if (self.output.is_none() && self.errors.is_none()) || quiet {
                    return self.told.clone().unwrap_or_else(|| end.clone());
                }
            }
            match self.wait(&mut wish).await {
                Woken::Said(said) => self.said(said),
                Woken::Word(word) => self.heard(word).await,
                Woken::Read(output, Some(bytes)) => self.read(output, bytes).await,
                Woken::Read(Output::Stdout, None) => self.output = None,
                Woken::Read(Output::Stderr, None) => self.errors = None,
                Woken::Wrote(length) => self.wrote(length),
                Woken::Wish(Wish::Run | Wish::Cancel) => self.end(ExecEnd::Cancelled).await,
                Woken::Wish(Wish::Leave) => {
                    self.end(ExecEnd::Lost("its servant was told to end".to_owned())).await;
                    self.runner.kill().await;
                }
                Woken::Time => self.time().await,
            }
        }
    }

    async fn wait(&mut self, wish: &mut watch::Receiver<Wish>) -> Woken {
        let due = self.due();
        let (room, runs) = (self.has_room(), matches!(self.stage, Stage::Runs));
        let next = self.waiting.front().and_then(Option::as_ref);
        let writable = self.input.as_ref().zip(next);
        tokio::select! {
            said = self.runner.said(), if runs => Woken::Said(said),
            word = self.watcher.next() => Woken::Word(word),
            bytes = read(&self.output), if room => Woken::Read(Output::Stdout, bytes),
            bytes = read(&self.errors), if room => Woken::Read(Output::Stderr, bytes),
            length = write(writable, self.written) => Woken::Wrote(length),
            // Who wishes is gone when the Servant ends.
            wished = wish.changed(), if !self.is_hurried => match wished {
                Ok(()) => Woken::Wish(*wish.borrow_and_update()),
                Err(_) => Woken::Wish(Wish::Leave),
            },
            () = sleep_until(due) => Woken::Time,
        }
    }

    /// What is told to end waits for nobody.
    fn has_room(&self) -> bool {
        self.is_hurried || self.watcher.has_room()
    }

    fn due(&self) -> Instant {
        let ended = match &self.stage {
            Stage::Runs => None,
            Stage::Ended(_, since) => Some(self.read_at.max(*since) + STRANGERS),
        };
        let over = (!self.is_hurried).then_some(self.time_over);
        // What waits for room is not looked at all the time.
        let ended = ended.map(|at| at.max(Instant::now() + STRANGERS / 10));
        let due = [self.kill_at, ended, over].into_iter().flatten().min();
        due.unwrap_or_else(|| Instant::now() + GRACE)
    }

    fn said(&mut self, said: Option<Said>) {
        let end = match said {
            Some(Said::Started { pid }) => {
                tracing::debug!(exec = %self.assigned.exec, pid, "runs");
                return;
            }
            Some(Said::NotStarted { reason }) => not_started(reason),
            Some(Said::Ended { code: Some(code), .. }) => ExecEnd::Code(code),
            Some(Said::Ended { signal, .. }) => ExecEnd::Signal(signal.unwrap_or_default()),
            None => ExecEnd::Lost("its runner was killed".to_owned()),
        };
        self.kill_at = None;
        self.stage = Stage::Ended(end, Instant::now());
    }

    async fn heard(&mut self, word: Word) {
        match word {
            Word::Input(bytes) => self.waiting.push_back(Some(bytes)),
            Word::EndOfInput => self.waiting.push_back(None),
            Word::Progress => return,
            Word::Resize(size) => {
                if let (Stdio::Terminal(_), Some(terminal)) = (&self.assigned.stdio, &self.output)
                    && size.check().is_ok()
                    && let Err(error) = child::resize(terminal, size)
                {
                    tracing::debug!(%error, "a terminal could not be resized");
                }
                self.watcher.taken();
            }
            Word::Gone => {
                self.input = None;
                match &self.assigned.stdio {
                    Stdio::Terminal(_) => self.end(ExecEnd::HungUp).await,
                    Stdio::Discard | Stdio::Output | Stdio::Input => {}
                }
            }
        }
        self.use_up();
    }

    /// What cannot be written any more, or is written, is used up; the end of input closes it.
    fn use_up(&mut self) {
        while let Some(first) = self.waiting.front() {
            let is_terminal = matches!(self.assigned.stdio, Stdio::Terminal(_));
            match first {
                // A terminal has no end but its own.
                None if !is_terminal => self.input = None,
                None => {}
                Some(bytes) if self.input.is_none() || self.written >= bytes.len() => {}
                Some(_) => return,
            }
            self.waiting.pop_front();
            self.written = 0;
            self.watcher.taken();
        }
    }

    fn wrote(&mut self, length: Option<usize>) {
        match length {
            Some(length) => self.written += length,
            None => self.input = None,
        }
        self.use_up();
    }

    async fn read(&mut self, output: Output, mut bytes: Vec<u8>) {
        self.read_at = Instant::now();
        let room = self.assigned.limits.output_bytes.saturating_sub(self.output_bytes);
        self.output_bytes += bytes.len() as u64;
        let kept = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
        self.watcher.discarded += (bytes.len() - kept) as u64;
        if kept < bytes.len() {
            bytes.truncate(kept);
            self.end(ExecEnd::OutputExceeded).await;
        }
        if self.watcher.has_room() && !bytes.is_empty() {
            self.watcher.output(output, bytes);
        } else {
            self.watcher.discarded += bytes.len() as u64;
        }
    }

    /// Tells it to end, for the first reason that there is.
    async fn end(&mut self, why: ExecEnd) {
        if self.is_hurried {
            return;
        }
        self.is_hurried = true;
        // What has ended by itself is not said to have ended otherwise.
        if matches!(self.stage, Stage::Runs) {
            self.told = Some(why);
            self.kill_at = Some(Instant::now() + GRACE);
            self.runner.terminate().await;
        }
    }

    async fn time(&mut self) {
        if self.kill_at.is_some_and(|at| at <= Instant::now()) {
            self.kill_at = None;
            self.runner.kill().await;
        }
        if !self.is_hurried && self.time_over <= Instant::now() {
            self.end(ExecEnd::TimedOut).await;
        }
    }
}

async fn read(from: &Option<Receiver>) -> Option<Vec<u8>> {
    match from {
        Some(from) => child::read(from, ITEM_BYTES).await,
        None => std::future::pending().await,
    }
}

async fn write(to: Option<(&Sender, &Vec<u8>)>, written: usize) -> Option<usize> {
    match to {
        Some((to, bytes)) => child::write(to, bytes.get(written..).unwrap_or_default()).await,
        None => std::future::pending().await,
    }
}
