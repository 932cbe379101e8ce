//! Golden files: every shape that was ever stored, byte by byte. A stored shape never changes; a new one is a new
//! schema with a file of its own.
//!
//! `UPDATE_GOLDEN=1` writes the files that are missing, and never touches one that is there.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod samples;

use events::event::KingElected;
use events::metric::{self, Frame};
use events::{DomainName, Event, Fact, Kinded, Order, Report, Timestamp, wire};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Write};
use std::path::PathBuf;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden")
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for line in bytes.chunks(32) {
        line.iter().for_each(|byte| write!(text, "{byte:02x}").unwrap());
        text.push('\n');
    }
    text
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

/// The file of a shape reads as the value, and the value is written as the file.
fn compare<T: Serialize + DeserializeOwned + PartialEq + Debug>(name: &str, value: &T) {
    let path = folder().join(format!("{name}.hex"));
    if !path.exists() && std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(folder()).unwrap();
        std::fs::write(&path, hex(&wire::encode(value))).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let read: T = wire::decode(&unhex(&stored)).unwrap_or_else(|error| panic!("{name}: {}", error.reason()));
    assert_eq!(&read, value, "{name} reads as something else");
    assert_eq!(hex(&wire::encode(value)), stored, "{name} is written differently");
}

#[test]
fn every_event_reads_and_writes_as_it_was_stored() {
    let facts = samples::facts_of_every_kind();
    let shown: BTreeSet<_> = facts.iter().map(|fact| (fact.kind(), fact.schema())).collect();
    assert_eq!(shown, Fact::kinds().collect(), "every kind of event has an example");
    for fact in facts {
        compare::<Event>(&format!("event.{}.{}", fact.kind(), fact.schema()), &samples::event(fact));
    }
}

/// Facts as they were stored before their shape changed, with the schema that they had.
fn old_facts() -> Vec<(u16, Fact)> {
    vec![(1, Fact::King(KingElected { king: samples::king(), epoch: 2, key: None }.into()))]
}

#[test]
fn every_event_that_was_stored_in_an_older_shape_still_reads() {
    let facts = old_facts();
    let shown: BTreeSet<_> = facts.iter().map(|(schema, fact)| (fact.kind(), *schema)).collect();
    assert_eq!(shown, Fact::old_kinds().collect(), "every old shape has an example");
    for (schema, fact) in facts {
        let name = format!("event.{}.{schema}", fact.kind());
        let stored = std::fs::read_to_string(folder().join(format!("{name}.hex"))).unwrap();
        let read: Event =
            wire::decode(&unhex(&stored)).unwrap_or_else(|error| panic!("{name}: {}", error.reason()));
        assert_eq!(read, samples::event(fact), "{name} reads as something else");
    }
}

#[test]
fn every_report_reads_and_writes_as_it_was_stored() {
    let news = samples::news_of_every_kind();
    let shown: BTreeSet<_> = news.iter().map(|news| (news.kind(), news.schema())).collect();
    assert_eq!(shown, events::News::kinds().collect(), "every kind of report has an example");
    for news in news {
        compare::<Report>(&format!("report.{}.{}", news.kind(), news.schema()), &samples::report(news));
    }
}

#[test]
fn every_command_reads_and_writes_as_it_was_queued() {
    let orders = samples::orders_of_every_kind();
    let shown: BTreeSet<_> = orders.iter().map(|order| (order.kind(), order.schema())).collect();
    assert_eq!(shown, Order::kinds().collect(), "every kind of command has an example");
    for order in orders {
        let (kind, schema) = (order.kind(), order.schema());
        let path = folder().join(format!("command.{kind}.{schema}.json"));
        let mut json = Vec::new();
        order.serialize_data(&mut serde_json::Serializer::pretty(&mut json)).unwrap();
        json.push(b'\n');
        if !path.exists() && std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::create_dir_all(folder()).unwrap();
            std::fs::write(&path, &json).unwrap();
        }
        let stored = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(wire::Format::Json.decode_order(kind, schema, &stored).unwrap(), order);
        assert_eq!(
            String::from_utf8(json).unwrap(),
            String::from_utf8(stored).unwrap(),
            "{kind} is written differently"
        );
    }
}

/// A frame of telemetry with one of everything.
fn example() -> Frame {
    let process = metric::ProcessFigures {
        pid: 4711,
        name: "node".into(),
        cpu: 990,
        memory_kib: 204_800,
        instance: Some(samples::instance()),
    };
    let mut instances = metric::Instances::default();
    instances.push(metric::InstanceFigures {
        instance: samples::instance(),
        cpu: 990,
        memory_kib: 204_800,
        descriptors: 23,
        processes: 2,
        threads: 11,
        restarts: 1,
        lost: 3,
    });
    Frame {
        schema: metric::SCHEMA,
        servant: samples::servant(),
        name: "alpha".parse().unwrap(),
        domain: DomainName::default_domain(),
        life: Timestamp(1_795_171_626_000),
        number: 7,
        at: Timestamp(1_795_171_633_000),
        interval_ms: 1001,
        dropped: 2,
        cost_us: 850,
        host: metric::Host {
            cpu: 505,
            iowait: 12,
            steal: 3,
            cores: vec![1000, 10],
            memory_kib: 16_000_000,
            available_kib: 8_000_000,
            swap_kib: 1024,
            swap_free_kib: 1000,
            load: [52, 58, 59],
            processes: 467,
            uptime_s: 86_400,
            disk_kib: 100_000_000,
            disk_free_kib: 40_000_000,
            read: 4096,
            written: 8192,
            networks: vec![metric::Network { name: "eth0".into(), received: 1500, sent: 300, faults: 1 }],
        },
        instances,
        left_out: 1,
        top: Some(metric::Top { by_cpu: vec![process.clone()], by_memory: vec![process] }),
        series: vec![metric::Series {
            instance: samples::instance(),
            name: "queue".parse().unwrap(),
            tags: BTreeMap::from([("shard".parse().unwrap(), "a".into())]),
            kind: metric::SeriesKind::Gauge,
            value: 2.5,
        }],
    }
}

#[test]
fn a_frame_of_telemetry_reads_and_writes_as_it_was_published() {
    let frame = example();
    assert_eq!(Frame::decode(&wire::encode(&frame)).unwrap(), frame);
    compare(&format!("frame.{}", metric::SCHEMA), &frame);
}

#[test]
fn a_frame_of_another_shape_is_told_from_one_that_is_damaged() {
    let mut frame = example();
    frame.schema = 2;
    let error = Frame::decode(&wire::encode(&frame)).unwrap_err();
    assert!(matches!(error, metric::FrameError::Schema { found: 2 }), "{error:?}");
    let mut frame = example();
    frame.instances.cpu.push(1);
    let error = Frame::decode(&wire::encode(&frame)).unwrap_err();
    assert!(matches!(error, metric::FrameError::Uneven), "{error:?}");
    let error = Frame::decode(b"nothing").unwrap_err();
    assert!(matches!(error, metric::FrameError::Unreadable(_)), "{error:?}");
}

#[test]
fn no_golden_file_is_left_without_its_shape() {
    let events =
        Fact::kinds().chain(Fact::old_kinds()).map(|(kind, schema)| format!("event.{kind}.{schema}.hex"));
    let reports = events::News::kinds().map(|(kind, schema)| format!("report.{kind}.{schema}.hex"));
    let orders = Order::kinds().map(|(kind, schema)| format!("command.{kind}.{schema}.json"));
    let frames = [format!("frame.{}.hex", metric::SCHEMA)];
    let known: BTreeSet<String> = events.chain(reports).chain(orders).chain(frames).collect();
    let found =
        std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(found.collect::<BTreeSet<_>>(), known);
}
