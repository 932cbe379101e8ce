//! `kill -9` of every service in the middle of a stream of commands, each twice: nothing is lost, nothing is done twice.

use kingdom_tests::apps::IDLE_APP;
use kingdom_tests::client::Client;
use kingdom_tests::{Kingdom, replay, wait};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

const COMMANDS: usize = 500;
const CALLERS: usize = 8;
const VICTIMS: [&str; 10] =
    ["king", "foreman", "s1", "alerter", "nats", "king", "foreman", "s1", "alerter", "nats"];

/// The command of a number: a mix, with some that must be refused.
fn order(number: usize) -> (&'static str, Value) {
    match number % 5 {
        0 => ("config.set", json!({ "values": { format!("KEY_{}", number % 200): number.to_string() } })),
        1 => ("app.scale", json!({ "app": "moving", "count": number % 3 + 1 })),
        2 => ("app.create", json!({ "app": format!("app-{number}") })),
        3 => ("app.create", json!({ "app": format!("app-{}", number - 1) })),
        _ => ("config.set", json!({ "app": "moving", "values": { "NUMBER": number.to_string() } })),
    }
}

/// A stream of commands that goes on while services die. It is let run by shares, so that every death falls into it.
struct Stream {
    answered: Arc<AtomicUsize>,
    moved: watch::Receiver<usize>,
    allowed: Arc<Semaphore>,
    callers: JoinSet<Vec<(String, Value)>>,
}

impl Stream {
    fn start(client: &Client) -> Self {
        let (answered, taken) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (mover, moved) = watch::channel(0);
        let (mover, allowed) = (Arc::new(mover), Arc::new(Semaphore::new(0)));
        let mut callers = JoinSet::new();
        for _ in 0..CALLERS {
            let (client, allowed) = (client.clone(), allowed.clone());
            let (answered, taken, mover) = (answered.clone(), taken.clone(), mover.clone());
            callers.spawn(async move {
                let mut answers = Vec::new();
                loop {
                    allowed.acquire().await.expect("never closed").forget();
                    let number = taken.fetch_add(1, Ordering::SeqCst);
                    if number >= COMMANDS {
                        return answers;
                    }
                    let (id, (kind, body)) = (format!("stream-{number}"), order(number));
                    let answer = client.command_until_answered(&id, kind, &body).await;
                    answers.push((id, answer));
                    mover.send_replace(answered.fetch_add(1, Ordering::SeqCst) + 1);
                }
            });
        }
        Self { answered, moved, allowed, callers }
    }

    /// Lets so many more commands run.
    fn allow(&self, more: usize) {
        self.allowed.add_permits(more);
    }

    /// Waits until so many are answered.
    async fn reaches(&mut self, count: usize) {
        let what = format!("{count} commands are answered");
        tokio::time::timeout(wait::PATIENCE * 2, self.moved.wait_for(|answered| *answered >= count))
            .await
            .unwrap_or_else(|_| panic!("{what}: only {}", self.answered.load(Ordering::SeqCst)))
            .expect("the callers live");
    }

    async fn ended(self) -> BTreeMap<String, Value> {
        self.allowed.add_permits(COMMANDS + CALLERS);
        self.callers.join_all().await.into_iter().flatten().collect()
    }
}

#[tokio::test]
async fn every_service_dies_twice_in_a_stream_of_commands() {
    let mut kingdom = Kingdom::start().await;
    kingdom.deploy("steady", IDLE_APP, 2).await;
    kingdom.deploy("moving", IDLE_APP, 2).await;
    let steady = pids(&kingdom, "steady").await;
    assert_eq!(steady.len(), 2);

    let mut stream = Stream::start(&kingdom.client);
    let share = COMMANDS / (VICTIMS.len() + 1);
    for (round, victim) in VICTIMS.into_iter().enumerate() {
        // Fewer than the callers may do, another number each time: it dies while commands are on their way.
        let done = 1 + RandomState::new().hash_one(victim) as usize % (share - CALLERS);
        println!("{victim} dies when {done} of its {share} commands are answered");
        stream.allow(share);
        stream.reaches(round * share + done).await;
        kingdom.kill9(victim);
        kingdom.restart(victim).await;
    }
    let answers = stream.ended().await;
    assert_eq!(answers.len(), COMMANDS);

    kingdom.all_servants_live().await;
    kingdom.settled("moving").await;
    kingdom.settled("steady").await;
    every_command_has_one_outcome(&kingdom, &answers).await;
    replay::public_events_are_the_log(&kingdom.client).await;
    assert_eq!(pids(&kingdom, "steady").await, steady, "healthy instances keep their processes");
    every_instance_runs_once(&kingdom).await;
}

async fn pids(kingdom: &Kingdom, app: &str) -> BTreeMap<String, u64> {
    let id = |item: &Value| item["instance"].as_str().expect("it has an id").to_owned();
    let healthy = |item: &Value| item["phase"] == "healthy";
    let instances = kingdom.instances(app).await;
    instances
        .iter()
        .filter(|item| healthy(item))
        .map(|item| (id(item), item["pid"].as_u64().expect("a pid")))
        .collect()
}

async fn every_command_has_one_outcome(kingdom: &Kingdom, answers: &BTreeMap<String, Value>) {
    let outcomes = replay::equals_live(&kingdom.client).await.outcomes();
    for (id, answer) in answers {
        let found =
            outcomes.get(id).unwrap_or_else(|| panic!("{id} was answered {answer} and is not in the log"));
        assert_eq!(found.len(), 1, "{id} has one outcome: {found:?}");
        assert_eq!(answer["status"], found[0].status, "{id}: {answer}");
        assert_eq!(answer["event"], found[0].event, "{id}: {answer}");
    }
    let accepted = answers.values().filter(|answer| answer["status"] == "accepted").count();
    let refused = answers.values().filter(|answer| answer["status"] == "refused").count();
    assert_eq!(accepted + refused, COMMANDS);
    assert!(accepted >= COMMANDS * 4 / 5, "only what is made twice is refused: {refused} of {COMMANDS}");
    assert!(refused > 0, "some names are taken twice");
}

async fn every_instance_runs_once(kingdom: &Kingdom) {
    let known: BTreeSet<String> = kingdom
        .client
        .query("instance.ls", json!({}))
        .await
        .iter()
        .map(|item| item["instance"].as_str().expect("it has an id").to_owned())
        .collect();
    let runs = kingdom.runs();
    assert_eq!(runs.keys().cloned().collect::<BTreeSet<_>>(), known, "what shall run does, and nothing else");
    assert!(runs.values().all(|pids| pids.len() == 1), "no instance runs twice: {runs:?}");
}

#[tokio::test]
async fn queued_commands_are_done_once_although_every_king_dies() {
    let mut kingdom = Kingdom::start().await;
    for number in 0..120 {
        kingdom.client.queue("app.create", json!({ "app": format!("app-{number}") })).await;
        if number % 30 == 20 {
            kingdom.kill9("king");
        }
        if number % 30 == 25 {
            kingdom.restart("king").await;
        }
    }
    wait::until("all are done", async || {
        let apps = kingdom.client.ask("app.ls", json!({})).await?;
        wait::holds(apps.len() == 120, || format!("{} apps", apps.len()))
    })
    .await;
    let replay = replay::equals_live(&kingdom.client).await;
    let created = replay.events.iter().filter(|event| event.fact.kind() == "app.created").count();
    assert_eq!(created, 120, "each once");
    assert!(replay.outcomes().values().all(|outcomes| outcomes.len() == 1));
    assert_eq!(replay.events.iter().filter(|event| event.fact.kind() == "command.refused").count(), 0);
    assert_eq!(replay.state.epoch, 5, "five Kings have written");
}
