//! Message ids: what a second copy meets.

use super::*;
use crate::jetstream::code;

list![
    a_known_id_is_stored_once,
    a_known_id_hides_another_payload,
    ids_are_apart,
    an_id_is_forgotten_after_its_window,
    a_known_id_with_a_stale_fence,
    a_known_id_with_a_right_fence,
    a_refused_append_leaves_no_id,
    a_known_id_outlives_a_purge,
];

fn a_known_id_is_stored_once(bus: &mut dyn Bus) {
    made(bus, &log());
    stored(bus, &message(&[(ID, "a")], "a"), 1);
    stored(bus, &message(&[(ID, "b")], "b"), 2);
    duplicate(bus, &message(&[(ID, "a")], "a"), 1);
    assert_eq!(count(bus), 2);
}

fn a_known_id_hides_another_payload(bus: &mut dyn Bus) {
    made(bus, &log());
    stored(bus, &message(&[(ID, "a")], "first"), 1);
    duplicate(bus, &message(&[(ID, "a")], "second"), 1);
    let found = bus.read(STREAM, 1).expect("it can be read").expect("it is stored");
    assert_eq!(found.payload, "first");
}

fn ids_are_apart(bus: &mut dyn Bus) {
    made(bus, &log());
    stored(bus, &message(&[(ID, "a")], "x"), 1);
    stored(bus, &message(&[(ID, "A")], "x"), 2);
    stored(bus, &message(&[], "x"), 3);
}

fn an_id_is_forgotten_after_its_window(bus: &mut dyn Bus) {
    made(bus, &StreamConfig { duplicate_window_ms: 500, ..log() });
    stored(bus, &message(&[(ID, "a")], "a"), 1);
    bus.pass(1500);
    stored(bus, &message(&[(ID, "a")], "a"), 2);
}

/// The difference that a retry must survive: one replica looks at the fence first, three at the id.
fn a_known_id_with_a_stale_fence(bus: &mut dyn Bus) {
    made(bus, &log());
    let append = message(&[(ID, "a"), (FENCE, "0")], "a");
    stored(bus, &append, 1);
    match bus.replicas() {
        Replicas::One => refused(bus, &append, code::WRONG_LAST_SEQUENCE),
        Replicas::Three => duplicate(bus, &append, 1),
    }
    assert_eq!(count(bus), 1);
}

fn a_known_id_with_a_right_fence(bus: &mut dyn Bus) {
    made(bus, &log());
    stored(bus, &message(&[(ID, "a"), (FENCE, "0")], "a"), 1);
    duplicate(bus, &message(&[(ID, "a"), (FENCE, "1")], "a"), 1);
    assert_eq!(count(bus), 1);
}

fn a_refused_append_leaves_no_id(bus: &mut dyn Bus) {
    filled(bus, 1);
    refused(bus, &message(&[(ID, "a"), (FENCE, "7")], "a"), code::WRONG_LAST_SEQUENCE);
    stored(bus, &message(&[(ID, "a"), (FENCE, "1")], "a"), 2);
}

fn a_known_id_outlives_a_purge(bus: &mut dyn Bus) {
    made(bus, &log());
    stored(bus, &message(&[(ID, "a")], "a"), 1);
    assert_eq!(bus.purge(STREAM, None), Ok(1));
    duplicate(bus, &message(&[(ID, "a")], "a"), 1);
}
