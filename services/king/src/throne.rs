//! What a King does in each role: it follows the log, takes over, writes, and follows again. The helm says when.
//!
//! It decides nothing about roles. When the fence of the log shows that another King writes, the reign is over here and
//! now: all effects are stopped, what was not stored is thrown away, and the log is followed again in the same process.

mod reign;

pub use reign::{Parts, Prepared, ReignError};

use crate::election::{Ballot, ElectionError, elect};
use crate::follower::Follower;
use reign::{End, Reign};
use tokio::sync::mpsc;

/// Most orders and notices that wait: each is answered before the next is given.
pub const ORDERS: usize = 8;

/// Why the throne cannot go on in any role.
#[derive(Debug, thiserror::Error)]
pub enum ThroneError {
    #[error("the log cannot be followed")]
    Follow(#[from] ElectionError),
    #[error("this King cannot write")]
    Reign(#[from] ReignError),
}

/// What the helm orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Elect,
    Reign,
    Drain,
    /// Stop writing at once, if it writes; follow the log.
    Follow,
    End,
}

/// What the throne says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The log shows an election of this epoch.
    Followed(u64),
    Balloted(Ballot),
    Drained,
    Deposed,
}

/// The throne.
pub struct Throne {
    parts: Parts,
    orders: mpsc::Receiver<Order>,
    notices: mpsc::Sender<Notice>,
}

impl Throne {
    /// A throne that takes its orders here and says there what became of them.
    pub fn new(parts: Parts, orders: mpsc::Receiver<Order>, notices: mpsc::Sender<Notice>) -> Self {
        Self { parts, orders, notices }
    }

    /// Does what is ordered until the end is.
    ///
    /// # Errors
    /// When the log is damaged, or something that no other King caused keeps this one from writing.
    pub async fn run(mut self, mut follower: Follower) -> Result<(), ThroneError> {
        loop {
            match self.follow(&mut follower).await? {
                Order::Elect => {}
                Order::End => return Ok(()),
                Order::Reign | Order::Drain | Order::Follow => continue,
            }
            match self.elect(&mut follower).await? {
                Order::Reign => {}
                Order::End => return Ok(()),
                Order::Elect | Order::Drain | Order::Follow => continue,
            }
            let fold = follower.into_fold();
            if self.reign(fold).await? == Order::End {
                return Ok(());
            }
            follower = self.parts.resume().await?;
        }
    }

    /// Follows the log until something is ordered.
    async fn follow(&mut self, follower: &mut Follower) -> Result<Order, ThroneError> {
        let mut epoch = follower.fold().state.epoch;
        loop {
            tokio::select! {
                biased;
                order = next(&mut self.orders) => return Ok(order),
                taken = follower.next() => taken?,
            }
            if follower.fold().state.epoch != epoch {
                epoch = follower.fold().state.epoch;
                self.say(Notice::Followed(epoch)).await;
            }
        }
    }

    /// Tries to be elected until it has reigning, following or the end to do.
    async fn elect(&mut self, follower: &mut Follower) -> Result<Order, ThroneError> {
        loop {
            let balloted = {
                let balloting = elect(follower, self.parts.candidate);
                tokio::pin!(balloting);
                loop {
                    tokio::select! {
                        balloted = &mut balloting => break balloted?,
                        order = next(&mut self.orders) => {
                            // The others wait for the end of the election: it may be in the log already.
                            if order == Order::End {
                                return Ok(order);
                            }
                        }
                    }
                }
            };
            self.say(Notice::Balloted(balloted)).await;
            match next(&mut self.orders).await {
                Order::Elect => {}
                order @ (Order::Reign | Order::Drain | Order::Follow | Order::End) => return Ok(order),
            }
        }
    }

    /// Writes until another King does, or something else is ordered.
    async fn reign(&mut self, fold: crate::election::Fold) -> Result<Order, ThroneError> {
        let mut reign = Reign::begin(&self.parts, fold).await?;
        let mut drained = false;
        loop {
            tokio::select! {
                ended = reign.ended(), if !drained => match ended? {
                    End::Drained => {
                        drained = true;
                        self.say(Notice::Drained).await;
                    }
                    End::Deposed => {
                        reign.stop().await;
                        self.say(Notice::Deposed).await;
                        return Ok(Order::Follow);
                    }
                },
                order = next(&mut self.orders) => match order {
                    Order::Drain => reign.drain(),
                    Order::Follow | Order::End => {
                        reign.stop().await;
                        return Ok(order);
                    }
                    Order::Elect | Order::Reign => {}
                },
            }
        }
    }

    async fn say(&self, notice: Notice) {
        // Without a helm there is nobody left to tell, and the order to end comes next.
        if self.notices.send(notice).await.is_err() {
            tracing::debug!(?notice, "nobody is at the helm");
        }
    }
}

/// The next order; a helm that is gone orders the end.
async fn next(orders: &mut mpsc::Receiver<Order>) -> Order {
    orders.recv().await.unwrap_or(Order::End)
}
