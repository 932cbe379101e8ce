//! Appending: sequences, fences, limits.

use super::*;
use crate::jetstream::{Discard, code};

list![
    the_first_message_has_sequence_1,
    sequences_have_no_gaps,
    a_right_fence_stores,
    a_fence_of_an_empty_stream_is_0,
    a_fence_below_the_last_is_refused,
    a_fence_above_the_last_is_refused,
    a_refused_fence_stores_nothing,
    a_refused_fence_names_the_last_sequence,
    the_same_append_again_is_refused,
    one_of_two_rivals_wins,
    right_guesses_are_stored_in_order,
    after_a_wrong_guess_all_that_rest_on_it_fail,
    a_right_last_id_stores,
    a_wrong_last_id_is_refused,
    after_a_wrong_last_id_a_right_one_stores,
    a_message_follows_one_in_flight_by_its_id,
    a_message_behind_one_that_lost_its_place_fails,
    another_streams_name_is_refused,
    a_large_message_is_refused,
    a_full_stream_keeps_the_old,
    a_stream_that_discards_old_goes_on,
    a_subject_of_no_stream_has_no_responders,
    a_fence_holds_after_a_purge,
];

const LAST_ID: &str = "Nats-Expected-Last-Msg-Id";

fn the_first_message_has_sequence_1(bus: &mut dyn Bus) {
    made(bus, &log());
    stored(bus, &message(&[], "a"), 1);
}

fn sequences_have_no_gaps(bus: &mut dyn Bus) {
    filled(bus, 20);
    assert_eq!((count(bus), last(bus)), (20, 20));
}

fn a_right_fence_stores(bus: &mut dyn Bus) {
    filled(bus, 3);
    stored(bus, &fenced(3, "x"), 4);
    stored(bus, &fenced(4, "y"), 5);
}

fn a_fence_of_an_empty_stream_is_0(bus: &mut dyn Bus) {
    made(bus, &log());
    refused(bus, &fenced(1, "x"), code::WRONG_LAST_SEQUENCE);
    stored(bus, &fenced(0, "x"), 1);
    refused(bus, &fenced(0, "y"), code::WRONG_LAST_SEQUENCE);
}

fn a_fence_below_the_last_is_refused(bus: &mut dyn Bus) {
    filled(bus, 3);
    refused(bus, &fenced(2, "x"), code::WRONG_LAST_SEQUENCE);
}

fn a_fence_above_the_last_is_refused(bus: &mut dyn Bus) {
    filled(bus, 3);
    refused(bus, &fenced(4, "x"), code::WRONG_LAST_SEQUENCE);
}

fn a_refused_fence_stores_nothing(bus: &mut dyn Bus) {
    filled(bus, 3);
    refused(bus, &fenced(1, "x"), code::WRONG_LAST_SEQUENCE);
    assert_eq!((count(bus), last(bus)), (3, 3));
    stored(bus, &fenced(3, "y"), 4);
}

fn a_refused_fence_names_the_last_sequence(bus: &mut dyn Bus) {
    filled(bus, 3);
    let refusal = Refusal { code: code::WRONG_LAST_SEQUENCE, last: Some(3) };
    assert_eq!(bus.publish(&fenced(1, "x")), Err(PublishFailure::Refused(refusal)));
}

fn the_same_append_again_is_refused(bus: &mut dyn Bus) {
    filled(bus, 1);
    stored(bus, &fenced(1, "x"), 2);
    refused(bus, &fenced(1, "x"), code::WRONG_LAST_SEQUENCE);
    let found = bus.read(STREAM, 2).expect("it can be read").expect("it is stored");
    assert_eq!(found.payload, "x");
}

fn one_of_two_rivals_wins(bus: &mut dyn Bus) {
    filled(bus, 2);
    let answers = bus.pipeline(&[fenced(2, "mine"), fenced(2, "yours")]);
    assert_eq!(answers[0], Ok(Ack { sequence: 3, duplicate: false }));
    assert!(answers[1].is_err(), "{answers:?}");
    assert_eq!(count(bus), 3);
}

fn right_guesses_are_stored_in_order(bus: &mut dyn Bus) {
    made(bus, &log());
    let guesses: Vec<_> = (0..20).map(|place| fenced(place, &place.to_string())).collect();
    let places: Vec<u64> =
        bus.pipeline(&guesses).into_iter().map(|answer| answer.expect("all fit").sequence).collect();
    assert_eq!(places, (1..=20).collect::<Vec<_>>());
    for entry in bus.deliver(STREAM, 0, &[], 100) {
        assert_eq!(entry.message.payload, (entry.sequence - 1).to_string());
    }
}

fn after_a_wrong_guess_all_that_rest_on_it_fail(bus: &mut dyn Bus) {
    filled(bus, 2);
    let answers =
        bus.pipeline(&[fenced(2, "a"), fenced(9, "wrong"), fenced(4, "b"), fenced(5, "c"), fenced(6, "d")]);
    let stored: Vec<bool> = answers.iter().map(Result::is_ok).collect();
    assert_eq!(stored, [true, false, false, false, false]);
    assert_eq!((count(bus), last(bus)), (3, 3));
}

fn a_right_last_id_stores(bus: &mut dyn Bus) {
    made(bus, &log());
    stored(bus, &message(&[(ID, "a")], "a"), 1);
    stored(bus, &message(&[(LAST_ID, "a"), (ID, "b")], "b"), 2);
    stored(bus, &message(&[(LAST_ID, "b"), (FENCE, "2")], "c"), 3);
}

/// The difference that forbids the second commit in flight with three servers: they agree on the message first, then all
/// fail to store it ("critical write error: last msgid mismatch"), and the stream takes nothing any more.
fn a_wrong_last_id_is_refused(bus: &mut dyn Bus) {
    made(bus, &log());
    stored(bus, &message(&[(ID, "a")], "a"), 1);
    refused(bus, &message(&[(LAST_ID, "z")], "b"), code::WRONG_LAST_ID);
    match bus.replicas() {
        Replicas::One => stored(bus, &message(&[], "b"), 2),
        Replicas::Three => assert!(bus.publish(&message(&[], "b")).is_err()),
    }
}

fn after_a_wrong_last_id_a_right_one_stores(bus: &mut dyn Bus) {
    if bus.replicas() == Replicas::One {
        made(bus, &log());
        stored(bus, &message(&[(ID, "a")], "a"), 1);
        refused(bus, &message(&[(LAST_ID, "z")], "b"), code::WRONG_LAST_ID);
        stored(bus, &message(&[(LAST_ID, "a")], "b"), 2);
    }
}

/// Two in flight: the second names the first by place and by id.
fn a_message_follows_one_in_flight_by_its_id(bus: &mut dyn Bus) {
    made(bus, &log());
    let first = message(&[(ID, "a"), (FENCE, "0")], "a");
    let second = message(&[(ID, "b"), (FENCE, "1"), (LAST_ID, "a")], "b");
    let places: Vec<_> =
        bus.pipeline(&[first, second]).into_iter().map(|answer| answer.map(|ack| ack.sequence)).collect();
    assert_eq!(places, [Ok(1), Ok(2)]);
}

/// A rival took the place of the first: the second has the right place all the same, and must not be stored.
fn a_message_behind_one_that_lost_its_place_fails(bus: &mut dyn Bus) {
    made(bus, &log());
    stored(bus, &message(&[(ID, "rival"), (FENCE, "0")], "rival"), 1);
    let first = message(&[(ID, "a"), (FENCE, "0")], "a");
    let second = message(&[(ID, "b"), (FENCE, "1"), (LAST_ID, "a")], "b");
    let answers = bus.pipeline(&[first, second]);
    assert!(answers.iter().all(Result::is_err), "{answers:?}");
    if bus.replicas() == Replicas::One {
        assert_eq!(count(bus), 1);
        stored(bus, &message(&[(FENCE, "1")], "next"), 2);
    }
}

fn another_streams_name_is_refused(bus: &mut dyn Bus) {
    made(bus, &log());
    refused(bus, &message(&[("Nats-Expected-Stream", "OTHER")], "a"), code::OTHER_STREAM);
    stored(bus, &message(&[("Nats-Expected-Stream", STREAM)], "a"), 1);
}

fn a_large_message_is_refused(bus: &mut dyn Bus) {
    made(bus, &StreamConfig { max_message_bytes: Some(100), ..log() });
    stored(bus, &message(&[], &"x".repeat(50)), 1);
    refused(bus, &message(&[], &"x".repeat(101)), code::MESSAGE_TOO_LARGE);
}

fn a_full_stream_keeps_the_old(bus: &mut dyn Bus) {
    made(bus, &StreamConfig { max_messages: Some(2), ..log() });
    stored(bus, &message(&[], "a"), 1);
    stored(bus, &message(&[], "b"), 2);
    refused(bus, &message(&[], "c"), code::STORE_FAILED);
    assert_eq!(bus.read(STREAM, 1).expect("it can be read").expect("it is kept").payload, "a");
    assert_eq!((count(bus), last(bus)), (2, 2));
}

fn a_stream_that_discards_old_goes_on(bus: &mut dyn Bus) {
    made(bus, &StreamConfig { max_messages: Some(2), discard: Discard::Old, ..log() });
    for number in 1..=5 {
        stored(bus, &message(&[], "x"), number);
    }
    let state = bus.state(STREAM).expect("the stream is there");
    assert_eq!((state.count, state.first, state.last), (2, 4, 5));
}

fn a_subject_of_no_stream_has_no_responders(bus: &mut dyn Bus) {
    made(bus, &log());
    assert_eq!(bus.publish(&Message::new("other.log", &[], "a")), Err(PublishFailure::NoResponders));
}

fn a_fence_holds_after_a_purge(bus: &mut dyn Bus) {
    filled(bus, 3);
    assert_eq!(bus.purge(STREAM, None), Ok(3));
    refused(bus, &fenced(0, "x"), code::WRONG_LAST_SEQUENCE);
    stored(bus, &fenced(3, "x"), 4);
}
