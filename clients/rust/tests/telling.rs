//! The library against a plain socket. That a real servant understands it is tested with the kingdom.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use king_client::{King, json};
use serde_json::Value;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(20);

fn received(socket: &UnixDatagram) -> Vec<Value> {
    let mut buffer = vec![0; 1 << 16];
    let length = socket.recv(&mut buffer).unwrap();
    buffer[..length]
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

fn socket(path: &std::path::Path) -> UnixDatagram {
    let socket = UnixDatagram::bind(path).unwrap();
    socket.set_read_timeout(Some(LONG)).unwrap();
    socket
}

fn all(socket: &UnixDatagram, count: usize) -> Vec<Value> {
    let mut lines = Vec::new();
    while lines.len() < count {
        lines.extend(received(socket));
    }
    lines
}

#[test]
fn what_is_told_comes_as_lines() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("d");
    let (socket, king) = (socket(&path), King::at(&path));
    king.event("order-placed", json!({ "id": 7 }));
    king.event("started", Value::Null);
    king.gauge("queue", 3.0);
    king.counter_with("requests", 1.0, &[("route", "checkout")]);
    assert!(king.flush(LONG) && king.is_connected());
    let wanted = [
        json!({ "event": "order-placed", "fields": { "id": 7 } }),
        json!({ "event": "started" }),
        json!({ "gauge": "queue", "value": 3.0 }),
        json!({ "counter": "requests", "add": 1.0, "tags": { "route": "checkout" } }),
    ];
    assert_eq!(all(&socket, 4), wanted);
}

#[test]
fn nobody_is_kept_waiting_by_a_servant_that_is_away_and_what_was_lost_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("d");
    let king = King::at(&path);
    let started = Instant::now();
    (0..5000).for_each(|at| king.event("flood", json!({ "at": at })));
    king.event("long", json!({ "text": "x".repeat(10_000) }));
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert!(!king.flush(Duration::from_millis(10)));
    let lost = king.lost();
    assert!(lost > 3000, "{lost}");

    let (socket, mut events, mut told) = (socket(&path), 0, 0);
    while events + told < 5001 {
        for line in received(&socket) {
            events += u64::from(line["event"] == "flood");
            told += line["lost"].as_u64().unwrap_or_default();
        }
    }
    assert_eq!((events + told, told), (5001, lost));
    assert!(king.flush(LONG));
}

#[test]
fn where_no_servant_runs_the_app_nothing_is_done() {
    let king = King::default();
    king.event("alone", Value::Null);
    assert!(king.flush(Duration::ZERO) && !king.is_connected() && king.lost() == 0);
}
