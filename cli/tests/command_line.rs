//! What kingctl says and exits with where no kingdom is needed.

use std::net::TcpListener;
use std::process::{Command, Output};

fn kingctl(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kingctl"));
    for variable in ["KING_NATS", "KING_DATA", "KING_HTTP", "NO_COLOR"] {
        command.env_remove(variable);
    }
    command.args(arguments).output().expect("kingctl starts")
}

fn refused(arguments: &[&str], code: i32) -> String {
    let output = kingctl(arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    assert!(output.stdout.is_empty(), "failures speak on stderr only");
    said
}

/// A port that nobody listens on, held so that nobody else takes it.
fn silent_port() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    (listener, port)
}

#[test]
fn without_a_kingdom_it_says_how_to_start_one() {
    let (listener, port) = silent_port();
    drop(listener);
    let nats = format!("nats://127.0.0.1:{port}");
    let said = refused(&["--nats", &nats, "--timeout", "500ms", "app", "ls"], 1);
    assert!(said.contains(&nats) && said.contains("make up"), "{said}");
    let said = refused(&["--nats", &nats, "--timeout", "500ms", "app", "ls", "-o", "json"], 1);
    let object: serde_json::Value = serde_json::from_str(&said).expect("an object on stderr");
    assert_eq!(object["exit_code"], 1);
}

#[test]
fn what_is_not_understood_is_a_usage_error() {
    for arguments in [
        &["frobnicate"][..],
        &["app", "deploy", "shop"],
        &["app", "create", "Not.A.Name"],
        &["app", "scale", "shop", "-1"],
        &["--nats", "nats://192.0.2.1:4222", "app", "ls"],
        &["config", "set", "no-equals-sign"],
        &["app", "remove", "shop"],
        &["up", "--http", "0.0.0.0:7480"],
        &["up", "--ports", "9-1"],
    ] {
        refused(arguments, 2);
    }
}

#[test]
fn leaving_loopback_is_refused_with_the_reason() {
    let said = refused(&["up", "--http", "0.0.0.0:7480"], 2);
    assert!(said.contains("no accounts, signatures or TLS"), "{said}");
}

#[test]
fn a_taken_port_is_said_before_anything_starts() {
    let data = tempfile::tempdir().expect("a temporary folder");
    let (listener, port) = silent_port();
    let path = data.path().to_str().expect("a plain path");
    let said = refused(&["up", "--data", path, "--nats-port", &port.to_string()], 4);
    assert!(said.contains(&port.to_string()) && said.contains("--nats-port"), "{said}");
    assert!(!data.path().join("nats").exists(), "nothing was started");
    drop(listener);
}

#[test]
fn help_has_examples_and_exit_codes() {
    let help = String::from_utf8(kingctl(&["--help"]).stdout).expect("text");
    assert!(help.contains("Examples:") && help.contains("Exit codes:"), "{help}");
    for noun in ["app", "version", "release", "instance", "servant", "config", "event", "command", "king"] {
        let output = kingctl(&[noun, "--help"]);
        assert!(output.status.success(), "{noun}");
    }
}
