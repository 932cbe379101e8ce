//! What outlives the death of servers and a change of the leader.

use super::*;
use crate::jetstream::code;

list![
    what_was_acknowledged_outlives_a_restart,
    a_known_id_outlives_a_restart,
    a_revision_outlives_a_restart,
    a_new_leader_has_everything_and_the_fence,
    a_new_leader_knows_the_ids,
];

fn what_was_acknowledged_outlives_a_restart(bus: &mut dyn Bus) {
    filled(bus, 10);
    bus.restart();
    assert_eq!((count(bus), last(bus)), (10, 10));
    refused(bus, &fenced(9, "x"), code::WRONG_LAST_SEQUENCE);
    stored(bus, &fenced(10, "x"), 11);
}

fn a_known_id_outlives_a_restart(bus: &mut dyn Bus) {
    made(bus, &log());
    stored(bus, &message(&[(ID, "a")], "a"), 1);
    bus.restart();
    duplicate(bus, &message(&[(ID, "a")], "a"), 1);
}

fn a_revision_outlives_a_restart(bus: &mut dyn Bus) {
    made(bus, &StreamConfig { max_per_subject: Some(1), ..log() });
    stored(bus, &Message::new("case.a", &[], "1"), 1);
    stored(bus, &Message::new("case.a", &[], "2"), 2);
    bus.restart();
    let revision = "Nats-Expected-Last-Subject-Sequence";
    refused(bus, &Message::new("case.a", &[(revision, "1")], "x"), code::WRONG_LAST_SEQUENCE);
    stored(bus, &Message::new("case.a", &[(revision, "2")], "3"), 3);
}

fn a_new_leader_has_everything_and_the_fence(bus: &mut dyn Bus) {
    filled(bus, 10);
    bus.change_leader(STREAM);
    refused(bus, &fenced(9, "x"), code::WRONG_LAST_SEQUENCE);
    stored(bus, &fenced(10, "x"), 11);
    let sequences: Vec<u64> = bus.deliver(STREAM, 0, &[], 100).iter().map(|entry| entry.sequence).collect();
    assert_eq!(sequences, (1..=11).collect::<Vec<_>>());
}

fn a_new_leader_knows_the_ids(bus: &mut dyn Bus) {
    made(bus, &log());
    stored(bus, &message(&[(ID, "a")], "a"), 1);
    bus.change_leader(STREAM);
    duplicate(bus, &message(&[(ID, "a")], "a"), 1);
}
