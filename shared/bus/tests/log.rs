//! The commit log against a real server: fencing, ambiguity, following across kills.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use bus::log::{Append, AppendError, Log};
use bus::provision::{Limits, provision};
use bus::tail::TailError;
use events::Digest;
use std::time::{Duration, Instant};
use support::Server;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn appends_are_fenced_and_repeats_are_one() {
    let server = Server::start();
    let bus = server.provisioned().await;
    let log = Log::open(&bus).await.unwrap();
    assert_eq!(log.last_sequence().await.unwrap(), 0);
    assert_eq!(log.read(1).await.unwrap(), None);
    assert_eq!(log.append("one", 0).await.unwrap(), 1);
    assert_eq!(
        log.append("one", 0).await.unwrap(),
        1,
        "the same bytes at the same place are the same commit"
    );
    assert_eq!(log.append("two", 1).await.unwrap(), 2);
    let deposed = log.append("other", 1).await.unwrap_err();
    assert!(matches!(deposed, AppendError::Deposed { sequence: 2 }), "{deposed:?}");
    let shorter = log.append("far", 9).await.unwrap_err();
    assert!(matches!(shorter, AppendError::Shorter { expected: 9, last: 2 }), "{shorter:?}");
    let large = log.append(vec![0; bus::log::COMMIT_BYTES + 1], 2).await.unwrap_err();
    assert!(matches!(large, AppendError::TooLarge { .. }), "{large:?}");
    let largest = vec![7; bus::log::COMMIT_BYTES];
    assert_eq!(log.append(largest.clone(), 2).await.unwrap(), 3);
    assert_eq!(log.read(3).await.unwrap().unwrap(), largest);
    assert_eq!(log.last_sequence().await.unwrap(), 3);
}

fn behind(before: &Append, payload: &'static str) -> Append {
    let (follows, expected_last) = (Some(before.hash), before.expected_last + 1);
    Append { hash: Digest::of(payload.as_bytes()), payload: payload.into(), expected_last, follows }
}

fn first(payload: &'static str) -> Append {
    Append { hash: Digest::of(payload.as_bytes()), payload: payload.into(), expected_last: 0, follows: None }
}

#[tokio::test]
async fn a_commit_goes_out_behind_one_that_is_not_acknowledged() {
    let server = Server::start();
    let log = Log::open(&server.provisioned().await).await.unwrap();
    let one = first("one");
    let two = behind(&one, "two");
    let (attempted_one, attempted_two) = tokio::join!(biased; log.attempt(&one), log.attempt(&two));
    assert_eq!(log.settle(&one, attempted_one).await.unwrap(), 1);
    assert_eq!(log.settle(&two, attempted_two).await.unwrap(), 2);
}

#[tokio::test]
async fn a_commit_behind_one_that_a_rival_displaced_is_not_stored() {
    let server = Server::start();
    let log = Log::open(&server.provisioned().await).await.unwrap();
    let one = first("one");
    let two = behind(&one, "two");
    log.append("rival", 0).await.unwrap();
    let (attempted_one, attempted_two) = tokio::join!(biased; log.attempt(&one), log.attempt(&two));
    let deposed = log.settle(&one, attempted_one).await.unwrap_err();
    assert!(matches!(deposed, AppendError::Deposed { sequence: 1 }), "{deposed:?}");
    assert_eq!(log.last_sequence().await.unwrap(), 1, "{attempted_two:?}");
}

#[tokio::test]
async fn a_commit_that_overtook_the_one_before_is_stored_after_it() {
    let server = Server::start();
    let log = Log::open(&server.provisioned().await).await.unwrap();
    let one = first("one");
    let two = behind(&one, "two");
    let attempted_two = log.attempt(&two).await;
    assert_eq!(log.last_sequence().await.unwrap(), 0);
    let attempted_one = log.attempt(&one).await;
    assert_eq!(log.settle(&one, attempted_one).await.unwrap(), 1);
    assert_eq!(log.settle(&two, attempted_two).await.unwrap(), 2);
    assert_eq!(log.read(2).await.unwrap().unwrap(), "two");
}

#[tokio::test]
async fn an_append_cut_off_by_a_kill_is_stored_exactly_once() {
    let mut server = Server::start();
    let bus = server.provisioned().await;
    let log = Log::open(&bus).await.unwrap();
    let mut last = 0;
    for round in 0..6u32 {
        let writer = tokio::spawn({
            let log = log.clone();
            async move {
                let mut last = last;
                for number in 0..200u32 {
                    let payload = format!("{round}/{number}");
                    last = loop {
                        match log.append(payload.clone(), last).await {
                            Ok(sequence) => break sequence,
                            Err(AppendError::Unknown { .. } | AppendError::Unavailable(_)) => {}
                            Err(error) => panic!("{error:?}"),
                        }
                    };
                }
                last
            }
        });
        while log.last_sequence().await.unwrap() < last + 20 + u64::from(round) * 7 {}
        server.restart();
        last = timeout(Duration::from_secs(60), writer).await.unwrap().unwrap();
    }
    assert_eq!(last, 1200);
    let mut tail = log.tail(0);
    for number in 0..1200u64 {
        let entry = timeout(SOON, tail.next()).await.unwrap().unwrap();
        assert_eq!(entry.sequence, number + 1);
        assert_eq!(entry.payload, format!("{}/{}", number / 200, number % 200));
        assert_eq!(entry.subject(), "king.commit");
    }
}

#[tokio::test]
async fn nothing_is_written_while_nobody_answers() {
    let mut server = Server::start();
    let bus = server.provisioned().await;
    let log = Log::open(&bus).await.unwrap();
    server.kill();
    while bus.is_connected() {
        tokio::task::yield_now().await;
    }
    let unavailable = log.append("one", 0).await.unwrap_err();
    assert!(matches!(unavailable, AppendError::Unavailable(_)), "{unavailable:?}");
    server.restart();
    assert_eq!(log.append("two", 0).await.unwrap(), 1);
    assert_eq!(log.read(1).await.unwrap().unwrap(), "two");
}

#[tokio::test]
async fn a_tail_outlives_kills_and_sees_the_next_commit_soon() {
    let mut server = Server::start();
    let bus = server.provisioned().await;
    let log = Log::open(&bus).await.unwrap();
    let mut tail = log.tail(0);
    for round in 0..4u64 {
        assert_eq!(log.append(format!("before {round}"), 2 * round).await.unwrap(), 2 * round + 1);
        assert_eq!(timeout(SOON, tail.next()).await.unwrap().unwrap().sequence, 2 * round + 1);
        server.restart();
        let writer = server.connect().await;
        let writing = Log::open(&writer).await.unwrap();
        writing.append(format!("after {round}"), 2 * round + 1).await.unwrap();
        let written = Instant::now();
        let entry = timeout(SOON, tail.next()).await.unwrap().unwrap();
        assert_eq!(entry.payload, format!("after {round}"));
        assert!(written.elapsed() < Duration::from_secs(2), "took {:?}", written.elapsed());
    }
}

#[tokio::test]
async fn a_tail_makes_progress_though_it_is_cancelled_all_the_time() {
    let server = Server::start();
    let bus = server.provisioned().await;
    let log = Log::open(&bus).await.unwrap();
    for number in 0..100 {
        log.append(format!("{number}"), number).await.unwrap();
    }
    let mut tail = log.tail(0);
    let mut seen = 0;
    let reading = async {
        while seen < 100 {
            tokio::select! {
                biased;
                () = tokio::task::yield_now() => {}
                entry = tail.next() => {
                    seen += 1;
                    assert_eq!(entry.unwrap().sequence, seen);
                }
            }
        }
    };
    timeout(SOON, reading).await.unwrap();
    assert_eq!(tail.last(), 100);
}

#[tokio::test]
async fn pending_tells_when_a_reader_has_caught_up() {
    let server = Server::start();
    let bus = server.provisioned().await;
    let log = Log::open(&bus).await.unwrap();
    for number in 0..10 {
        log.append(format!("{number}"), number).await.unwrap();
    }
    let mut tail = log.tail(4);
    for sequence in 5..=10 {
        let entry = timeout(SOON, tail.next()).await.unwrap().unwrap();
        assert_eq!((entry.sequence, entry.pending), (sequence, 10 - sequence));
    }
}

#[tokio::test]
async fn large_commits_are_replayed_whole() {
    let server = Server::start();
    let bus = server.provisioned().await;
    let log = Log::open(&bus).await.unwrap();
    let payload =
        |number: u64| vec![u8::try_from(number % 251).unwrap(); 500_000 + usize::try_from(number).unwrap()];
    for number in 0..150 {
        log.append(payload(number), number).await.unwrap();
    }
    let mut tail = log.tail(0);
    for number in 0..150 {
        let entry = timeout(SOON, tail.next()).await.unwrap().unwrap();
        assert_eq!((entry.sequence, entry.pending), (number + 1, 149 - number));
        assert!(entry.payload == payload(number));
    }
}

#[tokio::test]
async fn a_log_that_lost_commits_is_refused_by_readers_and_writers() {
    let mut server = Server::start();
    let bus = server.provisioned().await;
    let log = Log::open(&bus).await.unwrap();
    let mut tail = log.tail(0);
    for number in 0..3 {
        log.append(format!("{number}"), number).await.unwrap();
        timeout(SOON, tail.next()).await.unwrap().unwrap();
    }
    server.lose_everything();
    server.provisioned().await;
    let error = timeout(SOON, tail.next()).await.unwrap().unwrap_err();
    assert!(matches!(error, TailError::Shorter { after: 3, last: 0, .. }), "{error:?}");
    let error = log.append("3", 3).await.unwrap_err();
    assert!(matches!(error, AppendError::Shorter { expected: 3, last: 0 }), "{error:?}");
    assert_ne!(Log::open(&bus).await.unwrap().created_at(), log.created_at());
}

#[tokio::test]
async fn a_full_log_refuses_and_forgets_nothing() {
    let server = Server::start();
    let bus = server.connect().await;
    provision(&bus, &Limits { log_bytes: 1 << 20, ..Limits::default() }).await.unwrap();
    let log = Log::open(&bus).await.unwrap();
    let payload = vec![1; 200_000];
    let (mut last, started) = (0, Instant::now());
    let error = loop {
        match log.append(payload.clone(), last).await {
            Ok(sequence) => last = sequence,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, AppendError::Refused(_)), "{error:?}");
    assert!(started.elapsed() < bus::log::APPEND_PATIENCE, "a refusal is told at once");
    assert_eq!((last, log.last_sequence().await.unwrap()), (5, 5));
    assert_eq!(log.read(1).await.unwrap().unwrap(), payload);
}
