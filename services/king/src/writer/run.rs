//! The shell around the machine: it waits for commands, queued commands, reports, acknowledgements and time at once.

use super::ears::{Ears, Heard};
use super::machine::{Machine, Stored};
use super::work::{self, Envelope as _, ReportWork};
use crate::http::{Metrics, Readiness};
use crate::kingdom::Kingdom;
use bus::Bus;
use bus::inbox::{Inbox, InboxError};
use bus::log::{Append, AppendError, Attempted, Log};
use bus::message::Message;
use bus::tail::{Entry, Tail, TailError};
use events::limits::EVENTS_PER_INPUT;
use events::wire::Format;
use events::{Answer, Command, CommandId, Outcome, Verdict};
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesOrdered, StreamExt as _};
use realm::{Context, Input, Response};
use service::clock;
use service::shutdown::Shutdown;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::time::{Interval, MissedTickBehavior};

/// How long a King that stops waits for the commits in flight.
const DRAIN: Duration = Duration::from_secs(3);
/// How often work that is left over is continued.
const TICK: Duration = Duration::from_secs(1);
/// A tick that yields so many events is followed by the next at once.
const MUCH_WORK: u64 = EVENTS_PER_INPUT as u64 / 2;

/// Why the writer ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum WriterError {
    #[error("the commit was not appended")]
    Append(#[from] AppendError),
    #[error("the inbox cannot be followed")]
    Inbox(#[from] TailError),
    #[error("the inbox cannot be opened")]
    OpenInbox(#[from] InboxError),
    #[error(
        "the inbox (stream KING_INBOX) ends at {end}, but the log has worked it off up to {done}: it was deleted or \
         replaced. Commands queued there since would be passed over. If nothing in it is needed, let its numbers go on \
         where they were: nats stream purge KING_INBOX --seq={next}",
        next = .done + 1
    )]
    OtherInbox { end: u64, done: u64 },
    #[error("the connection to NATS is closed for good")]
    Closed,
}

/// Who waits for what.
enum Ticket {
    Command { message: Message, format: Format, id: CommandId, outcome: Outcome },
    Reports(ReportWork),
}

/// The one writer.
pub struct Writer {
    replies: Replies,
    inbox: Inbox,
    machine: Machine<Ticket>,
    kingdom: Kingdom,
    metrics: Arc<Metrics>,
    readiness: Readiness,
    sources: Sources,
    /// A batch of reports that did not fit into the commit that is being collected.
    half_done: Option<ReportWork>,
    flights: Flights,
}

/// The commits in flight, in the order of the log.
struct Flights {
    log: Log,
    /// The first attempts.
    first: FuturesOrdered<BoxFuture<'static, Flight>>,
    /// The oldest of them, when its attempt has come to something: what it is worth is found out before any other's.
    settling: Option<BoxFuture<'static, Landing>>,
}

/// A commit and what its first attempt came to.
struct Flight {
    began: Instant,
    append: Append,
    attempted: Attempted,
}

/// How an append came out, with what is needed to try it again.
struct Landing {
    began: Instant,
    append: Append,
    result: Result<u64, AppendError>,
}

/// Where inputs come from.
struct Sources {
    ears: Ears,
    queue: Tail,
    tick: Interval,
}

/// Something came.
enum Arrival {
    Command(Message),
    Reports(Message),
    Queued(Box<Entry>),
    Tick,
}

impl From<Heard> for Arrival {
    fn from(heard: Heard) -> Self {
        match heard {
            Heard::Command(message) => Self::Command(message),
            Heard::Reports(message) => Self::Reports(message),
        }
    }
}

/// What the writer needs beside its log.
pub struct Parts {
    pub bus: Bus,
    pub log: Log,
    pub kingdom: Kingdom,
    pub metrics: Arc<Metrics>,
    pub readiness: Readiness,
    pub ears: Ears,
}

impl Writer {
    /// A writer at the end of the log: `sequence` and `previous` are the last commit's.
    ///
    /// # Errors
    /// When commands, reports or the inbox cannot be heard.
    pub async fn new(parts: Parts, election: crate::election::Fold) -> Result<Self, WriterError> {
        let Parts { bus, log, kingdom, metrics, readiness, ears } = parts;
        let inbox = Inbox::open(&bus).await?;
        let done = election.state.inbox;
        let end = inbox.last_sequence().await?;
        if end < done {
            return Err(WriterError::OtherInbox { end, done });
        }
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let sources = Sources { ears, queue: inbox.tail(done), tick };
        let machine =
            Machine::new(election.state, election.sequence, election.hash).with_flights(log.flights());
        Ok(Self {
            replies: Replies(bus),
            inbox,
            machine,
            kingdom,
            metrics,
            readiness,
            sources,
            half_done: None,
            flights: Flights::new(log),
        })
    }

    /// Works until it is told to stop; then takes what it has heard already, and waits until all of it is stored.
    ///
    /// # Errors
    /// When another King has taken over, or the bus is gone for good.
    pub async fn run(mut self, shutdown: Shutdown) -> Result<(), WriterError> {
        while !shutdown.is_requested() {
            self.turn(&shutdown).await?;
        }
        match tokio::time::timeout(DRAIN, self.drain()).await {
            Ok(drained) => drained,
            Err(_) => {
                tracing::warn!(
                    "stopped before the last commit was acknowledged; none of it was told to anybody"
                );
                Ok(())
            }
        }
    }

    async fn drain(&mut self) -> Result<(), WriterError> {
        self.sources.ears.close().await;
        let mut hears = true;
        loop {
            self.continue_reports().await;
            self.launch().await;
            if !hears && self.half_done.is_none() && self.machine.is_idle() {
                return Ok(());
            }
            let open = hears && self.machine.has_room() && self.half_done.is_none();
            tokio::select! {
                biased;
                landing = self.flights.next() => self.landed(landing).await?,
                heard = self.sources.ears.next(), if open => match heard {
                    Some(heard) => self.arrived(heard.into()).await?,
                    None => hears = false,
                },
            }
        }
    }

    /// Waits for one thing and does it.
    async fn turn(&mut self, shutdown: &Shutdown) -> Result<(), WriterError> {
        self.continue_reports().await;
        self.launch().await;
        let open = self.machine.has_room() && self.half_done.is_none();
        tokio::select! {
            biased;
            landing = self.flights.next() => self.landed(landing).await,
            arrival = self.sources.next(), if open => self.arrived(arrival?).await,
            () = shutdown.requested() => Ok(()),
        }
    }

    async fn arrived(&mut self, arrival: Arrival) -> Result<(), WriterError> {
        match arrival {
            Arrival::Command(message) => self.command(message).await,
            Arrival::Reports(message) => self.reports(message).await,
            Arrival::Queued(entry) => self.queued(&entry),
            Arrival::Tick => self.tick(),
        }
        Ok(())
    }

    async fn command(&mut self, message: Message) {
        let format = work::format_of(&message);
        match work::read_command(&message, work::fresh_command_id) {
            Ok(command) => {
                let id = command.id.clone();
                let Some(outcome) = self.decide(command) else { return };
                let ticket = Ticket::Command { message, format, id, outcome };
                if let Some(ticket) = self.machine.wait(ticket) {
                    self.replies.answer(ticket).await;
                }
            }
            Err(refusal) => {
                self.metrics.commands_unreadable.inc();
                tracing::info!(subject = message.subject, reason = %refusal, "command cannot be read");
                let answer = work::unreadable_answer(*refusal);
                self.replies.reply(&message, format.encode(&answer)).await;
            }
        }
    }

    /// A queued command has nobody who waits; its outcome stands in the log.
    fn queued(&mut self, entry: &Entry) {
        let id = || work::queued_id(self.inbox.created_at(), entry.sequence);
        match work::read_command(entry, id) {
            Ok(command) => {
                self.decide(command);
            }
            Err(refusal) => {
                self.metrics.commands_unreadable.inc();
                tracing::warn!(
                    sequence = entry.sequence,
                    subject = Entry::subject(entry),
                    reason = %refusal,
                    bytes = entry.payload().len(),
                    "queued command cannot be read and is passed over"
                );
            }
        }
        self.machine.reached_inbox(entry.sequence);
    }

    fn decide(&mut self, command: Command) -> Option<Outcome> {
        match self.machine.take(&Input::Command(command), &context()) {
            Response::Decided(outcome) => {
                match outcome {
                    Outcome::Accepted { .. } => self.metrics.commands_accepted.inc(),
                    Outcome::Refused { .. } => self.metrics.commands_refused.inc(),
                };
                Some(outcome)
            }
            Response::Repeated(outcome) => {
                self.metrics.commands_repeated.inc();
                Some(outcome)
            }
            Response::Report(_) | Response::None => None,
        }
    }

    async fn reports(&mut self, message: Message) {
        match ReportWork::read(message) {
            Ok(work) => self.half_done = Some(work),
            Err(unreadable) => {
                let message = unreadable.message;
                tracing::warn!(
                    subject = message.subject,
                    reason = unreadable.reason,
                    "batch of reports cannot be read"
                );
                let verdict = events::answer::ReportAnswer { verdicts: Vec::new() };
                self.replies.reply(&message, events::wire::encode(&verdict)).await;
            }
        }
        self.continue_reports().await;
    }

    /// Takes the reports of the batch at hand as far as the commit has room.
    async fn continue_reports(&mut self) {
        let Some(mut work) = self.half_done.take() else { return };
        while self.machine.has_room() {
            let Some(report) = work.next_report() else {
                if let Some(ticket) = self.machine.wait(Ticket::Reports(work)) {
                    self.replies.answer(ticket).await;
                }
                return;
            };
            if let Some(refusal) = work.misplaced(&report) {
                work.push(Verdict::Refused(refusal));
                continue;
            }
            match self.machine.take(&Input::Report(report), &context()) {
                Response::Report(verdict) => work.push(verdict),
                Response::Decided(_) | Response::Repeated(_) | Response::None => {
                    work.push(Verdict::Redundant)
                }
            }
        }
        self.half_done = Some(work);
    }

    /// Continues what was left over; at once again while there is much of it.
    fn tick(&mut self) {
        if self.machine.state().unsettled.is_empty() {
            return;
        }
        let before = self.machine.state().last;
        self.machine.take(&Input::Tick, &context());
        if self.machine.state().last - before >= MUCH_WORK {
            self.sources.tick.reset_immediately();
        }
    }

    /// Sends the next commits on their way.
    async fn launch(&mut self) {
        while let Some(append) = self.machine.flush() {
            self.flights.send(append).await;
        }
    }

    async fn landed(&mut self, Landing { began, append, result }: Landing) -> Result<(), WriterError> {
        match result {
            Ok(sequence) => {
                self.metrics.append_seconds.observe(began.elapsed().as_secs_f64());
                self.readiness.clear("log-unavailable");
                let stored = self.machine.stored(sequence);
                self.launch().await;
                self.confirm(stored).await;
                Ok(())
            }
            Err(error @ (AppendError::Unknown { .. } | AppendError::Unavailable(_))) => {
                let reason = service::chain(&error);
                tracing::warn!(reason, "commit is not acknowledged; the same is appended again");
                self.readiness.block("log-unavailable", reason);
                self.flights.repeat(append);
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// What is stored may be seen: first by readers here, then by whoever waits.
    async fn confirm(&mut self, stored: Stored<Ticket>) {
        self.metrics.commits.inc();
        self.metrics.events.inc_by(stored.events.len() as u64);
        self.metrics.commit_bytes.observe(stored.bytes as f64);
        self.metrics.commit_events.observe(stored.events.len() as f64);
        self.kingdom.confirm(stored.sequence, stored.bytes, &stored.events, stored.inbox);
        for ticket in stored.waiting {
            self.replies.answer(ticket).await;
        }
    }
}

/// The way back to whoever waits.
struct Replies(Bus);

impl Replies {
    async fn answer(&self, ticket: Ticket) {
        match ticket {
            Ticket::Command { message, format, id, outcome } => {
                self.reply(&message, format.encode(&Answer { id: Some(id), outcome })).await;
            }
            Ticket::Reports(work) => {
                let (message, answer) = work.finish();
                self.reply(&message, answer).await;
            }
        }
    }

    /// Whoever asked may be gone, or the link down: the outcome is stored and can be asked for. So the writer never
    /// waits for a link to come back.
    async fn reply(&self, message: &Message, payload: Vec<u8>) {
        if !self.0.is_connected() {
            tracing::debug!(subject = message.subject, "answer was not sent: the link to NATS is down");
        } else if let Err(error) = self.0.answer(message, payload).await {
            tracing::warn!(%error, subject = message.subject, "answer was not sent");
        }
    }
}

impl Sources {
    async fn next(&mut self) -> Result<Arrival, WriterError> {
        tokio::select! {
            heard = self.ears.next() => heard.map(Arrival::from).ok_or(WriterError::Closed),
            entry = self.queue.next() => Ok(Arrival::Queued(Box::new(entry?))),
            _ = self.tick.tick() => Ok(Arrival::Tick),
        }
    }
}

fn context() -> Context {
    Context { at: clock::now(), entropy: clock::fresh_id().as_u128() }
}

impl Flights {
    fn new(log: Log) -> Self {
        Self { log, first: FuturesOrdered::new(), settling: None }
    }

    /// Sends a commit on its way. It is polled once here, so that it is out before anything else is done.
    async fn send(&mut self, append: Append) {
        let log = self.log.clone();
        let mut flight: BoxFuture<'static, Flight> = Box::pin(async move {
            let began = Instant::now();
            let attempted = log.attempt(&append).await;
            Flight { began, append, attempted }
        });
        let polled = poll_fn(|context| Poll::Ready(flight.as_mut().poll(context))).await;
        if let Poll::Ready(flown) = polled {
            flight = Box::pin(std::future::ready(flown));
        }
        self.first.push_back(flight);
    }

    /// Appends the oldest commit again, which may be stored or not.
    fn repeat(&mut self, append: Append) {
        let log = self.log.clone();
        self.settling = Some(Box::pin(async move {
            let began = Instant::now();
            let result = log.append(append.payload.clone(), append.expected_last).await;
            Landing { began, append, result }
        }));
    }

    /// How the oldest commit came out; never, when there is none. Nothing is lost when it is dropped half-way.
    async fn next(&mut self) -> Landing {
        let landing = match &mut self.settling {
            Some(settling) => settling.await,
            None => {
                let Some(flight) = self.first.next().await else { return std::future::pending().await };
                self.settling.insert(settle(self.log.clone(), flight)).await
            }
        };
        self.settling = None;
        landing
    }
}

fn settle(log: Log, Flight { began, append, attempted }: Flight) -> BoxFuture<'static, Landing> {
    Box::pin(async move {
        let result = log.settle(&append, attempted).await;
        Landing { began, append, result }
    })
}
