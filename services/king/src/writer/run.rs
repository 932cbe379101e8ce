//! The shell around the machine: it waits for commands, queued commands, reports, acknowledgements and time at once.

use super::confirm::Confirmer;
use super::ears::Ears;
use super::flights::{Flights, Landing};
use super::machine::Machine;
use super::replies::{Replies, Ticket};
use super::sources::{Arrival, Reports, Sources};
use super::work::{self, Envelope as _, ReportWork};
use crate::http::{Metrics, Readiness};
use crate::kingdom::Kingdom;
use bus::Bus;
use bus::inbox::{Inbox, InboxError};
use bus::log::{AppendError, Log};
use bus::message::Message;
use bus::tail::{Entry, TailError};
use events::limits::EVENTS_PER_INPUT;
use events::{Command, Outcome, Verdict};
use futures_util::FutureExt as _;
use realm::{Context, Input, Response};
use service::clock;
use service::shutdown::Shutdown;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

/// How long a King that stops waits for the commits in flight.
const DRAIN: Duration = Duration::from_secs(3);
/// So many events show that more are on their way.
const MANY: usize = 16;
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

/// The one writer.
pub struct Writer {
    replies: Replies,
    inbox: Inbox,
    machine: Machine<Ticket>,
    confirmer: Confirmer,
    metrics: Arc<Metrics>,
    readiness: Readiness,
    sources: Sources,
    /// A batch of reports that did not fit into the commit that is being collected.
    half_done: Option<ReportWork>,
    flights: Flights,
    /// The random bits that were drawn last: one draw serves many inputs, for the bits of each differ.
    entropy: u128,
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
    /// A writer at the end of the log: `sequence` and `previous` are the last commit's. What can be done beside it is done
    /// where this is called.
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
        let beside = Handle::current();
        let sources = Sources::new(ears, inbox.tail(done), beside.clone());
        let replies = Replies(bus);
        let machine =
            Machine::new(election.state, election.sequence, election.hash).with_flights(log.flights());
        Ok(Self {
            confirmer: Confirmer::new(kingdom, metrics.clone(), replies.clone(), &beside),
            replies,
            inbox,
            machine,
            metrics,
            readiness,
            sources,
            half_done: None,
            flights: Flights::new(log),
            entropy: 0,
        })
    }

    /// Works until it is told to stop; then takes what it has heard already, and waits until all of it is stored.
    ///
    /// # Errors
    /// When another King has taken over, or the bus is gone for good.
    pub async fn run(mut self, shutdown: Shutdown) -> Result<(), WriterError> {
        let ended = self.work(&shutdown).await;
        self.confirmer.close().await;
        ended
    }

    async fn work(&mut self, shutdown: &Shutdown) -> Result<(), WriterError> {
        while !shutdown.is_requested() {
            self.turn(shutdown).await?;
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
        self.sources.close().await;
        let mut hears = true;
        loop {
            self.entropy = clock::fresh_id().as_u128();
            self.continue_reports().await;
            self.launch().await;
            if !hears && self.half_done.is_none() && self.machine.is_idle() {
                return Ok(());
            }
            let open = hears && self.machine.has_room() && self.half_done.is_none();
            tokio::select! {
                biased;
                landing = self.flights.next() => self.landed(landing?).await?,
                heard = self.sources.heard(), if open => match heard {
                    Some(arrival) => self.arrived(arrival).await,
                    None => hears = false,
                },
            }
        }
    }

    /// Waits for one thing and does it.
    async fn turn(&mut self, shutdown: &Shutdown) -> Result<(), WriterError> {
        self.entropy = clock::fresh_id().as_u128();
        self.continue_reports().await;
        self.gather().await?;
        self.launch().await;
        let open = self.machine.has_room() && self.half_done.is_none();
        tokio::select! {
            biased;
            landing = self.flights.next() => self.landed(landing?).await,
            arrival = self.sources.next(), if open => {
                self.arrived(arrival?).await;
                Ok(())
            }
            () = shutdown.requested() => Ok(()),
        }
    }

    /// Takes what has come in already before the next commit goes out: one commit of many costs far less than many.
    async fn gather(&mut self) -> Result<(), WriterError> {
        let mut before = usize::MAX;
        while self.machine.is_due() && self.machine.has_room() && self.half_done.is_none() {
            if let Some(command) = self.sources.ready_command() {
                self.command(command).await;
                continue;
            }
            if let Some(arrival) = self.sources.next().now_or_never() {
                self.arrived(arrival?).await;
                continue;
            }
            let collected = self.machine.collected();
            if collected < MANY || collected == before {
                break;
            }
            before = collected;
            // The connection, which runs on the same thread, reads what the server has sent meanwhile.
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    async fn arrived(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Command(message) => self.command(message).await,
            Arrival::Reports(reports) => self.reports(reports).await,
            Arrival::Queued(entry) => self.queued(&entry),
            Arrival::Tick => self.tick(),
        }
    }

    async fn command(&mut self, message: Message) {
        let format = work::format_of(&message);
        match work::read_command(&message, work::fresh_command_id) {
            Ok(command) => {
                let id = command.id.clone();
                let Some(outcome) = self.decide(command) else { return };
                let ticket = Ticket::Command { message, format, id, outcome };
                if let Some(ticket) = self.machine.wait(ticket) {
                    self.confirmer.answer(ticket).await;
                }
            }
            Err(refusal) => {
                self.metrics.commands_unreadable.inc();
                tracing::info!(subject = &*message.subject, reason = %refusal, "command cannot be read");
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
        let context = self.context();
        match self.machine.take(&Input::Command(command), &context) {
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

    async fn reports(&mut self, reports: Reports) {
        match reports {
            Ok(work) => self.half_done = Some(work),
            Err(unreadable) => {
                let message = unreadable.message;
                tracing::warn!(
                    subject = &*message.subject,
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
        let mut context = self.context();
        while self.machine.has_room() {
            let Some(report) = work.next_report() else {
                if let Some(ticket) = self.machine.wait(Ticket::Reports(work)) {
                    self.confirmer.answer(ticket).await;
                }
                return;
            };
            if let Some(refusal) = work.misplaced(&report) {
                work.push(Verdict::Refused(refusal));
                continue;
            }
            context.entropy = self.next_entropy();
            match self.machine.take(&Input::Report(report), &context) {
                Response::Report(verdict) => work.push(verdict),
                Response::Decided(_) | Response::Repeated(_) | Response::None => {
                    work.push(Verdict::Redundant)
                }
            }
        }
        self.half_done = Some(work);
    }

    /// Continues what was left over; at once again while there is much of it. With nothing to append it looks whether
    /// another King has appended.
    fn tick(&mut self) {
        if self.machine.is_idle() {
            self.flights.look_behind(self.machine.last_commit());
        }
        if self.machine.state().unsettled.is_empty() {
            return;
        }
        let before = self.machine.state().last;
        let context = self.context();
        self.machine.take(&Input::Tick, &context);
        if self.machine.state().last - before >= MUCH_WORK {
            self.sources.hurry();
        }
    }

    fn context(&mut self) -> Context {
        Context { at: clock::now(), entropy: self.next_entropy() }
    }

    fn next_entropy(&mut self) -> u128 {
        self.entropy = self.entropy.wrapping_add(1);
        self.entropy
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
                // Whoever is answered first sends the next command first: the next commit goes out after that, and is larger.
                let stored = self.machine.stored(sequence);
                self.confirmer.confirm(stored, append.payload).await;
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
}
