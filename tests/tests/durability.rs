//! What the services refuse to start with: a server that may lose what it has acknowledged, an address that others can
//! reach, a folder that another holds.

use kingdom_tests::nats::{Server, Syncing};
use kingdom_tests::ports::Ports;
use kingdom_tests::process::Process;
use kingdom_tests::{Kingdom, programs, wait};
use std::ffi::OsString;
use std::path::Path;

/// Starts a program that must end by itself with a failure, and gives what it said.
async fn refused(folder: &Path, program: &str, arguments: &[&str]) -> String {
    let mut process = Process::new(program, folder, programs::kingdom(program), arguments);
    process.start();
    let status = process.ended(wait::PATIENCE).await;
    assert!(!status.success(), "{program} {arguments:?}: {}", process.output());
    process.output()
}

#[tokio::test]
async fn a_king_does_not_serve_on_a_server_that_may_lose_what_it_acknowledged() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ports = Ports::reserve();
    let mut nats = Server::prepare(folder.path(), folder.path(), ports.nats(), Syncing::Sometimes);
    nats.start().await;
    let (http, url, data) = (ports.http().to_string(), nats.url(), folder.path().display().to_string());
    let password = nats.password_file.display().to_string();
    let flags = ["--nats", &url, "--data", &data, "--http", &http, "--nats-system-password-file", &password];
    let said = refused(folder.path(), "king", &flags).await;
    assert!(said.contains("sync_interval: always"), "it names the line to change: {said}");
    let jetstream = async_nats::jetstream::new(async_nats::connect(&url).await.expect("the server is there"));
    let error = jetstream.get_stream(events::subject::LOG_STREAM).await;
    assert!(error.is_err(), "it has made nothing there");
}

#[tokio::test]
async fn addresses_that_others_can_reach_are_refused_with_the_reason() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().display().to_string();
    let far = "nats://192.0.2.1:4222";
    let king = ["--data", &data, "--nats-system-password-file", "none"];
    for flags in [["--http", "0.0.0.0:0"], ["--http", "[::]:0"], ["--http", "192.0.2.1:80"], ["--nats", far]]
    {
        let said = refused(folder.path(), "king", &[&king[..], &flags].concat()).await;
        assert!(said.contains("no accounts") && said.contains("127.0.0.1"), "{flags:?}: {said}");
    }
    for program in ["foreman", "servant", "alerter"] {
        let said = refused(folder.path(), program, &["--data", &data, "--nats", far]).await;
        assert!(said.contains("no accounts"), "{program}: {said}");
    }
    for arguments in [&["--nats", far, "app", "ls"][..], &["up", "--data", &data, "--http", "0.0.0.0:7480"]] {
        let said = refused(folder.path(), "kingctl", arguments).await;
        assert!(said.contains("no accounts"), "{arguments:?}: {said}");
    }
}

#[tokio::test]
async fn a_data_folder_and_an_address_have_one_holder() {
    let mut kingdom = Kingdom::start().await;
    let pid = |said: &str, kingdom: &mut Kingdom, name: &str| {
        let first = kingdom.said(name);
        let pid = first.split("pid=").nth(1).and_then(|rest| rest.split(' ').next().map(str::to_owned));
        assert!(said.contains(&pid.expect("a service says its pid")), "{said}");
    };
    let password = kingdom.path().join("nats-system-password");
    let king = |address: String| -> Vec<OsString> {
        vec!["--http".into(), address.into(), "--nats-system-password-file".into(), password.clone().into()]
    };
    let folder = kingdom.path().to_owned();
    let twins = [
        ("king", "king", king("127.0.0.1:0".into())),
        ("foreman", "foreman", vec![]),
        ("alerter", "alerter", vec![]),
        ("s1", "servant", vec!["--name".into(), "s1".into()]),
    ];
    for (name, program, flags) in twins {
        let mut twin = kingdom.service_process(&format!("twin-{name}"), program, &folder, flags);
        twin.start();
        assert!(!twin.ended(wait::PATIENCE).await.success());
        let said = twin.output();
        assert!(said.contains("in use"), "{said}");
        pid(&said, &mut kingdom, name);
    }
    let flags = king(kingdom.ports.http().to_string());
    let mut other = kingdom.service_process("other", "king", &folder.join("other"), flags);
    other.start();
    assert!(!other.ended(wait::PATIENCE).await.success());
    assert!(other.output().contains("--http"), "{}", other.output());
    kingdom.is_ready().await;
}

#[tokio::test]
async fn a_service_without_a_server_says_so_and_ends() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ports = Ports::reserve();
    let url = format!("nats://127.0.0.1:{}", ports.nats());
    let data = folder.path().display().to_string();
    let said = refused(folder.path(), "foreman", &["--nats", &url, "--data", &data]).await;
    assert!(said.contains(&url), "it names what it tried: {said}");
    let said = refused(folder.path(), "kingctl", &["--nats", &url, "--timeout", "1s", "app", "ls"]).await;
    assert!(said.contains(&url), "{said}");
}
