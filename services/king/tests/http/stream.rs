//! The event stream: its form, resuming, slow clients, bad input, limits, its end.

use super::support::{Kingdom, PATIENCE, Stream, created};
use events::Fact;
use events::event::{ConfigEvent, ConfigSet};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

async fn wait_for(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        tokio::task::yield_now().await;
    }
}

/// Both ends of a thousand connections are in this process.
fn raise_open_files() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, raised).unwrap();
}

#[tokio::test]
async fn a_stream_has_the_form_that_browsers_read() {
    let mut kingdom = Kingdom::start(100).await;
    kingdom.commit(vec![created("before")]);
    let mut stream = kingdom.follow("/v1/events", "").await;
    assert!(stream.head.starts_with("http/1.1 200"), "{}", stream.head);
    for line in
        ["content-type: text/event-stream", "cache-control: no-cache, no-transform", "x-accel-buffering: no"]
    {
        assert!(stream.head.contains(line), "{}", stream.head);
    }
    let first = stream.next().await.unwrap();
    assert_eq!((first.retry.as_deref(), first.id), (Some("1000"), Some(1)));
    kingdom.commit(vec![created("shop"), created("blog")]);
    let event = stream.event().await;
    assert_eq!((event.id, event.kind.as_deref()), (Some(2), Some("app.created")));
    let envelope: serde_json::Value = serde_json::from_str(&event.data.unwrap()).unwrap();
    assert_eq!((&envelope["data"]["app"], &envelope["id"]), (&"shop".into(), &2.into()));
    assert_eq!(stream.event().await.id, Some(3));
}

#[tokio::test]
async fn a_cut_stream_goes_on_exactly_behind_its_last_event() {
    let mut kingdom = Kingdom::start(64).await;
    let mut seen = Vec::new();
    let mut stream = kingdom.follow("/v1/events?since=0", "").await;
    for round in 0..100 {
        kingdom.commit((0..10).map(|n| created(&format!("app-{round}-{n}"))).collect());
        if round % 7 == 3 {
            seen.extend(stream.ids(5).await);
            drop(stream);
            let header = format!("Last-Event-ID: {}\r\n", seen.last().unwrap());
            stream = kingdom.follow("/v1/events?since=0", &header).await;
        }
    }
    seen.extend(stream.ids(1000 - seen.len()).await);
    assert_eq!(seen, (1..=1000).collect::<Vec<_>>());
    assert!(
        kingdom.memory.reads.load(Ordering::Relaxed) > 0,
        "the log was never read: the ring is too large"
    );
}

#[tokio::test]
async fn what_earlier_kings_wrote_is_read_from_the_log() {
    let mut kingdom = Kingdom::cold(1000).await;
    assert_eq!(kingdom.get("/v1/events").await.status, 503);
    for n in 0..300 {
        kingdom.store(vec![created(&format!("old-{n}"))]);
    }
    kingdom.feed.begin(300, 300);
    let mut stream = kingdom.follow("/v1/events?since=150", "").await;
    assert_eq!(stream.ids(150).await, (151..=300).collect::<Vec<_>>());
    kingdom.commit(vec![created("new")]);
    assert_eq!(stream.event().await.id, Some(301));
}

#[tokio::test]
async fn a_log_that_is_away_is_waited_for() {
    let mut kingdom = Kingdom::start(4).await;
    for n in 0..50 {
        kingdom.commit(vec![created(&format!("app-{n}"))]);
    }
    kingdom.memory.cut.store(true, Ordering::Relaxed);
    let mut stream = kingdom.follow("/v1/events?since=0", "").await;
    wait_for("the log is asked", || kingdom.memory.reads.load(Ordering::Relaxed) > 0).await;
    kingdom.memory.cut.store(false, Ordering::Relaxed);
    assert_eq!(stream.ids(50).await, (1..=50).collect::<Vec<_>>());
}

#[tokio::test]
async fn bad_places_and_filters_are_refused_by_name() {
    let mut kingdom = Kingdom::start(100).await;
    kingdom.commit(vec![created("shop")]);
    let long = format!("/v1/events?app={}", "a".repeat(10_000));
    for (path, field) in [
        ("/v1/events?since=abc", "since"),
        ("/v1/events?since=", "since"),
        ("/v1/events?since=-1", "since"),
        ("/v1/events?since=99999999999999999999", "since"),
        ("/v1/events?noun=apps", "noun"),
        ("/v1/events?noun=", "noun"),
        ("/v1/events?app=a.b", "app"),
        (&long, "app"),
        ("/v1/events?servant=nobody", "servant"),
        ("/v1/events?servant=*", "servant"),
        ("/v1/events?filter=x", "filter"),
        ("/v1/events?since=1&since=2", "since"),
    ] {
        let answer = kingdom.get(path).await;
        assert_eq!((answer.status, answer.problem().0.as_str()), (400, field), "{path}");
    }
    for (value, status) in [("x", 400), ("1.5", 400), ("900", 409)] {
        let header = format!("Last-Event-ID: {value}");
        let request = format!(
            "GET /v1/events?since=0 HTTP/1.1\r\nHost: localhost\r\n{header}\r\nConnection: close\r\n\r\n"
        );
        let answer = kingdom.send(&request).await;
        assert_eq!((answer.status, answer.problem().0.as_str()), (status, "Last-Event-ID"), "{value}");
    }
}

#[tokio::test]
async fn an_event_heard_of_elsewhere_is_waited_for() {
    let mut kingdom = Kingdom::start(100).await;
    let address = kingdom.address;
    let opening = tokio::spawn(async move { Stream::open(address, "/v1/events?since=1", "").await });
    tokio::task::yield_now().await;
    kingdom.commit(vec![created("shop")]);
    let mut stream = opening.await.unwrap();
    kingdom.commit(vec![created("blog")]);
    assert_eq!(stream.event().await.id, Some(2));
}

#[tokio::test]
async fn what_was_never_pushed_is_filled_in_from_the_log() {
    let mut kingdom = Kingdom::start(100).await;
    let mut stream = kingdom.follow("/v1/events?since=0", "").await;
    kingdom.commit(vec![created("a")]);
    kingdom.store(vec![created("b"), created("c")]);
    kingdom.commit(vec![created("d")]);
    assert_eq!(stream.ids(4).await, [1, 2, 3, 4]);
}

#[tokio::test]
async fn a_commit_that_cannot_be_read_ends_the_stream_with_the_reason() {
    let mut kingdom = Kingdom::cold(100).await;
    kingdom.store(vec![created("shop")]);
    let sequence = kingdom.memory.append(b"no commit".to_vec());
    kingdom.feed.begin(sequence, 2);
    let mut stream = kingdom.follow("/v1/events?since=1", "").await;
    let broken = stream.event().await;
    assert_eq!((broken.kind.as_deref(), broken.id), (Some("broken"), None));
    assert!(broken.data.unwrap().contains("commit 2 of the log cannot be read"));
    assert_eq!(stream.next().await, None);
}

#[tokio::test]
async fn line_ends_and_large_values_stay_in_their_event() {
    let mut kingdom = Kingdom::start(100).await;
    let mut stream = kingdom.follow("/v1/events", "").await;
    let value = format!("one\ntwo\r\n\nid: 9\n\n{}ü", "x".repeat(200_000));
    let fact = |app: &str| {
        let values = BTreeMap::from([("KEY".to_owned(), value.clone())]);
        Fact::Config(ConfigEvent::Set(ConfigSet { app: app.parse().ok(), process: None, values }))
    };
    kingdom.commit(vec![fact("shop"), fact("blog"), created("end")]);
    for id in [1, 2] {
        let event = stream.event().await;
        let envelope: serde_json::Value = serde_json::from_str(&event.data.unwrap()).unwrap();
        assert_eq!((event.id, envelope["data"]["values"]["KEY"].as_str()), (Some(id), Some(value.as_str())));
    }
    assert_eq!(stream.event().await.id, Some(3));
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_nothing() {
    let mut kingdom = Kingdom::start(64).await;
    let mut slow = kingdom.follow("/v1/events?since=0", "").await;
    let mut pushed = 0;
    // Far more than the kernel's buffers take, so the stream stands still.
    for round in 0..400 {
        kingdom.commit((0..100).map(|n| created(&format!("a{}-{round}-{n}", "x".repeat(40)))).collect());
        pushed += 100;
        tokio::task::yield_now().await;
    }
    let sent = || kingdom.metrics.sse_events.get();
    let mut before = sent();
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if sent() == before {
            break;
        }
        before = sent();
    }
    assert!(sent() < pushed, "all {pushed} events fit into the socket: make more");
    assert_eq!(slow.ids(pushed as usize).await, (1..=pushed).collect::<Vec<_>>());
}

#[tokio::test]
async fn streams_are_counted_and_bounded() {
    raise_open_files();
    let kingdom = Kingdom::start(100).await;
    let mut streams = Vec::new();
    for _ in 0..1000 {
        streams.push(kingdom.follow("/v1/events", "").await);
    }
    assert_eq!(kingdom.metrics.sse_clients.get(), 1000);
    let refused = kingdom.get("/v1/events").await;
    assert_eq!(refused.status, 503);
    assert!(refused.head.contains("retry-after: 5"), "{}", refused.head);
    assert_eq!(kingdom.get("/healthz").await.status, 200);
    drop(streams);
    wait_for("closed streams are let go", || kingdom.metrics.sse_clients.get() == 0).await;
    assert!(kingdom.follow("/v1/events", "").await.head.starts_with("http/1.1 200"));
}

#[tokio::test]
async fn streams_end_at_once_when_the_king_does() {
    let kingdom = Kingdom::start(100).await;
    let mut stream = kingdom.follow("/v1/events", "").await;
    stream.next().await.unwrap();
    let begun = Instant::now();
    kingdom.shutdown.cancel();
    assert_eq!(stream.next().await, None);
    kingdom.serving.await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}
