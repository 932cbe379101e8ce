//! The shell: gives the machines the bus and the time, and does what they say. It holds no rule of its own.

mod own;
mod pulse;
mod view;

use crate::args::Args;
use crate::relay::{Action, Dropped, Relay, Sender, Ticket};
use crate::watch::{Advice, Watch};
use bus::outbox::{Outbox, OutboxError};
use bus::{Bus, Message, Subscription};
use events::answer::ReportAnswer;
use events::view::{Beat, Domain};
use events::wire::{Format, encode};
use events::{DomainName, Report, Verdict, subject};
use own::{Own, OwnError};
use pulse::Pulse;
use service::Shutdown;
use service::data::Folder;
use service::identity::{IdentityError, load_or_create};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use view::View;

/// How often the machines are told the time.
const TICK: Duration = Duration::from_millis(50);
/// How long the King may take for one batch; its senders wait for 5 s.
const KING_PATIENCE: Duration = Duration::from_secs(2);
/// How long the last batch may take when this Foreman stops.
const DRAIN: Duration = Duration::from_secs(1);

/// Why a Foreman cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("the Foreman has no identity")]
    Identity(#[from] IdentityError),
    #[error("the Foreman cannot number its reports")]
    Outbox(#[from] OutboxError),
    #[error(transparent)]
    Subscribe(#[from] bus::connect::SubscribeError),
    #[error("the connection to NATS was closed for good; start the Foreman again")]
    Closed,
}

/// Runs until the end is asked for.
///
/// # Errors
/// When its data folder cannot be used, or the connection is closed for good.
pub async fn run(args: &Args, bus: Bus, folder: &Folder, shutdown: &Shutdown) -> Result<(), RunError> {
    let id = load_or_create(&folder.join("id"))?;
    let outbox = Outbox::open(folder.join("outbox")).await?;
    let own = Own::new(id, args.domain.clone(), outbox)?;
    // Before the view is there: what is reported before this Foreman knows anybody travels up all the same.
    let ups = bus.subscribe(&subject::ups(&args.domain)).await?;
    let beats = bus.subscribe(&subject::beats(&args.domain)).await?;
    let pulse = Pulse::start(&bus, &args.domain);
    let shell = Shell::new(args, bus, own, pulse);
    tracing::info!(domain = %args.domain, foreman = %id, "listening");
    shell.work(ups, beats, shutdown).await
}

struct Shell {
    domain: DomainName,
    bus: Bus,
    clock: Instant,
    watch: Watch,
    relay: Relay,
    own: Own,
    pulse: Pulse,
    /// Requests that wait for their answer.
    requests: BTreeMap<Ticket, Message>,
    tickets: u64,
    /// The batch that is with the King.
    asking: Option<Asking>,
}

struct Asking {
    batch: u64,
    answer: JoinHandle<Option<Vec<Verdict>>>,
}

impl Shell {
    fn new(args: &Args, bus: Bus, own: Own, pulse: Pulse) -> Self {
        Self {
            domain: args.domain.clone(),
            bus,
            clock: Instant::now(),
            watch: Watch::new(args.lost_after_ms, 0),
            relay: Relay::new(args.domain.clone()),
            own,
            pulse,
            requests: BTreeMap::new(),
            tickets: 0,
            asking: None,
        }
    }

    async fn work(
        mut self,
        mut ups: Subscription,
        mut beats: Subscription,
        shutdown: &Shutdown,
    ) -> Result<(), RunError> {
        let mut view = View::start(&self.bus, &self.domain);
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let failing = self.own.failing();
        tokio::pin!(failing);
        loop {
            // Beats first: what was heard counts before the time that has passed.
            tokio::select! {
                biased;
                () = shutdown.requested() => break,
                // Without numbers nothing can be told; the next start writes anew what can be read.
                error = &mut failing => return Err(error.into()),
                beat = beats.next() => self.beat(&beat.ok_or(RunError::Closed)?).await,
                (batch, verdicts) = answer(&mut self.asking) => self.answered(batch, verdicts).await,
                _ = ticks.tick() => self.tick().await,
                domain = view.next() => self.view(domain),
                up = ups.next() => self.up(up.ok_or(RunError::Closed)?).await,
            }
        }
        self.drain().await;
        Ok(())
    }

    fn now(&self) -> u64 {
        u64::try_from(self.clock.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    async fn beat(&mut self, message: &Message) {
        let beat: Beat = match Format::MessagePack.decode(&message.payload) {
            Ok(beat) => beat,
            Err(error) => {
                let reason = error.reason();
                return tracing::warn!(subject = &*message.subject, reason, "beat cannot be read");
            }
        };
        let named = subject::servant_of(&message.subject);
        if self.watch.name(beat.servant).is_some_and(|name| Some(name) != named.as_ref()) {
            return tracing::warn!(subject = &*message.subject, servant = %beat.servant, "beat under another's name");
        }
        let advice = self.watch.beat(beat.servant, self.now());
        self.heed(advice).await;
    }

    fn view(&mut self, domain: Option<Domain>) {
        let nobody = || Domain { domain: self.domain.clone(), servants: Vec::new() };
        let domain = domain.unwrap_or_else(nobody);
        tracing::debug!(servants = domain.servants.len(), "view");
        self.watch.view(&domain, self.now());
    }

    async fn tick(&mut self) {
        let now = self.now();
        if self.bus.is_connected() && self.pulse.beats() {
            self.watch.connected(now);
        } else {
            self.watch.disconnected();
        }
        let advice = self.watch.tick(now);
        self.heed(advice).await;
        let actions = self.relay.tick(now);
        self.perform(actions).await;
        self.tell().await;
    }

    async fn heed(&mut self, advice: Vec<Advice>) {
        for advice in advice {
            match advice {
                Advice::Report(news) => {
                    tracing::info!(news = ?news, "tells the King");
                    self.own.say(news);
                }
                Advice::Held(hold) => tracing::warn!(domain = %self.domain, "{hold}"),
            }
        }
        self.tell().await;
    }

    /// Own reports, one request at a time, through the same relay.
    async fn tell(&mut self) {
        let ticket = Ticket(self.tickets);
        match self.own.next(ticket).await {
            Ok(Some(reports)) => {
                self.tickets += 1;
                let actions = self.relay.received(ticket, &Sender::Foreman, reports, self.now());
                Box::pin(self.perform(actions)).await;
            }
            Ok(None) => {}
            Err(OwnError { servants, source }) => {
                tracing::error!(error = %source, "own reports cannot be numbered; they are told again");
                servants.into_iter().for_each(|servant| self.watch.unsaid(servant));
            }
        }
    }

    async fn up(&mut self, message: Message) {
        let Some(name) = subject::servant_of(&message.subject) else {
            return tracing::warn!(subject = &*message.subject, "reports under no servant's name");
        };
        let reports: Vec<Report> = match Format::MessagePack.decode(&message.payload) {
            Ok(reports) => reports,
            Err(error) => {
                let reason = error.reason();
                return tracing::warn!(servant = %name, reason, "reports cannot be read; their sender keeps them");
            }
        };
        let ticket = Ticket(self.tickets);
        self.tickets += 1;
        self.requests.insert(ticket, message);
        let actions = self.relay.received(ticket, &Sender::Servant(name), reports, self.now());
        self.perform(actions).await;
    }

    async fn answered(&mut self, batch: u64, verdicts: Option<Vec<Verdict>>) {
        self.asking = None;
        let now = self.now();
        let actions = match verdicts {
            Some(verdicts) => self.relay.answered(batch, verdicts, now),
            None => self.relay.failed(batch, now),
        };
        self.perform(actions).await;
        self.tell().await;
    }

    async fn perform(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Send { batch, reports } => {
                    let answer = tokio::spawn(ask(self.bus.clone(), self.domain.clone(), reports));
                    self.asking = Some(Asking { batch, answer });
                }
                Action::Answer { ticket, verdicts } => self.pass_down(ticket, verdicts).await,
                Action::Drop { ticket, why } => self.let_go(ticket, why),
            }
        }
    }

    async fn pass_down(&mut self, ticket: Ticket, verdicts: Vec<Verdict>) {
        if let Some(message) = self.requests.remove(&ticket) {
            if let Err(error) = self.bus.answer(&message, encode(&ReportAnswer { verdicts })).await {
                tracing::warn!(subject = &*message.subject, %error, "answer is lost; its sender sends again");
            }
        } else {
            self.own.answered(ticket, &verdicts);
        }
    }

    fn let_go(&mut self, ticket: Ticket, why: Dropped) {
        let why = match why {
            Dropped::Full => "too much waits for the King",
            Dropped::Stale => "the King did not answer in time",
            Dropped::Unreadable => "the King cannot read them; are it and their sender of the same build?",
        };
        match self.requests.remove(&ticket) {
            Some(message) => {
                tracing::warn!(subject = &*message.subject, why, "reports stay with their sender")
            }
            None => {
                tracing::warn!(why, "own reports are taken back");
                self.own.taken_back(ticket).into_iter().for_each(|servant| self.watch.unsaid(servant));
            }
        }
    }

    /// What is with the King already is answered, if that does not take long; the rest stays with its senders.
    async fn drain(mut self) {
        if let Ok((batch, verdicts)) = timeout(DRAIN, answer(&mut self.asking)).await {
            self.answered(batch, verdicts).await;
        }
    }
}

/// The answer of the batch that is with the King; never when there is none. Can be cancelled.
async fn answer(asking: &mut Option<Asking>) -> (u64, Option<Vec<Verdict>>) {
    match asking {
        Some(Asking { batch, answer }) => {
            let verdicts = answer.await.expect("asking does not panic and is not aborted");
            (*batch, verdicts)
        }
        None => std::future::pending().await,
    }
}

/// One request to the King; none when there is no answer that can be read.
async fn ask(bus: Bus, domain: DomainName, reports: Vec<Report>) -> Option<Vec<Verdict>> {
    let subject = subject::report(&domain);
    let answer = bus.request(&subject, &[], encode(&reports), KING_PATIENCE).await;
    let answer: Result<ReportAnswer, String> = match answer {
        Ok(message) => Format::MessagePack.decode(&message.payload).map_err(|error| error.reason()),
        Err(error) => Err(error.to_string()),
    };
    match answer {
        Ok(answer) => Some(answer.verdicts),
        Err(reason) => {
            tracing::warn!(
                reports = reports.len(),
                reason,
                "the King did not take a batch; it is sent again"
            );
            None
        }
    }
}
