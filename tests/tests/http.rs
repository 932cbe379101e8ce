//! What the King shows over HTTP, and that its event stream goes on exactly where a reader was, whatever dies.

use kingdom_tests::apps::IDLE_APP;
use kingdom_tests::http::{Events, Message, get};
use kingdom_tests::{Kingdom, http, wait};
use serde_json::{Value, json};

#[tokio::test]
async fn health_readiness_and_numbers_are_served() {
    let mut kingdom = Kingdom::start().await;
    let address = kingdom.ports.http();
    assert_eq!(get(address, "/healthz").await.expect("an answer").status, 200);
    assert_eq!(get(address, "/readyz").await.expect("an answer").status, 200);
    let before = metric(&kingdom, "king_event_number").await;
    kingdom.client.accepted("app.create", json!({ "app": "counted" })).await;
    let after = metric(&kingdom, "king_event_number").await;
    assert!(after > before, "{before} {after}");
    assert_eq!(Some(after), kingdom.client.king().await["event"].as_f64());

    kingdom.kill9("nats");
    let reason = wait::until("the King says that it is not ready", async || {
        let answer = get(address, "/readyz").await.map_err(|error| error.to_string())?;
        wait::holds(answer.status == 503, || answer.status.to_string()).map(|()| answer.body)
    })
    .await;
    assert!(reason.to_lowercase().contains("nats"), "the reason is named: {reason}");
    assert_eq!(get(address, "/healthz").await.expect("an answer").status, 200, "it lives all the same");
    kingdom.restart("nats").await;
    kingdom.is_ready().await;
    let missing = get(address, "/nothing").await.expect("an answer");
    assert_eq!(missing.status, 404);
}

async fn metric(kingdom: &Kingdom, name: &str) -> f64 {
    let page = get(kingdom.ports.http(), "/metrics").await.expect("an answer").body;
    http::metric(&page, name).unwrap_or_else(|| panic!("{name} is missing in {page}"))
}

/// Reads messages until the one with this number.
async fn read_to(events: &mut Events, last: u64) -> Vec<Message> {
    let mut messages = Vec::new();
    while messages.last().is_none_or(|message: &Message| message.id < last) {
        messages.push(events.next().await.expect("the stream goes on"));
    }
    messages
}

#[tokio::test]
async fn the_event_stream_resumes_exactly_although_the_king_dies() {
    let mut kingdom = Kingdom::start().await;
    let address = kingdom.ports.http();
    let mut seen: Vec<Message> = Vec::new();
    for round in 0..3 {
        let after = seen.last().map_or(0, |message| message.id);
        let mut events = Events::open(address, "/v1/events", Some(after)).await.expect("it is served");
        let mut last = 0;
        for number in 0..20 {
            let body = json!({ "app": format!("app-{round}-{number}") });
            last = kingdom.client.accepted("app.create", body).await;
        }
        // The reader stops in the middle of what there is, and comes back to another King.
        seen.extend(read_to(&mut events, last - 7).await);
        kingdom.kill9("king");
        kingdom.restart("king").await;
    }
    let last = kingdom.client.king().await["event"].as_u64().expect("a number");
    let after = seen.last().map(|message| message.id);
    let mut events = Events::open(address, "/v1/events", after).await.expect("it is served");
    seen.extend(read_to(&mut events, last).await);

    let numbers: Vec<u64> = seen.iter().map(|message| message.id).collect();
    assert_eq!(numbers, (1..=*numbers.last().expect("some")).collect::<Vec<_>>(), "each once, in order");
    for (message, event) in seen.iter().zip(kingdom.client.events().await) {
        assert_eq!(message.event, event.fact.kind());
        let data: Value = serde_json::from_str(&message.data).expect("JSON");
        assert_eq!(data["id"], event.id);
    }
    let created = seen.iter().filter(|message| message.event == "app.created").count();
    assert_eq!(created, 60);
}

#[tokio::test]
async fn the_event_stream_can_be_filtered() {
    let kingdom = Kingdom::start().await;
    kingdom.deploy("one", IDLE_APP, 1).await;
    kingdom.deploy("two", IDLE_APP, 1).await;
    let address = kingdom.ports.http();
    let of = async |path: &str, count: usize| {
        let mut events = Events::open(address, path, Some(0)).await.expect("it is served");
        let mut messages = Vec::new();
        for _ in 0..count {
            messages.push(events.next().await.expect("the stream goes on"));
        }
        messages
    };
    let nouns = of("/v1/events?noun=version", 2).await;
    assert!(nouns.iter().all(|message| message.event == "version.published"), "{nouns:?}");
    for app in ["one", "two"] {
        let messages = of(&format!("/v1/events?app={app}"), 6).await;
        let other = if app == "one" { "\"two\"" } else { "\"one\"" };
        assert!(messages.iter().all(|message| !message.data.contains(other)), "{messages:?}");
        let kinds: Vec<_> = messages.iter().map(|message| message.event.as_str()).collect();
        assert!(kinds.contains(&"app.created") && kinds.contains(&"instance.placed"), "{kinds:?}");
    }
    let on = of("/v1/events?servant=s1", 3).await;
    assert_eq!(on[0].event, "servant.joined");
    assert!(on[1..].iter().all(|message| message.event.starts_with("instance.")), "{on:?}");
}
