//! Users who never stop: each sends one command after the other, by request or into the queue, and remembers what it
//! was told and when. Most ask again under the same id until they are told; some ask once and never learn.

use super::site::MOVING;
use crate::client::Client;
use crate::wait;
use async_nats::HeaderMap;
use events::subject::HEADER_ID;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

/// Users who ask and wait; as many leave commands in the queue.
const ASKING: usize = 4;
const QUEUEING: usize = 1;
/// Between an answer and the next command of the same user.
const THINKING: Duration = Duration::from_millis(60);
/// A user who is never told ends the run.
const PATIENCE: Duration = Duration::from_secs(120);
/// Of so many commands of a user, one is asked once only.
const ONCE_IN: usize = 9;

/// What was told about a command.
#[derive(Clone, Debug)]
pub struct Told {
    pub id: String,
    /// When it was sent first, and when its answer was there.
    pub sent: Instant,
    pub told: Instant,
    /// `accepted` or `refused`, and the number of the event that says so.
    pub status: String,
    pub event: u64,
}

/// Everything that users remember.
#[derive(Debug, Default)]
pub struct Memory {
    pub told: Vec<Told>,
    /// Commands that the queue has acknowledged.
    pub queued: BTreeSet<String>,
    /// Commands without an answer: they ran once or never.
    pub unknown: BTreeSet<String>,
}

/// The users.
#[derive(Debug)]
pub struct Users {
    memory: Arc<Mutex<Memory>>,
    resting: watch::Sender<bool>,
    busy: watch::Receiver<usize>,
    users: JoinSet<()>,
}

struct User {
    client: Client,
    memory: Arc<Mutex<Memory>>,
    numbers: Arc<AtomicUsize>,
    resting: watch::Receiver<bool>,
    busy: watch::Sender<usize>,
}

impl Users {
    /// Starts them; each is connected to a server of its own choice, and to another when that one is away.
    ///
    /// # Panics
    /// When no server takes them.
    pub async fn start(url: &str) -> Self {
        let (memory, numbers) = (Arc::default(), Arc::new(AtomicUsize::new(0)));
        let (resting, rested) = watch::channel(false);
        let (worker, busy) = watch::channel(0);
        let mut users = JoinSet::new();
        for index in 0..ASKING + QUEUEING {
            let user = User {
                client: Client::connect(url).await,
                memory: Arc::clone(&memory),
                numbers: numbers.clone(),
                resting: rested.clone(),
                busy: worker.clone(),
            };
            users.spawn(user.live(index >= ASKING));
        }
        Self { memory, resting, busy, users }
    }

    /// Lets everybody finish the command at hand and send no further one.
    ///
    /// # Panics
    /// When somebody is not told what became of it.
    pub async fn rest(&mut self) {
        self.resting.send_replace(true);
        let all_rest = tokio::time::timeout(PATIENCE, self.busy.wait_for(|busy| *busy == 0)).await;
        let failed = self.users.try_join_next();
        assert!(failed.is_none(), "a user gave up: {failed:?}");
        assert!(all_rest.is_ok_and(|rests| rests.is_ok()), "somebody is not told what became of a command");
    }

    /// Lets them go on.
    pub fn go_on(&self) {
        self.resting.send_replace(false);
    }

    /// What they remember.
    pub fn memory(&self) -> MutexGuard<'_, Memory> {
        lock(&self.memory)
    }

    /// Waits until somebody is told about a command that was sent after a moment.
    ///
    /// # Panics
    /// When nobody is.
    pub async fn somebody_is_told(&self, after: Instant) {
        wait::within(PATIENCE, "a new command is answered", async || {
            let told = self.memory().told.iter().rev().any(|told| told.sent >= after);
            wait::holds(told, || "nobody was told yet".to_owned())
        })
        .await;
    }

    /// The longest time within a span in which nobody was told anything.
    pub fn silence(&self, from: Instant, to: Instant) -> Duration {
        let mut moments: Vec<_> = self
            .memory()
            .told
            .iter()
            .map(|told| told.told)
            .filter(|told| *told >= from && *told <= to)
            .collect();
        moments.extend([from, to]);
        moments.sort();
        moments.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
    }
}

fn lock(memory: &Mutex<Memory>) -> MutexGuard<'_, Memory> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}

impl User {
    async fn live(mut self, queueing: bool) {
        loop {
            if self.resting.wait_for(|resting| !resting).await.is_err() {
                return;
            }
            self.busy.send_modify(|busy| *busy += 1);
            // Between the look and the count rest may have begun; then this is the command at hand.
            let number = self.numbers.fetch_add(1, Ordering::SeqCst);
            if queueing {
                self.queue(number).await;
            } else {
                self.ask(number).await;
            }
            self.busy.send_modify(|busy| *busy -= 1);
            sleep(THINKING).await;
        }
    }

    async fn ask(&self, number: usize) {
        let (id, (kind, body)) = (format!("asked-{number}"), order(number));
        let (subject, payload) = (format!("king.cmd.{kind}"), body.to_string().into_bytes());
        let sent = Instant::now();
        loop {
            let answer = self.client.request(&subject, Some(&id), payload.clone()).await;
            if let Some((status, event)) = answer.ok().as_deref().and_then(outcome) {
                lock(&self.memory).told.push(Told { id, sent, told: Instant::now(), status, event });
                return;
            }
            if number.is_multiple_of(ONCE_IN) {
                lock(&self.memory).unknown.insert(id);
                return;
            }
            assert!(sent.elapsed() < PATIENCE, "{id} {kind} is not answered");
            wait::pause().await;
        }
    }

    async fn queue(&self, number: usize) {
        let id = format!("queued-{number}");
        let (subject, payload) = ("king.queue.config.set", setting(number).to_string());
        let sent = Instant::now();
        loop {
            let mut headers = HeaderMap::new();
            headers.insert(HEADER_ID, id.as_str());
            let jetstream = &self.client.jetstream;
            if let Ok(stored) = jetstream.publish_with_headers(subject, headers, payload.clone().into()).await
                && stored.await.is_ok()
            {
                lock(&self.memory).queued.insert(id);
                return;
            }
            assert!(sent.elapsed() < PATIENCE, "{id} is not queued");
            wait::pause().await;
        }
    }
}

/// The command of a number: a mix, with some that must be refused.
fn order(number: usize) -> (&'static str, Value) {
    match number % 20 {
        0 => ("app.scale", json!({ "app": MOVING, "count": number / 20 % 3 + 1 })),
        1 | 11 => ("app.create", json!({ "app": format!("app-{}", number / 10 % 500) })),
        2 | 12 => ("app.deploy", json!({ "app": "nowhere", "version": "1.0.0" })),
        _ => ("config.set", setting(number)),
    }
}

fn setting(number: usize) -> Value {
    json!({ "values": { format!("KEY_{}", number % 100): number.to_string() } })
}

/// What an answer says, when it says what became of the command.
fn outcome(bytes: &[u8]) -> Option<(String, u64)> {
    let answer: Value = serde_json::from_slice(bytes).ok()?;
    Some((answer["status"].as_str()?.to_owned(), answer["event"].as_u64()?))
}
