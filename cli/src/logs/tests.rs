//! What readers see of batches.

use super::entry::{Entry, What, gap_text};
use super::filter::Filter;
use super::merge::Merger;
use super::print::inert;
use super::seen::{Begin, Seen};
use super::{LogsArgs, parse_time};
use bus::logs::LogEntry;
use clap::Parser;
use events::Timestamp;
use events::log::{Gap, GapReason, LogBatch, LogLine};

const INSTANCE: &str = "019a1c2e-6f0b-7c11-8f4e-3a5d1c9b7e10";
const OTHER: &str = "019a1c2e-6f0b-7c11-8f4e-3a5d1c9b7e11";

fn entry_of(instance: &str, batch: LogBatch) -> LogEntry {
    let subject = format!("king.log.default.shop.{instance}.stdout");
    LogEntry { sequence: 1, subject, batch, pending: 0 }
}

fn entry(first: u64, texts: &[&str]) -> LogEntry {
    let lines = texts.iter().map(|text| LogLine::whole(Timestamp(first), *text)).collect();
    entry_of(INSTANCE, LogBatch::of(first, lines))
}

fn numbers(entries: &[Entry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.number).collect()
}

fn gaps(entries: &[Entry]) -> Vec<(u64, Gap)> {
    let gap = |entry: &Entry| match &entry.what {
        What::Gap(gap) => Some((entry.number, gap.clone())),
        What::Line(_) => None,
    };
    entries.iter().filter_map(gap).collect()
}

#[test]
fn a_line_is_shown_once() {
    let mut seen = Seen::new(Begin::Midway);
    assert_eq!(numbers(&seen.fresh(entry(1, &["a", "b"]))), [1, 2]);
    assert_eq!(seen.fresh(entry(1, &["a", "b"])), []);
    assert_eq!(numbers(&seen.fresh(entry(2, &["b", "c"]))), [3]);
}

#[test]
fn what_is_missing_is_told_once() {
    let not_stored = |lines, bytes| Gap { lines, bytes, reason: GapReason::NotStored };
    let mut seen = Seen::new(Begin::Oldest);
    let mut first = entry(4, &["four", "five"]);
    first.batch.position = Some(15);
    assert_eq!(gaps(&seen.fresh(first)), [(1, not_stored(3, Some(15)))]);
    // Of the next, the batch itself tells of 2 lines, and 3 more should have come before.
    let mut second = entry(11, &["eleven"]);
    let full = Gap { lines: 2, bytes: Some(9), reason: GapReason::SpoolFull };
    second.batch.gap = Some(full.clone());
    let fresh = seen.fresh(second.clone());
    assert_eq!(gaps(&fresh), [(6, not_stored(3, None)), (9, full.clone())]);
    assert_eq!(numbers(&fresh), [6, 9, 11]);
    assert_eq!(seen.fresh(second), []);
    // A gap with nothing after it, and then what came after it all the same.
    let mut last = entry(20, &[]);
    last.batch.gap = Some(Gap { lines: 8, ..full.clone() });
    assert_eq!(gaps(&seen.fresh(last.clone())), [(12, Gap { lines: 8, ..full })]);
    assert_eq!(seen.fresh(last), []);
    assert_eq!(numbers(&seen.fresh(entry(20, &["twenty"]))), [20]);
}

#[test]
fn who_begins_midway_misses_only_what_is_told() {
    let mut seen = Seen::new(Begin::Midway);
    assert_eq!(numbers(&seen.fresh(entry(70, &["a"]))), [70]);
    let mut other = Seen::new(Begin::Midway);
    let mut batch = entry(70, &["a"]);
    batch.batch.gap = Some(Gap { lines: 5, bytes: None, reason: GapReason::WriteFailed });
    assert_eq!(numbers(&other.fresh(batch)), [65, 70]);
}

#[test]
fn a_gap_in_words_has_its_counts() {
    let gap = Gap { lines: 3, bytes: Some(40), reason: GapReason::SpoolFull };
    let text = gap_text(7, &gap);
    assert_eq!(text, "[king: 3 lines are missing here (40 bytes), numbers 7 to 9: the spool was full]");
    let one = gap_text(7, &Gap { lines: 1, bytes: None, reason: GapReason::NotStored });
    assert_eq!(one, "[king: 1 line is missing here, number 7: they are not stored any more]");
}

#[test]
fn lines_as_json_lose_nothing() {
    let mut seen = Seen::new(Begin::Midway);
    let line = seen.fresh(entry(4, &["x\u{1b}"])).remove(0);
    let json = serde_json::to_value(&line).expect("encodes");
    let keys: Vec<_> = json.as_object().expect("an object").keys().cloned().collect();
    assert_eq!(keys, ["app", "at", "instance", "number", "output", "text"]);
    assert_eq!(json["text"], "x\u{1b}");
    let mut raw = entry(5, &[]);
    raw.batch.lines = vec![LogLine { open: true, ..LogLine::whole(Timestamp(1), [0xff, 0]) }];
    let json = serde_json::to_value(seen.fresh(raw).remove(0)).expect("encodes");
    assert_eq!((&json["base64"], &json["open"]), (&"/wA=".into(), &true.into()));
    assert!(json.get("text").is_none());
}

#[test]
fn instances_are_merged_by_time_and_a_stream_keeps_its_order() {
    let lines = |at: &[u64]| at.iter().map(|at| LogLine::whole(Timestamp(*at), at.to_string())).collect();
    let mut seen = Seen::new(Begin::Midway);
    let mut merger = Merger::default();
    // Its clock was set back after its second line.
    merger.add(seen.fresh(entry_of(INSTANCE, LogBatch::of(1, lines(&[10, 30, 5, 40])))));
    merger.add(seen.fresh(entry_of(OTHER, LogBatch::of(1, lines(&[20, 30, 35])))));
    let at: Vec<u64> = merger.take_all().iter().map(|entry| entry.at.0).collect();
    assert_eq!(at, [10, 20, 30, 5, 30, 35, 40]);
    merger.add(seen.fresh(entry_of(OTHER, LogBatch::of(4, lines(&[50, 60, 70])))));
    merger.keep_last(2);
    assert_eq!((merger.lines(), numbers(&merger.take_all())), (2, vec![5, 6]));
}

#[tokio::test(start_paused = true)]
async fn what_comes_is_held_back_for_a_moment_only() {
    let mut seen = Seen::new(Begin::Midway);
    let mut merger = Merger::default();
    merger.add(seen.fresh(entry(1, &["a"])));
    assert!(merger.take_due().is_empty());
    tokio::time::sleep_until(merger.due().expect("one is held")).await;
    assert_eq!(numbers(&merger.take_due()), [1]);
    assert_eq!(merger.due(), None);
}

#[test]
fn filters_look_at_time_text_and_process() {
    let mut seen = Seen::new(Begin::Midway);
    let mut batch = entry(100, &["GET /", "an error \u{fffd}"]);
    batch.batch.process = Some("web".parse().expect("a name"));
    let entries = seen.fresh(batch);
    let count = |filter: &Filter| entries.iter().filter(|entry| filter.takes(entry)).count();
    let grep =
        |pattern: &str| Filter { grep: Some(pattern.parse().expect("a pattern")), ..Filter::default() };
    assert_eq!([count(&Filter::default()), count(&grep("(?i)ERROR")), count(&grep("^$"))], [2, 1, 0]);
    let process = |name: &str| Some(name.parse().expect("a name"));
    assert_eq!(count(&Filter { process: process("web"), ..Filter::default() }), 2);
    assert_eq!(count(&Filter { process: process("worker"), ..Filter::default() }), 0);
    assert_eq!(count(&Filter { since: Some(Timestamp(101)), ..Filter::default() }), 0);
    assert_eq!(count(&Filter { until: Some(Timestamp(100)), ..Filter::default() }), 0);
}

#[test]
fn nothing_in_a_line_steers_a_terminal() {
    let evil = b"\x1b]0;owned\x07 \xc2\x9b31m \xff\xe2\x80\xae tab\t\0end\r";
    assert_eq!(inert(evil), "\\x1b]0;owned\\x07 \\u{9b}31m \\xff\\u{202e} tab\t\\x00end");
    assert_eq!(inert("größer \u{1f980}".as_bytes()), "größer \u{1f980}");
}

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    logs: LogsArgs,
}

#[test]
fn the_command_line_is_checked_before_anything_is_asked() {
    let parse = |words: &[&str]| Line::try_parse_from([&["logs", "shop"], words].concat());
    parse(&["--since", "10m", "--until", "2026-11-20T03:00:00Z", "--grep", "a|b", "-n", "5"]).expect("good");
    for wrong in [
        &["--since", "yesterday"][..],
        &["--since", "4711"],
        &["--grep", "("],
        &["--follow", "--until", "1m"],
        &["--process", "Web"],
        &["--tail", "-1"],
    ] {
        assert_eq!(parse(wrong).expect_err("wrong").exit_code(), 2, "{wrong:?}");
    }
    assert!(parse_time("2d").is_ok());
}
