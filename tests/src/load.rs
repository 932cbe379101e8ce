//! A steady stream of commands, each sent under one id until it is answered, with the times of its answers.

use crate::client::{Client, REQUEST};
use crate::replay::{self, Replay};
use crate::wait;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

/// How long one attempt waits for its answer, when those that are asked may die.
const ATTEMPT: Duration = Duration::from_millis(500);
/// What the client says when no King listens.
const NOBODY: &str = "no responders";
/// Between two attempts when no King listens.
const PAUSE: Duration = Duration::from_millis(2);
/// How long a command may go without an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A command that was answered.
#[derive(Clone, Debug)]
pub struct Answered {
    pub id: String,
    pub at: Instant,
    /// How long it took in all.
    pub took: Duration,
    /// How often it was sent: what was sent again may be the stored answer of an earlier King.
    pub attempts: u32,
    /// How often it was sent to somebody, and nobody answered.
    pub unanswered: u32,
    pub answer: Value,
}

impl Answered {
    /// The number of its event.
    pub fn event(&self) -> u64 {
        self.answer["event"].as_u64().unwrap_or_default()
    }
}

/// A stream that runs.
#[derive(Debug)]
pub struct Load {
    stopped: Arc<AtomicBool>,
    sending: JoinHandle<Vec<Answered>>,
}

impl Load {
    /// Starts one of so many commands in a second. The ids begin with `name`.
    pub fn start(client: &Client, name: &str, per_second: u32) -> Self {
        Self::start_with(client, name, per_second, ATTEMPT)
    }

    /// Starts one that is in no hurry to send again: what is unanswered when nobody dies was lost.
    pub fn start_patient(client: &Client, name: &str, per_second: u32) -> Self {
        Self::start_with(client, name, per_second, REQUEST)
    }

    fn start_with(client: &Client, name: &str, per_second: u32, attempt: Duration) -> Self {
        let stopped = Arc::new(AtomicBool::new(false));
        let caller = Caller { client: client.clone(), attempt };
        let sending = send(caller, name.to_owned(), per_second, stopped.clone());
        Self { stopped, sending: tokio::spawn(sending) }
    }

    /// Sends nothing new; what is under way is asked for until it is answered.
    pub fn hold(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }

    /// Sends no more, and gives what was answered, in the order of the events.
    ///
    /// # Panics
    /// When a command was not answered.
    pub async fn stop(self) -> Vec<Answered> {
        self.hold();
        let mut answered = self.sending.await.expect("the stream does not panic");
        answered.sort_by_key(Answered::event);
        answered
    }
}

#[derive(Clone, Debug)]
struct Caller {
    client: Client,
    attempt: Duration,
}

async fn send(caller: Caller, name: String, per_second: u32, stopped: Arc<AtomicBool>) -> Vec<Answered> {
    let mut beats = interval(Duration::from_secs(1) / per_second);
    beats.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut callers = JoinSet::new();
    let mut number = 0;
    while !stopped.load(Ordering::SeqCst) {
        beats.tick().await;
        let (caller, id) = (caller.clone(), format!("{name}-{number}"));
        callers.spawn(async move { caller.call(id, number).await });
        number += 1;
    }
    callers.join_all().await
}

impl Caller {
    async fn call(&self, id: String, number: u64) -> Answered {
        let body = json!({ "values": { format!("KEY_{}", number % 100): number.to_string() } });
        let (began, mut attempts, mut unanswered) = (Instant::now(), 0, 0);
        loop {
            attempts += 1;
            let payload = body.to_string().into_bytes();
            let request = self.client.request("king.cmd.config.set", Some(&id), payload);
            let attempt = timeout(self.attempt, request).await;
            if let Ok(Ok(bytes)) = attempt {
                let answer = serde_json::from_slice(&bytes).expect("an answer is JSON");
                return Answered {
                    id,
                    at: Instant::now(),
                    took: began.elapsed(),
                    attempts,
                    unanswered,
                    answer,
                };
            }
            let nobody_listens = matches!(&attempt, Ok(Err(reason)) if reason.contains(NOBODY));
            unanswered += u32::from(!nobody_listens);
            assert!(began.elapsed() < PATIENCE, "{id} is not answered: {attempt:?}");
            wait::pause_of(PAUSE).await;
        }
    }
}

/// Checks that every answered command has one outcome in the log, the one that was told, and gives the log.
///
/// # Panics
/// When one has none, several, or another.
pub async fn each_has_one_outcome(client: &Client, answered: &[Answered]) -> Replay {
    let last = answered.iter().map(Answered::event).max();
    let replay = replay::equals_live_with(client, last.unwrap_or_default()).await;
    let outcomes = replay.outcomes();
    for Answered { id, answer, .. } in answered {
        let found =
            outcomes.get(id).unwrap_or_else(|| panic!("{id} was answered {answer} and is not in the log"));
        assert_eq!(found.len(), 1, "{id} has one outcome: {found:?}");
        assert_eq!(answer["status"], found[0].status, "{id}: {answer}");
        assert_eq!(answer["event"], found[0].event, "{id}: {answer}");
    }
    replay
}

/// The time between the last answer of each King and the first of the next, by the number of the election between.
pub fn gaps(answered: &[Answered], replay: &Replay) -> BTreeMap<u64, Duration> {
    let elections = replay.events.iter().filter(|event| event.fact.kind() == "king.elected");
    let gap = |election: u64| {
        let at_once = answered.iter().filter(|answered| answered.attempts == 1);
        let last = at_once.filter(|answered| answered.event() < election).map(|a| a.at).max()?;
        let first = answered.iter().filter(|answered| answered.event() > election).map(|a| a.at).min()?;
        Some((election, first.saturating_duration_since(last)))
    };
    elections.filter_map(|event| gap(event.id)).collect()
}
