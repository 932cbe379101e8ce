//! Which lines are errors, what is told with them, and how often.

use super::limit::{AGAIN_MS, Limit};
use super::*;
use events::log::LogLine;
use events::manifest::Errors;

fn usual() -> Patterns {
    Patterns::new(None)
}

#[test]
fn what_tells_of_an_error_is_known() {
    for (line, pattern) in [
        ("thread 'main' panicked at src/main.rs:2:5:", "rust-panic"),
        ("thread '<unnamed>' (4711) panicked at 'boom', src/lib.rs:1:1", "rust-panic"),
        ("panic: runtime error: index out of range [5] with length 3", "go-panic"),
        ("fatal error: all goroutines are asleep - deadlock!", "go-panic"),
        ("Traceback (most recent call last):", "python-traceback"),
        ("Exception in thread \"main\" java.lang.NullPointerException", "java-exception"),
        ("ERROR:root:it broke", "error-word"),
        ("2026-11-20 10:00:00,123 [main] ERROR com.shop.Cart - cannot", "error-word"),
        ("[FATAL] no disk", "error-word"),
        ("something CRITICAL", "error-word"),
        ("time=10:00 level=error msg=\"no route\"", "error-word"),
        ("severity=\"CRITICAL\" x", "error-word"),
        (r#"{"level":"error","msg":"no"}"#, "json-level"),
        (r#"{"time":1, "severity": "CRITICAL", "message":"no"}"#, "json-level"),
        (r#"{"level":50,"time":1,"pid":2,"msg":"no"}"#, "json-level"),
        (r#"{"msg":"no","level":60}"#, "json-level"),
    ] {
        assert_eq!(usual().find(line.as_bytes()), Some(pattern), "{line}");
    }
}

#[test]
fn what_only_looks_like_an_error_is_none() {
    for line in [
        "no errors found",
        "0 ERRORS",
        "NO_ERROR",
        "ERROR_LOG=/var/log/x",
        "GET /ERROR/404 200",
        "the user typed error",
        "level=info msg=\"an error was mended\"",
        "TERROR",
        r#"{"level":"info","msg":"ERROR rate is 0"}"#,
        r#"{"level":30,"msg":"FATAL is a word"}"#,
        r#"{"level":5,"msg":"x"}"#,
        "    at the end of the day",
        "don't panic: it is fine",
        "",
    ] {
        assert_eq!(usual().find(line.as_bytes()), None, "{line}");
    }
    assert_eq!(usual().find(b"\xff\xfe ERROR \x00"), Some("error-word"));
}

#[test]
fn an_app_adds_patterns_leaves_some_out_and_turns_it_off() {
    let errors = Errors {
        patterns: vec!["slow query".into(), "^DENIED".into()],
        ignore: vec!["ERROR but harmless".into()],
        ..Errors::default()
    };
    let patterns = Patterns::new(Some(&errors));
    assert_eq!(patterns.find(b"a slow query: 3 s"), Some("slow query"));
    assert_eq!(patterns.find(b"ERROR but harmless"), None);
    assert_eq!(patterns.find(b"ERROR and bad"), Some("error-word"));
    let off = Patterns::new(Some(&Errors { off: Some(true), ..errors }));
    assert!(!off.is_on() && off.find(b"DENIED").is_none());
}

fn lines(texts: &[&str]) -> Vec<LogLine> {
    texts.iter().map(|text| LogLine::whole(Timestamp(7), *text)).collect()
}

fn found(texts: &[&str]) -> Vec<Alarm> {
    let mut watch = Watch::new(usual());
    watch.look(Output::Stderr, 1, &lines(texts), Timestamp(0));
    watch.end(Timestamp(0))
}

fn one(texts: &[&str]) -> Alarm {
    let mut alarms = found(texts);
    assert_eq!(alarms.len(), 1, "{alarms:?}");
    alarms.remove(0)
}

#[test]
fn the_lines_around_an_error_are_told_with_it() {
    let alarm = one(&["1", "2", "3", "4", "5", "6", "ERROR it broke", "8", "9", "10", "11", "12", "13"]);
    assert_eq!((alarm.number, alarm.headline.as_str(), alarm.at), (7, "ERROR it broke", Timestamp(7)));
    assert_eq!(alarm.lines, ["2", "3", "4", "5", "6", "ERROR it broke", "8", "9", "10", "11", "12"]);
}

#[test]
fn they_are_found_across_batches_and_waited_for_only_a_moment() {
    let mut watch = Watch::new(usual());
    watch.look(Output::Stdout, 1, &lines(&["1", "2"]), Timestamp(0));
    watch.look(Output::Stdout, 3, &lines(&["3", "FATAL x", "5"]), Timestamp(100));
    // The same lines again, as after something could not be stored.
    watch.look(Output::Stdout, 3, &lines(&["3", "FATAL x", "5", "6"]), Timestamp(200));
    watch.look(Output::Stderr, 1, &lines(&["another stream"]), Timestamp(300));
    assert_eq!(watch.alarms(Timestamp(900)), []);
    assert!(watch.is_waiting());
    let alarms = watch.alarms(Timestamp(1100));
    assert_eq!(alarms.len(), 1);
    assert_eq!(alarms[0].lines, ["1", "2", "3", "FATAL x", "5", "6"]);
    assert!(!watch.is_waiting());
}

#[test]
fn a_stack_trace_is_one_error() {
    let python = one(&[
        "ERROR:root:cannot save",
        "Traceback (most recent call last):",
        "  File \"a.py\", line 1, in <module>",
        "    raise ValueError('x')",
        "ValueError: x",
    ]);
    assert_eq!((python.headline.as_str(), python.lines.len()), ("ERROR:root:cannot save", 5));
    let bare = one(&["Traceback (most recent call last):", "  File \"a.py\", line 1", "ValueError: bad 17"]);
    assert_eq!((bare.headline.as_str(), bare.pattern.as_str()), ("ValueError: bad 17", "python-traceback"));
    let node = one(&[
        "hello",
        "TypeError: x is not a function",
        "    at f (/app/a.js:1:2)",
        "    at g (/app/b.js:3:4)",
    ]);
    assert_eq!((node.headline.as_str(), node.number), ("TypeError: x is not a function", 2));
    assert_eq!((node.pattern.as_str(), node.lines.len()), ("stack-trace", 4));
    let rust =
        one(&["thread 'main' panicked at src/main.rs:2:5:", "no route", "note: run with `RUST_BACKTRACE=1`"]);
    assert_eq!(rust.headline, "thread 'main' panicked at src/main.rs:2:5: no route");
    let java = one(&[
        "Exception in thread \"main\" a.B: c",
        "\tat a.B.main(B.java:3)",
        "Caused by: d.E: f",
        "\t... 3 more",
    ]);
    assert_eq!(java.lines.len(), 4);
    // Across batches the head of a trace is remembered.
    let mut watch = Watch::new(usual());
    watch.look(Output::Stderr, 1, &lines(&["java.io.IOException: gone"]), Timestamp(0));
    watch.look(Output::Stderr, 2, &lines(&["\tat a.B.c(D.java:1)"]), Timestamp(0));
    let alarms = watch.end(Timestamp(0));
    assert_eq!((alarms[0].headline.as_str(), alarms[0].number), ("java.io.IOException: gone", 1));
}

#[test]
fn equal_errors_are_counted_and_others_are_told() {
    let alarms = found(&["ERROR job 17 failed", "ERROR job 18 failed", "ERROR disk", "ERROR job 19 failed"]);
    let told: Vec<_> = alarms.iter().map(|alarm| (alarm.headline.as_str(), alarm.repeats)).collect();
    assert_eq!(told, [("ERROR job 17 failed", 1), ("ERROR disk", 0)]);
}

#[test]
fn a_report_is_bounded_whatever_is_printed() {
    let long = format!("ERROR \x1b[31m{}", "é".repeat(5000));
    let texts: Vec<&str> =
        std::iter::repeat_n(long.as_str(), 1).chain(std::iter::repeat_n("    x at y", 500)).collect();
    let alarm = one(&texts);
    let bytes: usize = alarm.lines.iter().map(String::len).sum();
    assert!(alarm.lines.len() <= 80 && bytes <= 6 * 1024, "{} {bytes}", alarm.lines.len());
    assert!(alarm.headline.len() <= 400 && !alarm.headline.chars().any(char::is_control));
}

fn alarm(fingerprint: u64) -> Alarm {
    let (pattern, headline) = ("error-word".to_owned(), "ERROR".to_owned());
    let (output, number, at) = (Output::Stdout, 1, Timestamp(1));
    Alarm { output, number, at, pattern, fingerprint, headline, lines: Vec::new(), repeats: 0, others: 0 }
}

#[test]
fn a_loop_of_one_error_is_told_once_in_ten_minutes_with_its_count() {
    let mut limit = Limit::new();
    let told: Vec<_> = (0..100).filter_map(|ms| limit.offer(alarm(1), Timestamp(ms))).collect();
    assert_eq!(told.len(), 1);
    assert!(limit.has_waiting());
    assert_eq!(limit.due(Timestamp(AGAIN_MS - 1)), None);
    let again = limit.due(Timestamp(AGAIN_MS)).expect("it is due");
    assert_eq!(again.repeats, 98, "with itself, all 99 that were not told");
    assert_eq!((limit.due(Timestamp(AGAIN_MS * 9)), limit.has_waiting()), (None, false));
    // A clock that was set back silences nothing.
    assert!(limit.offer(alarm(1), Timestamp(5)).is_some());
}

#[test]
fn many_kinds_of_errors_are_told_a_few_at_once_then_one_a_minute_and_none_is_lost() {
    let mut limit = Limit::new();
    let mut told: Vec<Alarm> = (1..=200).filter_map(|kind| limit.offer(alarm(kind), Timestamp(0))).collect();
    assert_eq!(told.len(), 5);
    let mut now = 0;
    while limit.has_waiting() {
        now += 60_000;
        told.extend(limit.due(Timestamp(now)));
        assert_eq!(limit.due(Timestamp(now)), None, "one a minute");
    }
    let counted: u64 = told.iter().map(|alarm| 1 + alarm.repeats + alarm.others).sum();
    assert_eq!(counted, 200);
}
