//! The helm: the shell around the machine of the lease. It hands in what the bucket, the throne, other Kings and the
//! time say, and carries out what the machine answers. It holds no rule of its own.
//!
//! It is a task of its own, so that a renewal never waits for the log.

mod bucket;
mod peers;
mod handover;

pub use handover::{HEIR_PATIENCE, TRANSFER_PATIENCE};

use crate::follower::Follower;
use crate::lease::{Action, Machine, Observation, Settings};
use crate::status::Status;
use crate::throne::{self, Notice, ORDERS, Order, Throne, ThroneError};
use bucket::Bucket;
use bus::Message;
use bus::connect::SubscribeError;
use bus::lease::Lease;
use events::KingId;
use events::query::KingRole;
use futures_util::future::BoxFuture;
use handover::{Handover, Readied};
use peers::{Letter, Peers};
use service::Shutdown;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant, sleep_until};

/// Most letters of other Kings that wait.
const LETTERS: usize = 16;

/// Why a King cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum HelmError {
    #[error("other Kings cannot be heard")]
    Subscribe(#[from] SubscribeError),
    #[error(transparent)]
    Throne(#[from] ThroneError),
}

/// How a King takes its turn at writing.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    /// The King that used this data folder before.
    pub forerunner: Option<KingId>,
    /// How long a lease lasts.
    pub lease: Duration,
    /// Random bits.
    pub seed: u64,
}

/// The helm.
struct Helm {
    parts: throne::Parts,
    status: Status,
    machine: Machine,
    started: Instant,
    bucket: Bucket,
    /// The read or write of the lease that is under way.
    asking: Option<BoxFuture<'static, Observation>>,
    /// The backup that is being made ready.
    readying: Option<BoxFuture<'static, Readied>>,
    handover: Handover,
    orders: mpsc::Sender<Order>,
    throne: JoinHandle<Result<(), ThroneError>>,
}

/// Something happened.
enum Happening {
    Seen(Observation),
    Noticed(Option<Notice>),
    Letter(Letter),
    Readied(Readied),
    ToldToEnd,
    TransferTooLate,
}

/// Runs a King in whatever role it has, from its place at the end of the log, until it is told to end.
///
/// # Errors
/// When the log is damaged, or something that no other King caused keeps this one from writing.
pub async fn run(
    parts: throne::Parts,
    status: Status,
    lease: Lease,
    turn: Turn,
    follower: Follower,
    shutdown: Shutdown,
) -> Result<(), HelmError> {
    let (letters, mut inbound) = mpsc::channel(LETTERS);
    let peers = Peers::open(&parts, &status, letters).await?;
    let hearing = tokio::spawn(peers.run());
    let (orders, taken) = mpsc::channel(ORDERS);
    let (notices, mut noticed) = mpsc::channel(ORDERS);
    let lease_ms = u64::try_from(turn.lease.as_millis()).unwrap_or(u64::MAX);
    let settings = Settings { me: parts.king(), forerunner: turn.forerunner, lease_ms, seed: turn.seed };
    let machine = Machine::new(settings, follower.fold().state.epoch, 0);
    let throne = tokio::spawn(Throne::new(parts.clone(), taken, notices).run(follower));
    let helm = Helm {
        bucket: Bucket::new(lease, turn.lease),
        parts,
        status,
        machine,
        started: Instant::now(),
        asking: None,
        readying: None,
        handover: Handover::default(),
        orders,
        throne,
    };
    let ended = helm.steer(&mut inbound, &mut noticed, &shutdown).await;
    hearing.abort();
    ended
}

impl Helm {
    async fn steer(
        mut self,
        letters: &mut mpsc::Receiver<Letter>,
        notices: &mut mpsc::Receiver<Notice>,
        shutdown: &Shutdown,
    ) -> Result<(), HelmError> {
        let mut told = false;
        self.observe(Observation::Time).await;
        loop {
            let wakes_at = self.machine.wakes_at().map(|at| self.started + Duration::from_millis(at));
            let happening = tokio::select! {
                biased;
                seen = pending(&mut self.asking) => Happening::Seen(seen),
                notice = notices.recv() => Happening::Noticed(notice),
                readied = pending(&mut self.readying) => Happening::Readied(readied),
                Some(letter) = letters.recv() => Happening::Letter(letter),
                () = shutdown.requested(), if !told => Happening::ToldToEnd,
                () = self.handover.too_late() => Happening::TransferTooLate,
                () = until(wakes_at) => Happening::Seen(Observation::Time),
            };
            match happening {
                Happening::Seen(observation) => self.observe(observation).await,
                Happening::Noticed(Some(notice)) => self.noticed(notice).await,
                // The throne has ended, by order or for a reason of its own.
                Happening::Noticed(None) => break,
                Happening::Letter(letter) => self.letter(letter).await,
                Happening::Readied(readied) => self.readied(readied).await,
                Happening::ToldToEnd => {
                    told = true;
                    self.told_to_end().await;
                }
                Happening::TransferTooLate => self.handover.give_up(&self.parts.bus).await,
            }
        }
        Ok(self.throne.await.expect("the throne does not panic")?)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    async fn observe(&mut self, observation: Observation) {
        let actions = self.machine.observe(observation, self.now());
        for action in actions {
            tracing::trace!(?action, "helm");
            self.perform(action).await;
        }
        self.status.set_role(self.machine.role());
    }

    async fn perform(&mut self, action: Action) {
        match action {
            Action::Read => self.asking = Some(self.bucket.read()),
            Action::Write { lease, revision } => self.asking = Some(self.bucket.write(lease, revision)),
            Action::Elect => self.order(Order::Elect).await,
            Action::Reign => self.order(Order::Reign).await,
            Action::Drain => self.order(Order::Drain).await,
            Action::Depose => {
                tracing::warn!("another King has taken the lease; this one writes no more and follows it");
                self.reign_is_over();
                self.order(Order::Follow).await;
            }
            Action::Follow => {
                self.reign_is_over();
                self.order(Order::Follow).await;
            }
            Action::Call { heir } => handover::call(&self.parts, heir).await,
            Action::End => self.order(Order::End).await,
        }
    }

    /// What stood between the writer and its log stands no more between anybody and this King.
    fn reign_is_over(&self) {
        self.parts.ledger.close();
        self.parts.readiness.clear("log-unavailable");
    }

    async fn order(&mut self, order: Order) {
        // A throne that has ended is noticed by its notices.
        if self.orders.send(order).await.is_err() {
            tracing::debug!(?order, "nobody is on the throne");
        }
    }

    async fn noticed(&mut self, notice: Notice) {
        match notice {
            Notice::Followed(epoch) => {
                self.observe(Observation::Followed { epoch }).await;
                self.handover.followed(&self.parts, epoch).await;
            }
            Notice::Balloted(crate::election::Ballot::Won(epoch)) => {
                self.parts.metrics.elections.inc();
                tracing::info!(epoch, king = %self.parts.king(), "this King writes");
                self.observe(Observation::Elected { epoch }).await;
                self.handover.came_back(&self.parts.bus).await;
            }
            Notice::Balloted(crate::election::Ballot::Lost(epoch)) => {
                self.observe(Observation::Unelected { epoch }).await;
            }
            Notice::Drained => self.observe(Observation::Drained).await,
            Notice::Deposed => {
                self.parts.metrics.depositions.inc();
                self.observe(Observation::Deposed).await;
            }
        }
    }

    async fn letter(&mut self, letter: Letter) {
        match letter {
            Letter::Called => self.observe(Observation::Called).await,
            Letter::Transfer(message) => self.transfer(message).await,
        }
    }

    /// Only the King that writes answers.
    async fn transfer(&mut self, message: Message) {
        if self.machine.role() != KingRole::Writer {
            return;
        }
        if !self.machine.may_hand_over() || self.readying.is_some() {
            return handover::refuse(&self.parts.bus, &message, handover::busy()).await;
        }
        self.readying = Some(handover::ready_for(self.parts.clone(), message));
    }

    async fn told_to_end(&mut self) {
        if self.machine.may_hand_over() && self.readying.is_none() {
            self.readying = Some(handover::ready_any(self.parts.clone()));
        } else {
            self.observe(Observation::Stop { heir: None }).await;
        }
    }

    async fn readied(&mut self, readied: Readied) {
        match readied {
            Readied::ToTransfer { message, heir: Ok(heir) } => {
                self.handover.begin(message, &heir);
                self.observe(Observation::Transfer { heir: heir.king }).await;
            }
            Readied::ToTransfer { message, heir: Err(refusal) } => {
                self.parts.ledger.close();
                handover::refuse(&self.parts.bus, &message, refusal).await;
            }
            Readied::ToEnd { heir } => {
                self.observe(Observation::Stop { heir: heir.map(|heir| heir.king) }).await;
            }
        }
    }
}

/// What a future gives, once; never, when there is none.
async fn pending<T>(future: &mut Option<BoxFuture<'static, T>>) -> T {
    match future {
        Some(running) => {
            let output = running.await;
            *future = None;
            output
        }
        None => std::future::pending().await,
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
