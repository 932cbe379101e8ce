//! The other streams against a real server: core messages, inbox, public events, output, artifacts.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use bus::inbox::Inbox;
use bus::logs::{Logs, Start};
use bus::objects::{ObjectError, Objects};
use bus::public_events::{EventTail, PublicEventError, Publisher};
use bus::{Bus, RequestError};
use events::event::{KingElected, KingEvent};
use events::log::{LogBatch, LogLine};
use events::{Actor, Cause, Digest, Event, Fact, KingId, Timestamp};
use std::time::{Duration, Instant};
use support::Server;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn requests_are_answered_and_what_cannot_be_sent_is_refused() {
    let server = Server::start();
    let (asker, answerer) = (server.connect().await, server.connect().await);
    let mut subscription = answerer.subscribe("king.cmd.>").await.unwrap();
    tokio::spawn(async move {
        while let Some(message) = subscription.next().await {
            let actor = message.header("king-actor").unwrap_or("nobody").to_owned();
            answerer.answer(&message, format!("{} by {actor}", message.subject)).await.unwrap();
        }
    });
    let headers = [("King-Actor", "kingctl:me")];
    let answer = asker.request("king.cmd.app.deploy", &headers, "{}", SOON).await.unwrap();
    assert_eq!(answer.payload, "king.cmd.app.deploy by kingctl:me");
    let error = asker.request("king.query.app.ls", &[], "", SOON).await.unwrap_err();
    assert!(matches!(error, RequestError::NoResponders { .. }) && !error.is_ambiguous(), "{error:?}");
    let error = asker.request("king.cmd.x", &[("A", "b\r\nC: d")], "", SOON).await.unwrap_err();
    assert!(matches!(error, RequestError::BadHeader(_)), "{error:?}");
    let error = asker.request("king cmd", &[], "", SOON).await.unwrap_err();
    assert!(matches!(error, RequestError::BadSubject { .. }), "{error:?}");
    let error = asker.request("king.cmd.x", &[], vec![0; 2 << 20], SOON).await.unwrap_err();
    assert!(matches!(error, RequestError::TooLarge { .. }), "{error:?}");
}

#[tokio::test]
async fn a_request_in_flight_ends_when_the_server_dies() {
    let mut server = Server::start();
    let (asker, silent) = (server.connect().await, server.connect().await);
    let mut subscription = silent.subscribe("king.cmd.>").await.unwrap();
    let asking = tokio::spawn(async move { asker.request("king.cmd.app.ls", &[], "", SOON).await });
    subscription.next().await.unwrap();
    let started = Instant::now();
    server.kill();
    let error = asking.await.unwrap().unwrap_err();
    assert!(matches!(error, RequestError::Disconnected { maybe_sent: true, .. }), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn the_inbox_is_followed_in_order_and_purged() {
    let server = Server::start();
    let bus = server.provisioned().await;
    let inbox = Inbox::open(&bus).await.unwrap();
    assert!(inbox.created_at().ends_with('Z'));
    for number in 1..=5 {
        let id = number.to_string();
        let headers = [("Nats-Msg-Id", id.as_str())];
        assert_eq!(bus.store("king.queue.app.deploy", &headers, "{}").await.unwrap(), number);
    }
    let mut tail = inbox.tail(0);
    for number in 1..=5u64 {
        let entry = timeout(SOON, tail.next()).await.unwrap().unwrap();
        assert_eq!((entry.sequence, entry.subject()), (number, "king.queue.app.deploy"));
        assert_eq!(entry.header("nats-msg-id"), Some(number.to_string().as_str()));
    }
    inbox.purge_up_to(3).await.unwrap();
    assert_eq!(inbox.last_sequence().await.unwrap(), 5);
    let mut tail = inbox.tail(0);
    assert_eq!(timeout(SOON, tail.next()).await.unwrap().unwrap().sequence, 4);
    assert_eq!(Inbox::open(&bus).await.unwrap().created_at(), inbox.created_at());
}

fn event(number: u64) -> Event {
    let king = KingId("018f0000-0000-7000-8000-000000000001".parse().unwrap());
    Event {
        id: number,
        at: Timestamp(1_700_000_000_000 + number),
        actor: Actor::king(),
        cause: Cause::Election,
        domain: "default".parse().unwrap(),
        fact: Fact::King(KingEvent::Elected(KingElected { king, epoch: number, key: None })),
    }
}

fn batch(from: u64, to: u64) -> Vec<Event> {
    (from..=to).map(event).collect()
}

async fn assert_published(bus: &Bus, last: u64) {
    let mut tail = EventTail::open(bus, &[], 1).await.unwrap();
    for number in 1..=last {
        let found =
            timeout(SOON, tail.next()).await.unwrap_or_else(|_| panic!("event {number} comes")).unwrap();
        assert_eq!((found.number, found.pending), (number, last - number));
        assert_eq!(events::wire::decode::<Event>(&found.payload).unwrap(), event(number));
    }
}

#[tokio::test]
async fn public_events_are_stored_once_and_in_order_across_kills_and_rival_publishers() {
    let mut server = Server::start();
    let bus = server.provisioned().await;
    let mut publisher = Publisher::open(&bus).await.unwrap();
    assert_eq!(publisher.last_published().await.unwrap(), 0);
    assert_eq!(publisher.publish(&batch(1, 100)).await.unwrap(), 100);
    assert_eq!(publisher.publish(&batch(90, 110)).await.unwrap(), 110);
    let error = publisher.publish(&batch(112, 113)).await.unwrap_err();
    assert!(matches!(error, PublicEventError::Hole { published: 110, given: 112 }), "{error:?}");

    let publishing: Vec<_> = (0..2)
        .map(|_| {
            let bus = bus.clone();
            tokio::spawn(async move {
                let mut publisher = Publisher::open(&bus).await.unwrap();
                let all = batch(1, 2000);
                loop {
                    match publisher.publish(&all).await {
                        Ok(last) => return last,
                        Err(PublicEventError::Api { .. }) => {}
                        Err(error) => panic!("{error:?}"),
                    }
                }
            })
        })
        .collect();
    let mut watcher = EventTail::open(&bus, &[], 1).await.unwrap();
    for stop in [300, 700, 1200] {
        while timeout(SOON, watcher.next()).await.unwrap().unwrap().number < stop {}
        server.restart();
    }
    for publishing in publishing {
        assert_eq!(timeout(Duration::from_secs(60), publishing).await.unwrap().unwrap(), 2000);
    }
    assert_published(&bus, 2000).await;
    bus.store("king.event.default.app.shop.created", &[], "from a stranger").await.unwrap();
    let mut publisher = Publisher::open(&bus).await.unwrap();
    assert_eq!(publisher.last_published().await.unwrap(), 2000);
    assert_eq!(publisher.publish(&batch(1, 2003)).await.unwrap(), 2003);
    let filter = ["king.event.default.king.>".to_owned()];
    let mut tail = EventTail::open(&bus, &filter, 1995).await.unwrap();
    for number in 1995..=2003 {
        assert_eq!(timeout(SOON, tail.next()).await.unwrap().unwrap().number, number);
    }
}

fn line(number: u64) -> LogBatch {
    LogBatch::of(number, vec![LogLine::whole(Timestamp(number), format!("line {number}"))])
}

#[tokio::test]
async fn output_is_read_from_the_start_the_end_and_the_last_so_many() {
    let server = Server::start();
    let bus = server.provisioned().await;
    let logs = Logs::open(&bus).await.unwrap();
    let subject = |app: &str| format!("king.log.default.{app}.018f0000-0000-7000-8000-000000000001.stdout");
    for number in 1..=30 {
        logs.append(&subject("shop"), &format!("s{number}"), &line(number)).await.unwrap();
        logs.append(&subject("mail"), &format!("m{number}"), &line(number)).await.unwrap();
    }
    logs.append(&subject("shop"), "s30", &line(30)).await.unwrap();
    let filter = "king.log.*.shop.>";
    for (start, first, backlog) in
        [(Start::Beginning, 1, 30), (Start::Last(7), 24, 7), (Start::Last(99), 1, 30)]
    {
        let mut tail = logs.tail(filter, start).await.unwrap();
        assert_eq!(tail.backlog(), backlog, "{start:?}");
        for number in first..=30 {
            let entry = timeout(SOON, tail.next()).await.unwrap().unwrap();
            assert_eq!((entry.batch, entry.pending), (line(number), 30 - number), "{start:?}");
            assert_eq!(entry.subject, subject("shop"));
        }
    }
    let long_ago = Start::Since(Timestamp(1_000));
    let mut all = logs.tail(filter, long_ago).await.unwrap();
    assert!(all.is_whole() && all.backlog() == 30);
    assert_eq!(timeout(SOON, all.next()).await.unwrap().unwrap().batch, line(1));
    let ahead = Start::Since(Timestamp(32_503_680_000_000));
    assert_eq!(logs.tail(filter, ahead).await.unwrap().backlog(), 0);
    assert!(!logs.tail(filter, Start::Last(7)).await.unwrap().is_whole());
    for start in [Start::New, Start::Last(0)] {
        let mut tail = logs.tail(filter, start).await.unwrap();
        assert_eq!(tail.backlog(), 0);
        let id = format!("{start:?}");
        let sequence = logs.append(&subject("shop"), &id, &line(31)).await.unwrap();
        assert_eq!(timeout(SOON, tail.next()).await.unwrap().unwrap().sequence, sequence);
    }
}

#[tokio::test]
async fn artifacts_come_back_whole_or_not_at_all() {
    let server = Server::start();
    let bus = server.provisioned().await;
    let objects = Objects::open(&bus).await.unwrap();
    let bytes: Vec<u8> = (0..3_000_000u32).flat_map(u32::to_le_bytes).take(5_000_001).collect();
    let digest = Digest::of(&bytes);
    assert!(!objects.exists(&digest).await.unwrap());
    let error = objects.get(&digest, u64::MAX).await.unwrap_err();
    assert!(matches!(error, ObjectError::Missing { .. }), "{error:?}");
    objects.put(&digest, bytes.clone()).await.unwrap();
    objects.put(&digest, bytes.clone()).await.unwrap();
    assert!(objects.get(&digest, u64::MAX).await.unwrap() == bytes);
    assert_eq!(support::chunks(&server, &digest.to_string()).await, 10);
    let error = objects.get(&digest, 5_000_000).await.unwrap_err();
    assert!(matches!(error, ObjectError::TooLarge { bytes: 5_000_001, .. }), "{error:?}");

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("archive");
    objects.get_file(&digest, u64::MAX, &path).await.unwrap();
    assert!(std::fs::read(&path).unwrap() == bytes);
    objects.delete(&digest).await.unwrap();
    objects.put_file(&digest, &path).await.unwrap();
    assert!(objects.exists(&digest).await.unwrap());

    let empty = Digest::of(b"");
    objects.put(&empty, "").await.unwrap();
    assert_eq!(objects.get(&empty, 0).await.unwrap(), b"");

    let wrong = Digest::of(b"something else");
    let error = objects.put(&wrong, bytes.clone()).await.unwrap_err();
    assert!(matches!(error, ObjectError::WrongDigest { .. }), "{error:?}");
    assert!(!objects.exists(&wrong).await.unwrap());
}

#[tokio::test]
async fn a_damaged_artifact_is_refused_and_can_be_replaced() {
    let server = Server::start();
    let bus = server.provisioned().await;
    let objects = Objects::open(&bus).await.unwrap();
    let (good, other) = (vec![1u8; 700_000], vec![2u8; 700_000]);
    let (digest, foreign) = (Digest::of(&good), Digest::of(&other));
    objects.put(&foreign, other).await.unwrap();
    support::rename_object(&server, &foreign.to_string(), &digest.to_string()).await;
    let error = objects.get(&digest, u64::MAX).await.unwrap_err();
    assert!(matches!(error, ObjectError::Corrupt { .. }), "{error:?}");
    objects.replace(&digest, good.as_slice()).await.unwrap();
    assert!(objects.get(&digest, u64::MAX).await.unwrap() == good);
}
