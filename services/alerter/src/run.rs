//! The shell: tails the log into the machines, and does what they say. It holds no rule of its own.

mod errand;

use crate::args::Args;
use crate::courier::{Action, Courier};
use crate::incidents::Incidents;
use crate::mail::Sender;
use crate::notices::{NoticeError, Notices};
use crate::post::{Files, FilesError, Post, Smtp, SmtpError};
use bus::Bus;
use bus::log::{Log, LogError};
use bus::tail::{Entry, Tail, TailError};
use errand::Outcome;
use events::event::AlertEvent;
use events::{Commit, Event, Fact};
use service::Shutdown;
use service::clock::now;
use service::data::Folder;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

/// How often the machines are told the time.
const TICK: Duration = Duration::from_millis(100);
/// How often a log that is not there yet is looked for: the King makes it.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Why an Alerter cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Smtp(#[from] SmtpError),
    #[error(transparent)]
    Files(#[from] FilesError),
    #[error("what Kings tell of the log cannot be mailed")]
    Notices(#[from] NoticeError),
    #[error("the log cannot be read")]
    Log(#[from] LogError),
    #[error("the log cannot be followed")]
    Tail(#[from] TailError),
    #[error(
        "commit {sequence} of the log cannot be read; was it written by a newer King? update this Alerter"
    )]
    Unreadable {
        sequence: u64,
        #[source]
        source: events::wire::WireError,
    },
}

/// Where the mails go, as the flags say.
///
/// # Errors
/// When the mail server's URL cannot be used, or the folder cannot be made.
pub fn post(args: &Args, folder: &Folder) -> Result<Post, RunError> {
    let patience = Duration::from_millis(args.smtp_timeout_ms);
    Ok(match &args.smtp {
        Some(url) => Post::Smtp(Arc::new(Smtp::new(url, patience)?)),
        None => Post::Files(Arc::new(Files::open(folder.join("mail"))?)),
    })
}

/// Runs until the end is asked for.
///
/// # Errors
/// When the log cannot be followed.
pub async fn run(
    args: &Args,
    folder: &Folder,
    bus: Bus,
    post: Post,
    shutdown: &Shutdown,
) -> Result<(), RunError> {
    let notices = Notices {
        bus: bus.clone(),
        post: post.clone(),
        sender: Arc::new(Sender { from: args.from.clone(), kingdom: args.kingdom.as_str().to_owned() }),
        to: args.to.iter().map(ToString::to_string).collect(),
        path: folder.join("notices.json"),
    };
    tokio::select! {
        ended = notices.run() => Ok(ended?),
        ended = follow(args, &bus, &post) => ended,
        () = shutdown.requested() => Ok(()),
    }
}

/// A log that was lost or shortened is read anew from its beginning, once it is there again: all that is known is in it.
async fn follow(args: &Args, bus: &Bus, post: &Post) -> Result<(), RunError> {
    loop {
        match Shell::new(args, bus.clone(), post.clone()).work().await {
            Err(error @ (RunError::Tail(_) | RunError::Log(_))) => {
                tracing::error!(reason = service::chain(&error), "reads the log anew");
            }
            ended => return ended,
        }
        sleep(LOOK_AGAIN).await;
    }
}

struct Shell {
    bus: Bus,
    clock: Instant,
    incidents: Incidents,
    courier: Courier,
    post: Post,
    sender: Arc<Sender>,
    /// Whether the log has been read to its end once: before, nothing is done.
    live: bool,
    errands: JoinSet<Outcome>,
}

impl Shell {
    fn new(args: &Args, bus: Bus, post: Post) -> Self {
        let kingdom = args.kingdom.as_str().to_owned();
        let recipients = args.to.iter().map(ToString::to_string).collect();
        Self {
            bus,
            clock: Instant::now(),
            incidents: Incidents::new(&kingdom, args.resolve_after_ms, args.errors_quiet_ms),
            courier: Courier::new(recipients, args.mail_patience_ms),
            post,
            sender: Arc::new(Sender { from: args.from.clone(), kingdom }),
            live: false,
            errands: JoinSet::new(),
        }
    }

    async fn work(&mut self) -> Result<(), RunError> {
        let mut tail = self.open().await?;
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                entry = tail.next() => self.entry(&entry?)?,
                Some(outcome) = self.errands.join_next() => {
                    self.ended(outcome.expect("errands do not panic and are not aborted"));
                }
                _ = ticks.tick() => self.tick(),
            }
            self.send_out();
        }
    }

    /// The log from its beginning, as soon as there is one.
    async fn open(&mut self) -> Result<Tail, RunError> {
        let log = loop {
            match Log::open(&self.bus).await {
                Ok(log) => break log,
                Err(error) => tracing::info!(%error, "waits for the King to make the log"),
            }
            sleep(LOOK_AGAIN).await;
        };
        if log.last_sequence().await? == 0 {
            self.catch_up();
        }
        Ok(log.tail(0))
    }

    fn entry(&mut self, entry: &Entry) -> Result<(), RunError> {
        if self.incidents.may_concern(&entry.payload) {
            let commit: Commit = events::wire::decode(&entry.payload)
                .map_err(|source| RunError::Unreadable { sequence: entry.sequence, source })?;
            commit.events.iter().for_each(|event| self.event(event));
        }
        if entry.pending == 0 && !self.live {
            self.catch_up();
        }
        Ok(())
    }

    fn catch_up(&mut self) {
        self.live = true;
        let notices = self.incidents.tick(now());
        notices.into_iter().for_each(|notice| self.courier.want(notice));
        let ancient = self.courier.caught_up(now(), &self.incidents.open_mails());
        tracing::info!(mails = self.courier.len(), ancient, "has read the log");
    }

    fn event(&mut self, event: &Event) {
        for notice in self.incidents.apply(event) {
            self.courier.want(notice);
        }
        if let Fact::Alert(alert) = &event.fact {
            match alert {
                AlertEvent::Planned(planned) => self.courier.planned(planned, event.at),
                AlertEvent::Sent(_) | AlertEvent::Failed(_) => self.courier.settled(alert.mail()),
            }
        }
    }

    fn tick(&mut self) {
        if self.live {
            let notices = self.incidents.tick(now());
            notices.into_iter().for_each(|notice| self.courier.want(notice));
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.clock.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn send_out(&mut self) {
        if !self.live {
            return;
        }
        for action in self.courier.next(self.now()) {
            let bus = self.bus.clone();
            match action {
                Action::Plan(notice, refusals) => {
                    tracing::info!(mail = %notice.mail, subject = notice.subject, "plans a mail");
                    self.errands.spawn(errand::plan(bus, notice, refusals));
                }
                Action::Send(letter, to) => {
                    let (post, sender) = (self.post.clone(), self.sender.clone());
                    self.errands.spawn(errand::send(post, sender, letter, to));
                }
                Action::Record(mail, result) => {
                    tracing::info!(%mail, result = ?result, "records a mail");
                    self.errands.spawn(errand::record(bus, mail, result));
                }
            }
        }
    }

    fn ended(&mut self, outcome: Outcome) {
        let now = self.now();
        match outcome {
            Outcome::Plan(mail, answered) => self.courier.plan_answered(mail, answered, now),
            Outcome::Send(mail, taken) => self.courier.sent(mail, taken, now),
            Outcome::Record(mail, answered) => self.courier.record_answered(mail, answered, now),
        }
    }
}
