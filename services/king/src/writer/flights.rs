//! The commits in flight, in the order of the log.
//!
//! The first attempts are under way at once; what each came to is found out in order, because a commit is stored only
//! if those before it are.

use bus::log::{Append, AppendError, Attempted, Log};
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesOrdered, StreamExt as _};
use std::future::poll_fn;
use std::task::Poll;
use std::time::Instant;

/// The commits in flight.
pub(super) struct Flights {
    log: Log,
    /// The first attempts.
    first: FuturesOrdered<BoxFuture<'static, Flight>>,
    /// The oldest of them, when its attempt has come to something: what it is worth is found out before any other's.
    settling: Option<BoxFuture<'static, Landing>>,
    /// A look at the place behind the last commit, while nothing is in flight.
    look: Option<BoxFuture<'static, Option<AppendError>>>,
}

/// A commit and what its first attempt came to.
struct Flight {
    began: Instant,
    append: Append,
    attempted: Attempted,
}

/// How an append came out, with what is needed to try it again.
pub(super) struct Landing {
    pub began: Instant,
    pub append: Append,
    pub result: Result<u64, AppendError>,
}

impl Flights {
    pub fn new(log: Log) -> Self {
        Self { log, first: FuturesOrdered::new(), settling: None, look: None }
    }

    /// Sends a commit on its way. It is polled once here, so that it is out before anything else is done.
    pub async fn send(&mut self, append: Append) {
        self.look = None;
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
    pub fn repeat(&mut self, append: Append) {
        let log = self.log.clone();
        self.settling = Some(Box::pin(async move {
            let began = Instant::now();
            let result = log.append(append.payload.clone(), append.expected_last).await;
            Landing { began, append, result }
        }));
    }

    /// Looks whether another King has written behind commit `last`, the newest, with nothing in flight: one that has
    /// nothing to append would not notice that it was deposed, and answer from a state that is behind.
    pub fn look_behind(&mut self, last: u64) {
        let log = self.log.clone();
        self.look.get_or_insert_with(|| Box::pin(async move { rival_behind(&log, last).await }));
    }

    /// How the oldest commit came out, or that another King has written; never, when nothing is under way. Nothing is
    /// lost when it is dropped half-way.
    ///
    /// # Errors
    /// [`AppendError::Deposed`], seen by a look.
    pub async fn next(&mut self) -> Result<Landing, AppendError> {
        let landing = match &mut self.settling {
            Some(settling) => settling.await,
            None => {
                let Some(flight) = self.first.next().await else { return Err(self.deposed().await) };
                self.settling.insert(settle(self.log.clone(), flight)).await
            }
        };
        self.settling = None;
        Ok(landing)
    }

    /// Waits until a look shows another King.
    async fn deposed(&mut self) -> AppendError {
        if let Some(look) = &mut self.look {
            let rival = look.await;
            self.look = None;
            if let Some(deposed) = rival {
                return deposed;
            }
        }
        std::future::pending().await
    }
}

async fn rival_behind(log: &Log, last: u64) -> Option<AppendError> {
    match log.goes_on_after(last).await {
        Ok(goes_on) => goes_on.then_some(AppendError::Deposed { sequence: last + 1 }),
        Err(error) => {
            tracing::debug!(%error, "whether another King has written cannot be seen now");
            None
        }
    }
}

fn settle(log: Log, Flight { began, append, attempted }: Flight) -> BoxFuture<'static, Landing> {
    Box::pin(async move {
        let result = log.settle(&append, attempted).await;
        Landing { began, append, result }
    })
}
