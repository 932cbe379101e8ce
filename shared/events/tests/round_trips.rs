//! Round trips: what is written reads back as the same, and what is no value is refused without a panic.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod samples;

use events::subject::{self, Output};
use events::wire::Format;
use events::{
    AppName, CommandId, Commit, CommitHash, Digest, DomainName, Event, InstanceId, Kinded, Order,
    ProcessName, Report, ServantName, wire,
};
use proptest::prelude::*;
use proptest::sample::select;
use uuid::Uuid;

const LABEL: &str = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?";

fn event() -> impl Strategy<Value = Event> {
    (select(samples::facts_of_every_kind()), any::<u64>(), any::<u64>(), any::<u128>()).prop_map(
        |(fact, id, at, sender)| {
            let cause = match sender % 4 {
                0 => events::Cause::Tick,
                1 => events::Cause::Election,
                2 => events::Cause::Command(CommandId::from_uuid(Uuid::from_u128(sender))),
                _ => events::Cause::Report(events::ReportId {
                    sender: Uuid::from_u128(sender),
                    epoch: at,
                    number: id,
                }),
            };
            Event { id, at: events::Timestamp(at), cause, ..samples::event(fact) }
        },
    )
}

proptest! {
    #[test]
    fn names_are_exactly_the_dns_labels(text in ".{0,70}") {
        let label = !text.is_empty()
            && text.len() <= 63
            && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            && !text.starts_with('-')
            && !text.ends_with('-');
        prop_assert_eq!(text.parse::<AppName>().is_ok(), label);
        prop_assert_eq!(text.parse::<ServantName>().is_ok(), label);
    }

    #[test]
    fn names_round_trip(text in LABEL) {
        let name: ProcessName = text.parse().unwrap();
        prop_assert_eq!(name.as_str(), &text);
        prop_assert_eq!(&wire::decode::<ProcessName>(&wire::encode(&name)).unwrap(), &name);
        let json = serde_json::to_string(&name).unwrap();
        prop_assert_eq!(&serde_json::from_str::<ProcessName>(&json).unwrap(), &name);
    }

    #[test]
    fn hashes_round_trip_and_only_hashes_parse(bytes: [u8; 32], text in "[0-9a-fA-Fx]{0,66}") {
        let digest = Digest::from_bytes(bytes);
        prop_assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
        prop_assert_eq!(wire::decode::<Digest>(&wire::encode(&digest)).unwrap(), digest);
        if let Ok(parsed) = text.parse::<Digest>() {
            prop_assert_eq!(parsed.to_string(), text.clone());
        }
        if let Ok(parsed) = text.parse::<CommitHash>() {
            prop_assert_eq!(parsed.to_string(), text);
        }
    }

    #[test]
    fn events_round_trip(event in event()) {
        prop_assert_eq!(&wire::decode::<Event>(&wire::encode(&event)).unwrap(), &event);
        let json = serde_json::to_vec(&event).unwrap();
        prop_assert_eq!(&serde_json::from_slice::<Event>(&json).unwrap(), &event);
    }

    #[test]
    fn commits_round_trip(events in prop::collection::vec(event(), 1..20), epoch: u64, inbox: u64, previous: [u8; 32]) {
        let commit = Commit { epoch, first: 1, previous: Digest::from_bytes(previous), inbox, events };
        prop_assert_eq!(wire::decode::<Commit>(&wire::encode(&commit)).unwrap(), commit);
    }

    #[test]
    fn reports_round_trip(news in select(samples::news_of_every_kind()), number: u64) {
        let mut report = samples::report(news);
        report.id.number = number;
        prop_assert_eq!(wire::decode::<Report>(&wire::encode(&report)).unwrap(), report);
    }

    #[test]
    fn orders_round_trip_in_both_formats(order in select(samples::orders_of_every_kind())) {
        let (kind, schema) = (order.kind(), order.schema());
        let packed = wire::encode_order(&order);
        prop_assert_eq!(&Format::MessagePack.decode_order(kind, schema, &packed).unwrap(), &order);
        let mut json = Vec::new();
        order.serialize_data(&mut serde_json::Serializer::new(&mut json)).unwrap();
        prop_assert_eq!(&Format::Json.decode_order(kind, schema, &json).unwrap(), &order);
        prop_assert_eq!(Format::of(None, &json), Format::Json);
        prop_assert_eq!(Format::of(None, &packed), Format::MessagePack);
    }

    #[test]
    fn an_order_that_is_cut_is_refused(order in select(samples::orders_of_every_kind()), at in 0.0..1.0f64) {
        let packed = wire::encode_order(&order);
        let cut = (packed.len() as f64 * at) as usize;
        prop_assert!(Format::MessagePack.decode_order(order.kind(), 1, &packed[..cut]).is_err());
        let mut longer = packed;
        longer.push(0xc0);
        prop_assert!(Format::MessagePack.decode_order(order.kind(), 1, &longer).is_err());
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for (kind, schema) in Order::kinds() {
            let _ = Format::MessagePack.decode_order(kind, schema, &bytes);
            let _ = Format::Json.decode_order(kind, schema, &bytes);
        }
        let _ = wire::decode::<Commit>(&bytes);
        let _ = wire::decode::<Vec<Report>>(&bytes);
    }

    #[test]
    fn log_subjects_round_trip(domain in LABEL, app in LABEL, id: u128, stderr: bool) {
        let domain: DomainName = domain.parse().unwrap();
        let app: AppName = app.parse().unwrap();
        let instance = InstanceId(Uuid::from_u128(id));
        let output = Output::ALL[usize::from(stderr)];
        let subject = subject::log(&domain, &app, instance, output);
        prop_assert_eq!(subject::parse_log(&subject), Some((domain, app, instance, output)));
    }

    #[test]
    fn event_subjects_have_five_tokens_whatever_the_id(id in "[!-~]{1,128}") {
        let subject = subject::event(&DomainName::default_domain(), "command", &id, "accepted");
        prop_assert_eq!(subject.split('.').count(), 6);
        prop_assert!(!subject.contains(['*', '>', ' ']));
    }
}

#[test]
fn unknown_fields_are_refused_by_name() {
    for order in samples::orders_of_every_kind() {
        let mut data = Vec::new();
        order.serialize_data(&mut serde_json::Serializer::new(&mut data)).unwrap();
        let mut value: serde_json::Value = serde_json::from_slice(&data).unwrap();
        value["surprise"] = 1.into();
        let bytes = serde_json::to_vec(&value).unwrap();
        let error = Format::Json.decode_order(order.kind(), order.schema(), &bytes).unwrap_err();
        assert!(error.reason().contains("unknown field `surprise`"), "{}: {}", order.kind(), error.reason());
    }
}

#[test]
fn names_that_would_be_more_than_a_name_are_refused() {
    let long = "a".repeat(10_240);
    for text in
        ["a.b", "*", ">", "a b", "..", "../up", "-rf", "a\0", "a\r\nb", "Shop", "$JS.x", "", "ä", "а", &long]
    {
        let error = text.parse::<AppName>().unwrap_err().to_string();
        assert!(error.contains("is not a name") && error.len() < 400, "{error}");
    }
}

#[test]
fn a_message_beyond_the_limit_is_refused_unread() {
    let bytes = vec![b' '; events::limits::MESSAGE_BYTES + 1];
    let error = Format::Json.decode_order("app.create", 1, &bytes).unwrap_err().reason();
    assert!(error.contains("at most"), "{error}");
}

#[test]
fn every_subject_of_a_command_tells_its_kind() {
    for (kind, _) in Order::kinds() {
        assert_eq!(subject::kind_of(&subject::command(kind)), Some(kind));
        assert_eq!(subject::kind_of(&subject::queue(kind)), Some(kind));
    }
    assert_eq!(subject::kind_of("king.report.default"), None);
}

#[test]
fn a_moment_is_written_as_rfc_3339() {
    assert_eq!(events::Timestamp(1_795_171_626_123).to_string(), "2026-11-20T10:47:06.123Z");
}

#[test]
fn what_stands_in_every_event_of_a_commit_is_held_once() {
    let facts = samples::facts_of_every_kind();
    let mut events: Vec<Event> = facts.into_iter().take(3).map(samples::event).collect();
    events[2].actor = "kingctl:somebody-else".parse().unwrap();
    let commit = Commit { epoch: 1, first: 1, previous: Digest::ZERO, inbox: 0, events };
    let read: Commit = wire::decode(&wire::encode(&commit)).unwrap();
    assert_eq!(read, commit);
    let place = |index: usize| read.events[index].actor.as_str().as_ptr();
    assert_eq!(place(0), place(1));
    assert_ne!(place(1), place(2));
}
