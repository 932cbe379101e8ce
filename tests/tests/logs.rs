//! Output from the process to its reader: whole, in order, whatever dies on the way; and errors in it that are told.

use events::Fact;
use events::event::InstanceEvent;
use events::subject::Output;
use kingdom_tests::apps::File;
use kingdom_tests::{Kingdom, output, strays, wait};
use serde_json::{Value, json};

/// About 4000 numbered lines a second, in small batches.
const FAST: &[File] = &[(
    "king.yaml",
    "processes:\n  fast:\n    command: >-\n      i=0; while :; do n=$((i+40)); while [ $i -lt $n ]; do i=$((i+1)); echo fast $i; done; sleep 0.01; done\n    stop_grace: 1s\n",
)];

async fn counted(kingdom: &Kingdom, app: &str, word: &str) -> Result<u64, String> {
    let stored = output::stored(&kingdom.client, app).await;
    let lines = stored.iter().find(|((_, stream), _)| *stream == Output::Stdout).map(|(_, lines)| lines);
    let lines = lines.ok_or("no line is stored yet")?;
    Ok(output::counts_without_a_gap(lines, word).unwrap_or_else(|gap| panic!("{gap}")))
}

async fn counted_beyond(kingdom: &Kingdom, count: u64) -> u64 {
    wait::until(&format!("{count} lines are stored"), async || {
        let counted = counted(kingdom, "fast", "fast").await?;
        wait::holds(counted > count, || format!("{counted} lines"))?;
        Ok::<_, String>(counted)
    })
    .await
}

#[tokio::test]
async fn every_line_arrives_in_order_although_everything_on_its_way_is_killed() {
    let mut kingdom = Kingdom::start().await;
    kingdom.deploy("fast", FAST, 1).await;
    let mut reached = counted_beyond(&kingdom, 1000).await;
    let runs = kingdom.runs();
    for victim in ["nats", "s1", "king", "nats", "s1"] {
        kingdom.kill9(victim);
        kingdom.restart(victim).await;
        reached = counted_beyond(&kingdom, reached + 2000).await;
    }
    assert_eq!(kingdom.runs(), runs, "it was never started again");
    let instance = runs.keys().next().expect("it runs").clone();
    let last = kingdom.kingctl(&["logs", &instance, "-n", "500", "-o", "json"]).await.success();
    let numbers: Vec<u64> = last.lines().map(number).collect();
    assert_eq!(numbers.len(), 500);
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
}

fn number(line: &str) -> u64 {
    let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    line["number"].as_u64().unwrap_or_else(|| panic!("{line}"))
}

#[tokio::test]
async fn what_a_killed_holder_had_taken_arrives_and_the_numbers_go_on() {
    let kingdom = Kingdom::start().await;
    kingdom.deploy("fast", FAST, 1).await;
    counted_beyond(&kingdom, 1000).await;
    let child = kingdom.runs().into_values().next().expect("it runs")[0];
    let holder =
        strays::of_folder(kingdom.path()).into_iter().find(|seen| seen.pid == child).expect("it runs");
    strays::kill9(holder.parent);
    wait::until("lines of its successor are stored", async || {
        let stored = output::stored(&kingdom.client, "fast").await;
        let (_, lines) = stored.iter().next().ok_or("none")?;
        let again = lines.iter().filter(|(_, text)| *text == "fast 1").count();
        wait::holds(again == 2, || format!("{again} lines say 1"))?;
        // Each line in its place: the numbers have no hole, and each run counts from 1, whole.
        let mut next = 1;
        for ((number, text), wanted) in lines.iter().zip(1..) {
            assert_eq!(*number, wanted);
            if text == "fast 1" {
                next = 1;
            }
            // The last line of the first run may be torn.
            assert!(
                *text == format!("fast {next}") || format!("fast {next}").starts_with(text.as_str()),
                "{text}"
            );
            next += 1;
        }
        Ok::<_, String>(())
    })
    .await;
}

const ODD: &str = r#"
import os, time
def put(data, to=1):
    while data:
        data = data[os.write(to, data):]
put(b"first\r\n")
put(bytes(range(256)) * 4 + b"\n")
put(b"x" * 10_000_000 + b"\n")
put(b"\n\n")
put(b"\x1b[31mred\x1b[0m \x00nul\n")
put("to stderr: grün\n".encode(), 2)
put(b"no end")
time.sleep(100000)
"#;

fn odd_bytes() -> Vec<u8> {
    let all: Vec<u8> = (0..=255).collect();
    let long = vec![b'x'; 10_000_000];
    [b"first\r\n", &all.repeat(4)[..], b"\n", &long, b"\n\n\n\x1b[31mred\x1b[0m \x00nul\nno end"].concat()
}

#[tokio::test]
async fn every_byte_of_odd_output_comes_back() {
    let kingdom = Kingdom::start().await;
    let yaml = "processes:\n  odd: { command: [python3, odd.py], stop_grace: 1s }\n";
    kingdom.deploy("odd", &[("odd.py", ODD), ("king.yaml", yaml)], 1).await;
    wait::until("stderr is stored", async || {
        let text = kingdom.kingctl(&["logs", "odd", "--stderr"]).await.success();
        wait::holds(text.contains("to stderr: grün"), || text)
    })
    .await;
    kingdom.kingctl(&["app", "stop", "odd", "--wait"]).await.success();
    // The instance is gone, and the last line has no end: all of it is there.
    let lines = wait::until("the last line is stored", async || {
        let printed = kingdom.kingctl(&["logs", "odd", "-n", "100000", "-o", "json"]).await.success();
        wait::holds(printed.contains("no end"), || "not yet".into())?;
        Ok::<_, String>(printed)
    })
    .await;
    let mut bytes = Vec::new();
    let mut pieces = 0;
    for line in lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("an object")) {
        if line["output"] != "stdout" {
            continue;
        }
        pieces += u32::from(line["continued"] == true);
        match line["text"].as_str() {
            Some(text) => bytes.extend_from_slice(text.as_bytes()),
            None => bytes.extend(unbase64(line["base64"].as_str().expect("one of the two"))),
        }
        if line["open"] != true {
            bytes.push(b'\n');
        }
    }
    assert_eq!(pieces, 152, "a line of 10 MB is in pieces of 64 KiB");
    assert!(bytes == odd_bytes(), "{} bytes came back of {}", bytes.len(), odd_bytes().len());
}

fn unbase64(text: &str) -> Vec<u8> {
    let value = |letter: u8| match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let mut bytes = Vec::new();
    for four in text.trim_end_matches('=').as_bytes().chunks(4) {
        let bits = four.iter().fold(0_u32, |bits, letter| bits << 6 | u32::from(value(*letter)));
        let bits = bits << (6 * (4 - four.len()));
        bytes.extend_from_slice(&bits.to_be_bytes()[1..four.len()]);
    }
    bytes
}

/// Two process types: one that prints on both streams, one that prints what looks like errors.
const TALKERS: &[File] = &[(
    "king.yaml",
    "processes:\n  web:\n    command: echo web one; sleep 0.05; echo web two >&2; exec sleep 100000\n    ports: []\n    stop_grace: 1s\n  job:\n    command: sleep 0.5; echo job one; exec sleep 100000\n    stop_grace: 1s\n",
)];

#[tokio::test]
async fn the_output_is_filtered_merged_and_outlives_its_app() {
    let kingdom = Kingdom::start().await;
    let repository = kingdom.repository("talk", TALKERS).await;
    repository.publish("v1.0.0").await;
    kingdom.kingctl(&["app", "deploy", "talk@1.0.0", "--wait"]).await.success();
    kingdom.kingctl(&["app", "scale", "talk", "job=1", "--wait"]).await.success();
    let shown = async |flags: &[&str]| -> Vec<String> {
        let printed = kingdom.kingctl(&[&["logs", "talk"], flags].concat()).await.success();
        printed.lines().map(str::to_owned).collect()
    };
    let three = wait::until("all lines are stored", async || {
        let lines = shown(&[]).await;
        wait::holds(lines.len() == 3, || lines.join("\n"))?;
        Ok::<_, String>(lines)
    })
    .await;
    assert!(three[0].starts_with("web/") && three[0].ends_with("| web one"), "{three:?}");
    assert!(three[1].ends_with("! web two") && three[2].ends_with("| job one"), "by time: {three:?}");
    let texts = async |flags: &[&str]| -> Vec<String> { shown(&[flags, &["-o", "name"]].concat()).await };
    assert_eq!(texts(&["--stderr"]).await, ["web two"]);
    assert_eq!(texts(&["--process", "job"]).await, ["job one"]);
    assert_eq!(texts(&["--grep", "^web.*o$"]).await, ["web two"]);
    assert_eq!(texts(&["--tail", "1"]).await, ["job one"]);
    assert_eq!(texts(&["--since", "1h"]).await.len(), 3);
    assert_eq!(texts(&["--since", "0s"]).await.len(), 0);
    assert_eq!(texts(&["--until", "1h"]).await.len(), 0);
    kingdom.kingctl(&["app", "stop", "talk", "--wait"]).await.success();
    assert_eq!(shown(&[]).await, three, "its process types are known although its instances are gone");
    kingdom.kingctl(&["app", "remove", "talk", "--yes"]).await.success();
    assert_eq!(shown(&[]).await, three, "although the app itself is gone");
    kingdom.kingctl(&["logs", "never"]).await.failure(3);
    kingdom.kingctl(&["logs", "019a1c2e-6f0b-7c11-8f4e-3a5d1c9b7e10"]).await.failure(3);
}

#[tokio::test]
async fn output_that_is_not_kept_any_more_is_told_as_a_gap() {
    let kingdom = Kingdom::start().await;
    kingdom.deploy("fast", FAST, 1).await;
    counted_beyond(&kingdom, 3000).await;
    let stream = kingdom.client.stream(events::subject::LOGS_STREAM).await;
    stream.purge().sequence(5).await.expect("a stream that forgets may be purged");
    let printed = kingdom.kingctl(&["logs", "fast", "-n", "1000000", "-o", "json"]).await.success();
    let first: Value = serde_json::from_str(printed.lines().next().expect("a line")).expect("an object");
    let gap = &first["gap"];
    assert_eq!((&first["number"], &gap["reason"]), (&json!(1), &json!("not-stored")), "{first}");
    let missing = gap["lines"].as_u64().expect("a count");
    let bytes: u64 = (1..=missing).map(|number| format!("fast {number}\n").len() as u64).sum();
    assert_eq!(gap["bytes"], bytes, "exactly, {first}");
    assert_eq!(number(printed.lines().nth(1).expect("a line")), missing + 1);
    let text = kingdom.kingctl(&["logs", "fast", "-n", "1000000"]).await.success();
    let wanted = format!("[king: {missing} lines are missing here ({bytes} bytes), numbers 1 to {missing}");
    assert!(
        text.lines().next().is_some_and(|line| line.contains(&wanted)),
        "{}",
        text.lines().next().unwrap_or("")
    );
}

const ERRING: &str = r#"
import sys, time
def say(text):
    print(text, flush=True)
for number in range(8):
    say("before %d" % number)
say("an odd thing happened in job 17")
for number in range(3):
    say("after %d" % number)
def cart():
    raise ValueError("no such cart")
try:
    cart()
except ValueError:
    import traceback
    traceback.print_exc()
while True:
    say("ERROR job %d failed" % time.time())
    say("ERROR but harmless")
    time.sleep(0.01)
"#;

const ERRING_YAML: &str = r#"processes:
  job: { command: [python3, job.py], stop_grace: 1s }
errors: { patterns: ["odd thing"], ignore: ["but harmless"], before: 3, after: 2 }
"#;

#[tokio::test]
async fn errors_in_the_output_become_events_and_mails_that_flood_nobody() {
    let kingdom = Kingdom::start().await;
    kingdom.deploy("erring", &[("job.py", ERRING), ("king.yaml", ERRING_YAML)], 1).await;
    let mail = kingdom.mail_about(&["FIRING", "erring/job", "odd thing happened"]).await;
    let body = mail.replace("=\r\n", "");
    for line in ["before 5", "before 6", "before 7", "an odd thing happened in job 17", "after 0", "after 1"]
    {
        assert!(body.contains(line), "{line} is not in {body}");
    }
    assert!(!body.contains("before 4") && !body.contains("after 2"), "{body}");
    kingdom.mail_about(&["FIRING", "erring/job", "ValueError: no such cart"]).await;
    kingdom.mail_about(&["FIRING", "erring/job", "ERROR job"]).await;
    let events = kingdom.client.events().await;
    let known: Vec<String> = events
        .iter()
        .filter_map(|event| match &event.fact {
            Fact::Instance(InstanceEvent::Erred(erred)) => Some(erred.pattern.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(known.len(), 3, "of hundreds of equal errors one is told: {known:?}");
    for pattern in ["odd thing", "python-traceback", "error-word"] {
        assert!(known.iter().any(|known| known == pattern), "{known:?}");
    }
    let mails = kingdom.mails().into_iter().filter(|mail| mail.contains("erring")).count();
    assert_eq!(mails, 3, "one mail for each kind");
}

#[tokio::test]
async fn a_pattern_that_is_none_is_refused_at_push_with_its_place() {
    let kingdom = Kingdom::start().await;
    let yaml = "processes: { web: sleep 1 }\nerrors:\n  patterns:\n    - fine\n    - \"a(b\"\n";
    let repository = kingdom.repository("wrong", &[("king.yaml", yaml)]).await;
    repository.git(&["tag", "v1.0.0"]).await.success();
    let refused = repository.git(&["push", "king", "main", "v1.0.0"]).await.failure(1);
    assert!(refused.contains("king.yaml:5:7") && refused.contains("unclosed group"), "{refused}");
}
