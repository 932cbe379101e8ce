//! Views against a real server: stamps, deletion, watches across kills.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use bus::views::{ViewError, Views};
use events::view::{Assignment, Stamp, Stamped};
use events::wire::{decode, encode};
use std::time::Duration;
use support::Server;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(20);

fn view(epoch: u64, event: u64) -> (Vec<u8>, Stamp) {
    let stamp = Stamp { epoch, event };
    (encode(&Stamped { stamp, view: Assignment::default() }), stamp)
}

fn stamp_of(bytes: &[u8]) -> (u64, u64) {
    let stamped: Stamped<Assignment> = decode(bytes).unwrap();
    (stamped.stamp.epoch, stamped.stamp.event)
}

async fn put(views: &Views, key: &str, epoch: u64, event: u64) -> Result<(), ViewError> {
    let (bytes, stamp) = view(epoch, event);
    views.put(key, bytes, stamp).await
}

#[tokio::test]
async fn a_higher_stamp_is_never_overwritten() {
    let server = Server::start();
    let views = Views::open(&server.provisioned().await).await.unwrap();
    assert_eq!(views.get("assignment.a").await.unwrap(), None);
    put(&views, "assignment.a", 2, 10).await.unwrap();
    put(&views, "assignment.a", 2, 10).await.unwrap();
    put(&views, "assignment.a", 2, 11).await.unwrap();
    put(&views, "domain.default", 1, 1).await.unwrap();
    for (epoch, event) in [(2, 10), (1, 99)] {
        let error = put(&views, "assignment.a", epoch, event).await.unwrap_err();
        let stored = Stamp { epoch: 2, event: 11 };
        assert!(
            matches!(&error, ViewError::Superseded { stored: found, .. } if *found == stored),
            "{error:?}"
        );
    }
    assert_eq!(stamp_of(&views.get("assignment.a").await.unwrap().unwrap()), (2, 11));
    let mut keys = views.keys().await.unwrap();
    keys.sort();
    assert_eq!(keys, ["assignment.a", "domain.default"]);

    let stale = views.delete("assignment.a", Stamp { epoch: 1, event: 99 }).await.unwrap_err();
    assert!(matches!(stale, ViewError::Superseded { .. }), "{stale:?}");
    views.delete("assignment.a", Stamp { epoch: 2, event: 12 }).await.unwrap();
    assert_eq!(views.get("assignment.a").await.unwrap(), None);
    assert_eq!(views.keys().await.unwrap(), ["domain.default"]);
    let stale = put(&views, "assignment.a", 2, 11).await.unwrap_err();
    assert!(matches!(stale, ViewError::Superseded { .. }), "a deletion has a stamp too: {stale:?}");
    put(&views, "assignment.a", 3, 12).await.unwrap();
}

#[tokio::test]
async fn two_writers_end_with_the_higher_stamp() {
    let server = Server::start();
    let bus = server.provisioned().await;
    let writers: Vec<_> = (1..=4)
        .map(|epoch| {
            let bus = bus.clone();
            tokio::spawn(async move {
                let views = Views::open(&bus).await.unwrap();
                for event in 1..=20 {
                    match put(&views, "assignment.a", epoch, event).await {
                        Ok(()) | Err(ViewError::Superseded { .. }) => {}
                        Err(error) => panic!("{error:?}"),
                    }
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let views = Views::open(&bus).await.unwrap();
    assert_eq!(stamp_of(&views.get("assignment.a").await.unwrap().unwrap()), (4, 20));
}

#[tokio::test]
async fn a_watch_sees_the_newest_view_across_kills() {
    let mut server = Server::start();
    let bus = server.provisioned().await;
    let views = Views::open(&bus).await.unwrap();
    let mut watch = views.watch("assignment.a");
    let mut later = views.watch("assignment.a");
    assert!(timeout(Duration::from_millis(300), later.next()).await.is_err(), "nothing there, nothing told");
    put(&views, "assignment.b", 1, 1).await.unwrap();
    put(&views, "assignment.a", 1, 1).await.unwrap();
    for watch in [&mut watch, &mut later] {
        let bytes = timeout(SOON, watch.next()).await.unwrap().unwrap();
        assert_eq!(stamp_of(&bytes), (1, 1));
    }
    for event in 2..5 {
        server.restart();
        put(&views, "assignment.a", 1, event).await.unwrap();
        let bytes = timeout(Duration::from_secs(4), watch.next()).await.unwrap().unwrap();
        assert_eq!(stamp_of(&bytes), (1, event));
    }
    views.delete("assignment.a", Stamp { epoch: 1, event: 9 }).await.unwrap();
    assert_eq!(timeout(SOON, watch.next()).await.unwrap(), None);
    put(&views, "assignment.a", 1, 10).await.unwrap();
    assert!(timeout(SOON, watch.next()).await.unwrap().is_some());
}
