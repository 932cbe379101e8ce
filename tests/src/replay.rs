//! The log read from outside: folded into a state of the test's own, and compared with what the King says.

use crate::client::Client;
use crate::wait;
use events::event::CommandEvent;
use events::{Commit, Digest, Event, Fact, subject, wire};
use realm::State;
use std::collections::BTreeMap;

/// The log, folded.
#[derive(Debug)]
pub struct Replay {
    pub state: State,
    pub events: Vec<Event>,
}

/// What the log says became of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub status: &'static str,
    pub event: u64,
}

impl Replay {
    /// Reads the log from its beginning, checks that it is one chain without a gap, and folds it up to event `last`.
    ///
    /// # Panics
    /// When the log is no such chain.
    pub async fn of(client: &Client, last: u64) -> Self {
        let (mut state, mut events, mut previous) = (State::default(), Vec::new(), Digest::ZERO);
        for (place, (sequence, _, bytes)) in
            client.messages(subject::LOG_STREAM).await.into_iter().enumerate()
        {
            assert_eq!(sequence, place as u64 + 1, "no message of the log is missing");
            if state.last >= last {
                break;
            }
            let commit: Commit = wire::decode(&bytes).expect("a message of the log is a commit");
            assert_eq!(commit.previous, previous, "commit {sequence} continues the chain");
            previous = Digest::of(&bytes);
            realm::apply_commit(&mut state, &commit).expect("a commit follows the one before");
            events.extend(commit.events);
        }
        Self { state, events }
    }

    /// The outcomes of every command in the log.
    pub fn outcomes(&self) -> BTreeMap<String, Vec<Outcome>> {
        let mut outcomes: BTreeMap<String, Vec<Outcome>> = BTreeMap::new();
        for event in &self.events {
            if let Fact::Command(command) = &event.fact {
                let status = match command {
                    CommandEvent::Accepted(_) => "accepted",
                    CommandEvent::Refused(_) => "refused",
                };
                outcomes
                    .entry(command.id().to_string())
                    .or_default()
                    .push(Outcome { status, event: event.id });
            }
        }
        outcomes
    }
}

/// Checks that the King's state is the fold of its log: the same hash at the same event.
///
/// # Panics
/// When it is not.
pub async fn equals_live(client: &Client) -> Replay {
    equals_live_with(client, 0).await
}

/// As [`equals_live`], with this event: the King that is asked may be a backup that is a little behind.
///
/// # Panics
/// When it is not.
pub async fn equals_live_with(client: &Client, event: u64) -> Replay {
    wait::until("the King and the log are at the same event", async || {
        let king = client.ask("king.show", serde_json::json!({})).await?.remove(0);
        let last = king["event"].as_u64().ok_or("the King names its event")?;
        wait::holds(last >= event, || format!("the King is at {last} and not yet at {event}"))?;
        let replay = Replay::of(client, last).await;
        // The King may be within a commit of several events only between two looks.
        wait::holds(replay.state.last == last, || format!("{} and {last}", replay.state.last))?;
        assert_eq!(
            king["state_hash"],
            replay.state.hash().to_string(),
            "replaying event {last} gives another state"
        );
        Ok::<_, String>(replay)
    })
    .await
}

/// Checks that the public events are those of the log: each once, in order, under its own subject.
///
/// # Panics
/// When they are not.
pub async fn public_events_are_the_log(client: &Client) {
    let last = client.king().await["event"].as_u64().expect("a number");
    wait::until("every event is published", async || {
        let king = client.ask("king.show", serde_json::json!({})).await?.remove(0);
        wait::holds(king["published"].as_u64() >= Some(last), || king.to_string())
    })
    .await;
    let published = client.messages(subject::EVENTS_STREAM).await;
    let log = client.events().await;
    assert!(published.len() as u64 >= last, "{} of {last} events are published", published.len());
    for ((_, found, bytes), event) in published.iter().zip(&log) {
        let decoded: Event = wire::decode(bytes).expect("a public event is an event");
        assert_eq!(&decoded, event);
        let fact = &event.fact;
        assert_eq!(*found, subject::event(&event.domain, fact.noun(), &fact.subject_id(), fact.verb()));
    }
}
