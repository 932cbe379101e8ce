//! Reading single messages and the state of a stream; purging and deleting.

use super::*;
use crate::jetstream::code;

list![
    a_message_is_read_as_it_was_stored,
    nothing_is_read_where_nothing_is,
    the_last_of_a_subject_is_read,
    an_unknown_stream_is_named,
    a_new_stream_says_that_it_is_empty,
    a_purge_keeps_what_is_behind_it,
    a_purged_stream_counts_on,
    a_denied_purge_changes_nothing,
    a_denied_deletion_changes_nothing,
    a_deleted_message_leaves_a_hole,
    a_stream_made_anew_begins_anew,
    a_name_is_used_once,
];

fn a_message_is_read_as_it_was_stored(bus: &mut dyn Bus) {
    made(bus, &log());
    stored(bus, &message(&[("King-Actor", "me"), (ID, "a")], "body"), 1);
    let found = bus.read(STREAM, 1).expect("it can be read").expect("it is stored");
    assert_eq!((found.subject.as_str(), found.payload.as_ref()), (SUBJECT, b"body".as_slice()));
    assert_eq!((found.header("King-Actor"), found.header(ID)), (Some("me"), Some("a")));
}

fn nothing_is_read_where_nothing_is(bus: &mut dyn Bus) {
    filled(bus, 2);
    assert_eq!(bus.read(STREAM, 3), Ok(None));
}

fn the_last_of_a_subject_is_read(bus: &mut dyn Bus) {
    made(bus, &log());
    stored(bus, &Message::new("case.a", &[], "1"), 1);
    stored(bus, &Message::new("case.b", &[], "2"), 2);
    stored(bus, &Message::new("case.a", &[], "3"), 3);
    stored(bus, &Message::new("case.b", &[], "4"), 4);
    let (sequence, found) = bus.read_last(STREAM, "case.a").expect("it can be read").expect("it is there");
    assert_eq!((sequence, found.payload.as_ref()), (3, b"3".as_slice()));
    assert_eq!(bus.read_last(STREAM, "case.c"), Ok(None));
}

fn an_unknown_stream_is_named(bus: &mut dyn Bus) {
    assert_eq!(bus.state(STREAM).map_err(|refusal| refusal.code), Err(code::STREAM_NOT_FOUND));
}

fn a_new_stream_says_that_it_is_empty(bus: &mut dyn Bus) {
    made(bus, &log());
    let state = bus.state(STREAM).expect("the stream is there");
    assert_eq!((state.count, state.first, state.last), (0, 0, 0));
}

fn a_purge_keeps_what_is_behind_it(bus: &mut dyn Bus) {
    filled(bus, 5);
    assert_eq!(bus.purge(STREAM, Some(4)), Ok(3));
    let state = bus.state(STREAM).expect("the stream is there");
    assert_eq!((state.count, state.first, state.last), (2, 4, 5));
    assert_eq!(bus.read(STREAM, 3), Ok(None));
}

fn a_purged_stream_counts_on(bus: &mut dyn Bus) {
    filled(bus, 5);
    assert_eq!(bus.purge(STREAM, None), Ok(5));
    let state = bus.state(STREAM).expect("the stream is there");
    assert_eq!((state.count, state.first, state.last), (0, 6, 5));
    stored(bus, &message(&[], "x"), 6);
}

fn a_denied_purge_changes_nothing(bus: &mut dyn Bus) {
    made(bus, &StreamConfig { deny_purge: true, ..log() });
    stored(bus, &message(&[], "a"), 1);
    assert_eq!(bus.purge(STREAM, None).map_err(|refusal| refusal.code), Err(code::PURGE_DENIED));
    assert_eq!(count(bus), 1);
}

fn a_denied_deletion_changes_nothing(bus: &mut dyn Bus) {
    made(bus, &StreamConfig { deny_delete: true, ..log() });
    stored(bus, &message(&[], "a"), 1);
    assert_eq!(bus.delete_message(STREAM, 1).map_err(|refusal| refusal.code), Err(code::DELETE_DENIED));
    assert_eq!(count(bus), 1);
}

fn a_deleted_message_leaves_a_hole(bus: &mut dyn Bus) {
    filled(bus, 3);
    assert_eq!(bus.delete_message(STREAM, 2), Ok(()));
    assert_eq!(bus.read(STREAM, 2), Ok(None));
    let sequences: Vec<u64> = bus.deliver(STREAM, 0, &[], 10).iter().map(|entry| entry.sequence).collect();
    assert_eq!(sequences, [1, 3]);
    assert_eq!((count(bus), last(bus)), (2, 3));
}

fn a_stream_made_anew_begins_anew(bus: &mut dyn Bus) {
    filled(bus, 3);
    let before = bus.state(STREAM).expect("the stream is there").created;
    assert_eq!(bus.delete(STREAM), Ok(()));
    made(bus, &log());
    let state = bus.state(STREAM).expect("the stream is there");
    assert_eq!((state.count, state.last), (0, 0));
    assert_ne!(state.created, before);
    stored(bus, &message(&[], "a"), 1);
}

fn a_name_is_used_once(bus: &mut dyn Bus) {
    made(bus, &log());
    let other = StreamConfig { max_messages: Some(7), ..log() };
    assert_eq!(bus.create(&other).map_err(|refusal| refusal.code), Err(code::NAME_IN_USE));
}
