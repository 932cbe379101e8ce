//! Following a stream by a consumer without acknowledgements.

use super::*;

list![
    everything_comes_in_order,
    it_begins_where_it_is_told,
    a_filter_leaves_holes_in_the_sequences_only,
    several_filters_are_one_order,
    what_is_pending_counts_down,
    after_a_purge_it_begins_with_what_is_left,
    behind_the_end_there_is_nothing,
    a_bounded_delivery_can_be_taken_up_again,
];

fn sequences(entries: &[Entry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.sequence).collect()
}

fn counts(entries: &[Entry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.count).collect()
}

fn everything_comes_in_order(bus: &mut dyn Bus) {
    filled(bus, 5);
    let entries = bus.deliver(STREAM, 0, &[], 100);
    assert_eq!(sequences(&entries), [1, 2, 3, 4, 5]);
    assert_eq!(counts(&entries), [1, 2, 3, 4, 5]);
    assert_eq!(entries[2].message.payload, "3");
}

fn it_begins_where_it_is_told(bus: &mut dyn Bus) {
    filled(bus, 5);
    let entries = bus.deliver(STREAM, 3, &[], 100);
    assert_eq!((sequences(&entries), counts(&entries)), (vec![4, 5], vec![1, 2]));
}

fn mixed(bus: &mut dyn Bus) {
    made(bus, &log());
    for (number, subject) in (1..).zip(["case.a", "case.b", "case.a", "case.c", "case.b", "case.a"]) {
        stored(bus, &Message::new(subject, &[], "x"), number);
    }
}

fn a_filter_leaves_holes_in_the_sequences_only(bus: &mut dyn Bus) {
    mixed(bus);
    let entries = bus.deliver(STREAM, 0, &["case.a"], 100);
    assert_eq!((sequences(&entries), counts(&entries)), (vec![1, 3, 6], vec![1, 2, 3]));
}

fn several_filters_are_one_order(bus: &mut dyn Bus) {
    mixed(bus);
    let entries = bus.deliver(STREAM, 1, &["case.a", "case.c"], 100);
    assert_eq!(sequences(&entries), [3, 4, 6]);
}

fn what_is_pending_counts_down(bus: &mut dyn Bus) {
    mixed(bus);
    let pending = |entries: &[Entry]| entries.iter().map(|entry| entry.pending).collect::<Vec<_>>();
    assert_eq!(pending(&bus.deliver(STREAM, 0, &[], 100)), [5, 4, 3, 2, 1, 0]);
    assert_eq!(pending(&bus.deliver(STREAM, 0, &["case.a"], 100)), [2, 1, 0]);
}

fn after_a_purge_it_begins_with_what_is_left(bus: &mut dyn Bus) {
    filled(bus, 5);
    assert_eq!(bus.purge(STREAM, Some(4)), Ok(3));
    let entries = bus.deliver(STREAM, 1, &[], 100);
    assert_eq!((sequences(&entries), counts(&entries)), (vec![4, 5], vec![1, 2]));
}

fn behind_the_end_there_is_nothing(bus: &mut dyn Bus) {
    filled(bus, 3);
    assert_eq!(bus.deliver(STREAM, 3, &[], 100), []);
    assert_eq!(bus.deliver(STREAM, 7, &[], 100), []);
}

fn a_bounded_delivery_can_be_taken_up_again(bus: &mut dyn Bus) {
    filled(bus, 5);
    let first = bus.deliver(STREAM, 0, &[], 2);
    assert_eq!(sequences(&first), [1, 2]);
    assert_eq!(sequences(&bus.deliver(STREAM, 2, &[], 2)), [3, 4]);
}
