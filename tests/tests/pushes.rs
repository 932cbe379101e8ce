//! Bad pushes, from a real Git client and from none: refused on the pusher's terminal, and nothing changes.

use kingdom_tests::apps::IDLE_APP;
use kingdom_tests::wait::PATIENCE;
use kingdom_tests::{Kingdom, Plan, http};
use serde_json::json;
use std::cell::Cell;
use std::fmt::Write as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn apps(kingdom: &Kingdom) -> usize {
    kingdom.client.query("app.ls", json!({})).await.len()
}

async fn small_kingdom() -> Kingdom {
    let king = ["--push-megabytes", "1"].map(str::to_owned).to_vec();
    Kingdom::with(Plan { servants: 0, king, ..Plan::default() }).await
}

/// Text that no packer makes smaller.
fn noise(bytes: usize) -> String {
    let mut text = String::with_capacity(bytes);
    let mut number = 1_u64;
    while text.len() < bytes {
        // xorshift64 (Marsaglia, 2003)
        number ^= number << 13;
        number ^= number >> 7;
        number ^= number << 17;
        write!(text, "{number:016x}").expect("memory can be written");
    }
    text
}

#[tokio::test]
async fn a_push_beyond_the_limit_is_refused_on_the_pushers_terminal() {
    let kingdom = small_kingdom().await;
    let repository = kingdom.repository("large", IDLE_APP).await;
    repository.commit(&[("noise", &noise(6 << 20))]).await;
    repository.git(&["tag", "v1.0.0"]).await.success();
    let ended = repository.git(&["push", "king", "main", "v1.0.0"]).await;
    assert_ne!(ended.code, 0);
    assert!(ended.stderr.contains("maximum allowed size"), "{}", ended.stderr);
    assert_eq!(apps(&kingdom).await, 0);

    let repository = kingdom.repository("small", IDLE_APP).await;
    repository.publish("v1.0.0").await;
    assert_eq!(apps(&kingdom).await, 1, "a smaller one is taken");
}

/// Sends a request to the Git remote by hand: its head, then zeros until the King ends it or `most` are sent. Gives how
/// many were sent, and the beginning of the answer.
async fn pour(kingdom: &Kingdom, length: &str, most: usize) -> (usize, String) {
    let address = kingdom.ports.http();
    let (mut reader, mut writer) = TcpStream::connect(address).await.expect("the King listens").into_split();
    let head = format!(
        "POST /git/flood.git/git-receive-pack HTTP/1.1\r\nHost: {address}\r\n\
         Content-Type: application/x-git-receive-pack-request\r\n{length}\r\n\r\n"
    );
    let sent = Cell::new(0);
    let pouring = async {
        let chunk = [format!("{:x}\r\n", 1 << 20).as_bytes(), &vec![0; 1 << 20], b"\r\n"].concat();
        let mut more = writer.write_all(head.as_bytes()).await;
        while sent.get() < most && more.is_ok() {
            more = writer.write_all(&chunk).await;
            sent.set(sent.get() + (1 << 20));
        }
    };
    let answering = async {
        let mut start = vec![0; 1024];
        let read = reader.read(&mut start).await.unwrap_or(0);
        String::from_utf8_lossy(&start[..read]).into_owned()
    };
    let both = async { tokio::join!(pouring, answering).1 };
    let answer = tokio::time::timeout(PATIENCE, both).await.expect("the King ends the flood");
    (sent.get(), answer)
}

#[tokio::test]
async fn two_gigabytes_are_refused_before_they_are_sent() {
    let kingdom = small_kingdom().await;
    let (sent, answer) = pour(&kingdom, "Content-Length: 2147483648", 2 << 30).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer:?}");
    assert!(sent < 64 << 20, "{sent} bytes were taken");
    assert!(answer.contains("2147483648"), "the reason names what was found: {answer:?}");

    // Without a length nobody knows before; it is cut once it is beyond the limit.
    let (sent, _) = pour(&kingdom, "Transfer-Encoding: chunked", 2 << 30).await;
    assert!(sent > 1 << 20, "it was a flood: {sent}");
    assert!(sent < 512 << 20, "{sent} bytes were taken");
    let health = http::get(kingdom.ports.http(), "/healthz").await.expect("the King lives");
    assert_eq!(health.status, 200);
    assert_eq!(apps(&kingdom).await, 0);
}

#[tokio::test]
async fn bad_names_and_bad_manifests_are_refused_with_their_place() {
    let kingdom = small_kingdom().await;
    let repository = kingdom.repository("app", IDLE_APP).await;
    for name in ["no.dots", "UPPER", "a*", "..%2f..%2fetc", "%2e%2e", "a%20b", "-", &"x".repeat(100)] {
        let ended = repository.git(&["push", &kingdom.remote(name), "main"]).await;
        assert_ne!(ended.code, 0, "{name}: {}", ended.stderr);
    }
    assert_eq!(apps(&kingdom).await, 0);

    let cases = [
        ("king.yaml", "processes:\n  web:\n    command: run\n    colour: red\n", ["king.yaml:4", "colour"]),
        ("king.yaml", "processes:\n  web: {command: run, count: -1}\n", ["king.yaml:2", "-1"]),
        ("king.yaml", "processes:\n  we.b: run\n", ["king.yaml:2", "we.b"]),
        ("king.yaml", "processes: {web: [run\n", ["king.yaml", "2"]),
        ("Procfile", "web: run\nnothing here\n", ["Procfile:2", "name: command"]),
        ("README", "no manifest at all\n", ["king.yaml", "Procfile"]),
    ];
    for (number, (file, text, words)) in cases.into_iter().enumerate() {
        let name = format!("bad-{number}");
        let repository = kingdom.repository(&name, &[(file, text)]).await;
        repository.git(&["tag", "v1.0.0"]).await.success();
        let ended = repository.git(&["push", "king", "main", "v1.0.0"]).await;
        assert_ne!(ended.code, 0, "{file} {text}");
        for word in words {
            assert!(ended.stderr.contains(word), "{file} {text:?} should say {word:?}: {}", ended.stderr);
        }
    }
    assert_eq!(apps(&kingdom).await, 0);
}

#[tokio::test]
async fn a_version_never_becomes_another_commit() {
    let kingdom = small_kingdom().await;
    let repository = kingdom.repository("fixed", IDLE_APP).await;
    repository.publish("v1.0.0").await;
    let versions = kingdom.client.query("version.ls", json!({ "app": "fixed" })).await;
    repository.commit(&[("change", "1")]).await;
    repository.git(&["tag", "--force", "v1.0.0"]).await.success();
    let ended = repository.git(&["push", "--force", "king", "v1.0.0"]).await;
    assert_ne!(ended.code, 0);
    assert!(ended.stderr.contains("1.0.0") && ended.stderr.contains("never change"), "{}", ended.stderr);
    // Neither under its other spelling, nor by taking it away first.
    repository.git(&["tag", "1.0.0"]).await.success();
    assert_ne!(repository.git(&["push", "king", "1.0.0"]).await.code, 0);
    assert_ne!(repository.git(&["push", "king", ":refs/tags/v1.0.0"]).await.code, 0);
    assert_eq!(kingdom.client.query("version.ls", json!({ "app": "fixed" })).await, versions);
}

#[tokio::test]
async fn what_was_pushed_does_not_depend_on_the_disk_of_the_king() {
    let mut kingdom = Kingdom::start().await;
    let repository = kingdom.repository("kept", IDLE_APP).await;
    repository.publish("v1.0.0").await;
    kingdom.kill9("king");
    std::fs::remove_dir_all(kingdom.path().join("king")).expect("the King had a folder");
    kingdom.restart("king").await;
    kingdom.kingctl(&["app", "deploy", "kept@1.0.0", "--wait"]).await.success();
    let clone = kingdom.path().join("clone");
    let clone = clone.to_str().expect("a plain path");
    repository.git(&["clone", "--quiet", "--branch", "main", &kingdom.remote("kept"), clone]).await.success();
    let head = repository.git(&["rev-parse", "v1.0.0"]).await.success();
    assert_eq!(repository.git(&["-C", clone, "rev-parse", "v1.0.0"]).await.success(), head);
    repository.commit(&[("change", "1")]).await;
    repository.publish("v1.1.0").await;
}
