//! Compare-and-set on the subjects of a bucket.

use super::*;
use crate::jetstream::code;

list![
    only_the_newest_of_a_key_is_kept,
    a_new_key_has_revision_0,
    a_key_is_replaced_at_its_revision,
    a_stale_revision_is_refused_and_named,
    other_keys_do_not_matter,
    a_deletion_marker_is_a_revision,
    the_same_write_again_is_refused,
];

const REVISION: &str = "Nats-Expected-Last-Subject-Sequence";

fn bucket(bus: &mut dyn Bus) {
    made(bus, &StreamConfig { max_per_subject: Some(1), ..log() });
}

fn put(key: &str, revision: u64, payload: &str) -> Message {
    Message::new(format!("case.{key}"), &[(REVISION, &revision.to_string())], payload.to_owned())
}

fn only_the_newest_of_a_key_is_kept(bus: &mut dyn Bus) {
    bucket(bus);
    stored(bus, &Message::new("case.a", &[], "1"), 1);
    stored(bus, &Message::new("case.a", &[], "2"), 2);
    stored(bus, &Message::new("case.b", &[], "3"), 3);
    assert_eq!(count(bus), 2);
    assert_eq!(bus.read(STREAM, 1), Ok(None));
}

fn a_new_key_has_revision_0(bus: &mut dyn Bus) {
    bucket(bus);
    stored(bus, &put("a", 0, "1"), 1);
    refused(bus, &put("a", 0, "2"), code::WRONG_LAST_SEQUENCE);
    refused(bus, &put("b", 1, "2"), code::WRONG_LAST_SEQUENCE);
}

fn a_key_is_replaced_at_its_revision(bus: &mut dyn Bus) {
    bucket(bus);
    stored(bus, &put("a", 0, "1"), 1);
    stored(bus, &put("a", 1, "2"), 2);
    stored(bus, &put("a", 2, "3"), 3);
}

fn a_stale_revision_is_refused_and_named(bus: &mut dyn Bus) {
    bucket(bus);
    stored(bus, &put("a", 0, "1"), 1);
    stored(bus, &put("a", 1, "2"), 2);
    let refusal = Refusal { code: code::WRONG_LAST_SEQUENCE, last: Some(2) };
    assert_eq!(bus.publish(&put("a", 1, "x")), Err(PublishFailure::Refused(refusal)));
    let (_, found) = bus.read_last(STREAM, "case.a").expect("it can be read").expect("it is there");
    assert_eq!(found.payload, "2");
}

fn other_keys_do_not_matter(bus: &mut dyn Bus) {
    bucket(bus);
    stored(bus, &put("a", 0, "1"), 1);
    stored(bus, &put("b", 0, "1"), 2);
    stored(bus, &put("b", 2, "2"), 3);
    stored(bus, &put("a", 1, "2"), 4);
}

fn a_deletion_marker_is_a_revision(bus: &mut dyn Bus) {
    bucket(bus);
    stored(bus, &put("a", 0, "1"), 1);
    let marker = Message::new("case.a", &[(REVISION, "1"), ("KV-Operation", "DEL")], "");
    stored(bus, &marker, 2);
    refused(bus, &put("a", 0, "2"), code::WRONG_LAST_SEQUENCE);
    stored(bus, &put("a", 2, "2"), 3);
}

fn the_same_write_again_is_refused(bus: &mut dyn Bus) {
    bucket(bus);
    stored(bus, &put("a", 0, "1"), 1);
    stored(bus, &put("a", 1, "2"), 2);
    refused(bus, &put("a", 1, "2"), code::WRONG_LAST_SEQUENCE);
}
