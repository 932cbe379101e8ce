//! Bad input from anywhere: each is refused with a message that says what is wrong and what to do, and nothing changes.

use kingdom_tests::apps::IDLE_APP;
use kingdom_tests::{Kingdom, wait};
use serde_json::{Value, json};

/// Everything that people see of the state.
async fn everything(kingdom: &Kingdom) -> Vec<Vec<Value>> {
    let mut lists = Vec::new();
    for kind in ["app.ls", "instance.ls", "config.ls", "servant.ls"] {
        lists.push(kingdom.client.query(kind, json!({})).await);
    }
    for kind in ["version.ls", "release.ls"] {
        lists.push(kingdom.client.query(kind, json!({ "app": "good" })).await);
    }
    lists
}

/// A command that must be refused: its kind, its bytes, and words of the refusal.
struct Bad(&'static str, Vec<u8>, &'static str);

fn bad(kind: &'static str, body: Value, words: &'static str) -> Bad {
    Bad(kind, body.to_string().into_bytes(), words)
}

fn bad_names() -> Vec<Bad> {
    let long = "x".repeat(10_000);
    let names =
        ["a.b", "*", "a*", ">", "a>b", "a b", "..", "../../etc", "", "UPPER", "-a", "ü", "a\u{0}b", &long];
    names
        .iter()
        .flat_map(|name| {
            [
                bad("app.create", json!({ "app": name }), "is not a name"),
                bad("app.deploy", json!({ "app": name, "version": "1.0.0" }), "is not a name"),
                bad("app.remove", json!({ "app": name }), "is not a name"),
                bad("servant.remove", json!({ "servant": name }), "is not a name"),
            ]
        })
        .collect()
}

fn bad_values() -> Vec<Bad> {
    let deploy = |body: Value, words| bad("app.deploy", body, words);
    let set = |values: Value, words| bad("config.set", json!({ "values": values }), words);
    let manifest = json!({ "processes": {} });
    let archive = "0".repeat(64);
    vec![
        deploy(json!({ "app": "good", "version": "latest" }), "version"),
        deploy(json!({ "app": "good", "version": "1.0" }), "version"),
        deploy(json!({ "app": "good", "version": "9.9.9" }), "9.9.9"),
        deploy(json!({ "app": "nobody", "version": "1.0.0" }), "nobody"),
        deploy(json!({ "app": "good", "version": "1.0.0", "count": -1 }), "-1"),
        deploy(json!({ "app": "good", "version": "1.0.0", "count": 10_000_000 }), "10000000"),
        deploy(json!({ "app": "good", "version": "1.0.0", "count": 1.5 }), "1.5"),
        deploy(json!({ "app": "good", "version": "1.0.0", "count": 1, "process": "nothing" }), "nothing"),
        deploy(json!({ "app": "good", "version": "1.0.0", "colour": "red" }), "colour"),
        deploy(json!({ "app": "good" }), "version"),
        bad("app.scale", json!({ "app": "good", "count": -1 }), "-1"),
        bad("app.scale", json!({ "app": "good", "count": 10_000_000 }), "10000000"),
        bad("app.scale", json!({ "app": "nobody", "count": 1 }), "nobody"),
        bad("app.create", json!({ "app": "good" }), "good"),
        bad("app.stop", json!({ "app": "nobody" }), "nobody"),
        bad("app.remove", json!({ "app": "nobody" }), "nobody"),
        bad("app.explode", json!({}), "app.explode"),
        bad("servant.remove", json!({ "servant": "s1" }), "alive"),
        bad("servant.remove", json!({ "servant": "nobody" }), "nobody"),
        set(json!({ "PORT": "1" }), "PORT"),
        set(json!({ "KING_INSTANCE": "1" }), "KING_"),
        set(json!({ "A B": "1" }), "A B"),
        set(json!({ "1": "1" }), "1"),
        set(json!({ "LONG": "x".repeat(40_000) }), "40000"),
        set(json!({ "NUL": "a\u{0}b" }), "NUL"),
        bad(
            "version.publish",
            json!({ "app": "good", "version": "2.0.0", "archive": archive, "manifest": manifest }),
            "processes",
        ),
        bad(
            "version.publish",
            json!({ "app": "good", "version": "2.0.0", "archive": "../x", "manifest": manifest }),
            "digest",
        ),
    ]
}

fn bad_bytes() -> Vec<Bad> {
    let whole = events::wire::encode(&json!({ "app": "fresh" }));
    let raw = |bytes: &[u8], words| Bad("app.create", bytes.to_vec(), words);
    let mut cases = vec![
        raw(br#"{"app":"fresh""#, "EOF"),
        raw(br#"{"app":fresh}"#, "expected"),
        raw(br#"{"app":"fresh"} {}"#, "trailing"),
        raw(b"{}", "app"),
        raw(b"", "EOF"),
        raw(b"hello", "expected"),
        raw(&[0xc1], "MessagePack"),
        raw(&[whole.as_slice(), b"x"].concat(), "follow"),
        raw(&vec![b'{'; 600_000], "at most"),
        raw("[".repeat(100_000).as_bytes(), "expected"),
    ];
    cases.extend((1..whole.len()).map(|cut| Bad("app.create", whole[..cut].to_vec(), "MessagePack")));
    cases
}

#[tokio::test]
async fn bad_commands_are_refused_and_change_nothing() {
    let kingdom = Kingdom::start().await;
    kingdom.deploy("good", IDLE_APP, 1).await;
    let (before, events) = (everything(&kingdom).await, kingdom.client.events().await.len());

    let cases: Vec<Bad> = bad_names().into_iter().chain(bad_values()).chain(bad_bytes()).collect();
    for Bad(kind, payload, words) in cases {
        let shown = String::from_utf8_lossy(&payload[..payload.len().min(120)]).into_owned();
        let answer = kingdom.client.request(&format!("king.cmd.{kind}"), None, payload).await;
        let answer = answer.unwrap_or_else(|error| panic!("{kind} {shown}: no answer: {error}"));
        let text = String::from_utf8_lossy(&answer).into_owned();
        let answer: Value = serde_json::from_slice(&answer).unwrap_or_else(|_| from_message_pack(&answer));
        assert_eq!(answer["status"], "refused", "{kind} {shown}: {text}");
        let refusal = &answer["refusal"];
        let said = |field: &str| refusal[field].as_str().unwrap_or_default().to_owned();
        assert!(refusal.to_string().contains(words), "{kind} {shown}: {refusal} should say {words:?}");
        assert!(
            ["field", "rule", "fix"].into_iter().all(|field| !said(field).is_empty()),
            "{kind} {shown}: {refusal}"
        );
        assert!(text.len() < 2000, "a refusal does not repeat all that was sent: {} bytes", text.len());
    }

    assert_eq!(everything(&kingdom).await, before);
    let new = kingdom.client.events().await.split_off(events);
    let others: Vec<_> = new.iter().filter(|event| event.fact.kind() != "command.refused").collect();
    assert!(others.is_empty(), "nothing but refusals is recorded: {others:?}");
}

fn from_message_pack(bytes: &[u8]) -> Value {
    events::wire::decode(bytes).unwrap_or_else(|error| panic!("{}: {bytes:?}", error.reason()))
}

#[tokio::test]
async fn a_bad_message_in_the_queue_does_not_stop_what_comes_after_it() {
    let kingdom = Kingdom::start().await;
    for Bad(kind, payload, _) in bad_bytes().into_iter().chain(bad_names()) {
        let is_too_large = payload.len() > events::limits::MESSAGE_BYTES;
        let stored = kingdom.client.jetstream.publish(format!("king.queue.{kind}"), payload.into()).await;
        let stored = stored.expect("the connection lives").await;
        assert_eq!(stored.is_err(), is_too_large, "{stored:?}");
    }
    kingdom.client.queue("app.create", json!({ "app": "after" })).await;
    wait::until("the command after them is done", async || {
        let apps = kingdom.client.ask("app.ls", json!({})).await?;
        wait::holds(apps.len() == 1 && apps[0]["app"] == "after", || format!("{apps:?}"))
    })
    .await;
}

#[tokio::test]
async fn bad_questions_are_refused() {
    let kingdom = Kingdom::start().await;
    for (kind, question, words) in [
        ("app.show", json!({ "app": "nobody" }), "nobody"),
        ("app.show", json!({}), "app"),
        ("app.ls", json!({ "colour": "red" }), "colour"),
        ("instance.ls", json!({ "servant": "nobody" }), "nobody"),
        ("instance.ls", json!({ "app": "../x" }), "not a name"),
        ("nothing.ls", json!({}), "nothing.ls"),
        ("command.show", json!({ "id": "never" }), "never"),
        ("app.ls", json!({ "min_event": u64::MAX }), "not reached"),
    ] {
        // The last one waits 5 s for its event, longer than one request of this client.
        let payload = question.to_string().into_bytes();
        let subject = format!("king.query.{kind}");
        let request = async_nats::Request::new().payload(payload.into()).timeout(Some(wait::PATIENCE));
        let answer = kingdom.client.nats.send_request(subject, request).await.expect("an answer");
        let answer: Value = serde_json::from_slice(&answer.payload).expect("JSON");
        let refusal = answer["refused"].to_string();
        assert!(refusal.contains("rule") && refusal.contains(words), "{kind} {question}: {answer}");
    }
}

#[tokio::test]
async fn kingctl_says_what_is_wrong_in_its_exit_code_too() {
    let kingdom = Kingdom::start().await;
    kingdom.deploy("good", IDLE_APP, 1).await;
    let before = everything(&kingdom).await;
    let long = "x".repeat(10_000);
    for (code, arguments, words) in [
        (2, &["app", "create", "no.dots"][..], "not a name"),
        (2, &["app", "create", "*"], "not a name"),
        (2, &["app", "create", &long], "not a name"),
        (2, &["app", "deploy", "good@newest"], "newest"),
        (2, &["app", "deploy", "good@1.0.0", "--count", "-1"], "-1"),
        (2, &["app", "deploy", "good@1.0.0", "--count", "10000000"], "10000000"),
        (3, &["app", "deploy", "nobody@1.0.0"], "nobody"),
        (3, &["app", "deploy", "good@9.9.9"], "9.9.9"),
        (4, &["app", "create", "good"], "good"),
        (2, &["config", "set", "PORT=1"], "PORT"),
    ] {
        let said = kingdom.kingctl(arguments).await.failure(code);
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
    assert_eq!(everything(&kingdom).await, before);
}
