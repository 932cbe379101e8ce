//! Core NATS: subjects, queue groups, nobody there.

use super::*;

list![
    a_message_reaches_who_listens,
    wildcards_match_by_token,
    nobody_there_is_said_at_once,
    an_end_of_listening_counts_at_once,
    a_group_takes_each_message_once,
    a_group_and_a_listener_both_hear,
    one_connection_keeps_its_order,
    what_nobody_heard_is_gone,
];

fn payloads(messages: &[Message]) -> Vec<String> {
    messages.iter().map(|message| String::from_utf8_lossy(&message.payload).into_owned()).collect()
}

fn a_message_reaches_who_listens(bus: &mut dyn Bus) {
    let (one, two) = (bus.subscribe("news.a", None), bus.subscribe("news.b", None));
    bus.tell("news.a", b"x");
    assert_eq!(payloads(&bus.heard(one)), ["x"]);
    assert_eq!(payloads(&bus.heard(two)), [""; 0]);
}

fn wildcards_match_by_token(bus: &mut dyn Bus) {
    let (star, rest) = (bus.subscribe("news.*", None), bus.subscribe("news.>", None));
    for (subject, payload) in [("news.a", "1"), ("news.a.b", "2"), ("news", "3")] {
        bus.tell(subject, payload.as_bytes());
    }
    assert_eq!(payloads(&bus.heard(star)), ["1"]);
    assert_eq!(payloads(&bus.heard(rest)), ["1", "2"]);
}

fn nobody_there_is_said_at_once(bus: &mut dyn Bus) {
    assert!(!bus.has_responders("news.a"));
    bus.subscribe("news.>", None);
    assert!(bus.has_responders("news.a"));
}

fn an_end_of_listening_counts_at_once(bus: &mut dyn Bus) {
    let one = bus.subscribe("news.a", None);
    assert!(bus.has_responders("news.a"));
    bus.unsubscribe(one);
    assert!(!bus.has_responders("news.a"));
}

fn a_group_takes_each_message_once(bus: &mut dyn Bus) {
    let members = [bus.subscribe("news.>", Some("kings")), bus.subscribe("news.>", Some("kings"))];
    for number in 0..20 {
        bus.tell("news.a", number.to_string().as_bytes());
    }
    let mut heard: Vec<u64> = members
        .into_iter()
        .flat_map(|member| payloads(&bus.heard(member)))
        .map(|payload| payload.parse().expect("a number"))
        .collect();
    heard.sort_unstable();
    assert_eq!(heard, (0..20).collect::<Vec<_>>());
}

fn a_group_and_a_listener_both_hear(bus: &mut dyn Bus) {
    let (member, listener) = (bus.subscribe("news.a", Some("kings")), bus.subscribe("news.a", None));
    bus.tell("news.a", b"x");
    assert_eq!(payloads(&bus.heard(member)), ["x"]);
    assert_eq!(payloads(&bus.heard(listener)), ["x"]);
}

fn one_connection_keeps_its_order(bus: &mut dyn Bus) {
    let one = bus.subscribe("news.>", None);
    for number in 0..50 {
        bus.tell(if number % 2 == 0 { "news.a" } else { "news.b" }, number.to_string().as_bytes());
    }
    let wanted: Vec<String> = (0..50).map(|number| number.to_string()).collect();
    assert_eq!(payloads(&bus.heard(one)), wanted);
}

fn what_nobody_heard_is_gone(bus: &mut dyn Bus) {
    bus.tell("news.a", b"before");
    let one = bus.subscribe("news.a", None);
    bus.tell("news.a", b"after");
    assert_eq!(payloads(&bus.heard(one)), ["after"]);
}
