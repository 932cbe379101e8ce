//! The README's first hour, word for word: its commands are taken out of it and run by a shell against a kingdom.

use kingdom_tests::command::run;
use kingdom_tests::process::clean_environment;
use kingdom_tests::{Kingdom, programs, wait};
use serde_json::json;
use tokio::process::Command;

const README: &str = include_str!("../../README.md");

/// The commands of a section: its indented lines.
fn commands(section: &str) -> Vec<&'static str> {
    let (_, rest) = README.split_once(section).unwrap_or_else(|| panic!("the README has no {section:?}"));
    let text = rest.split("\n## ").next().unwrap_or_default();
    text.lines().filter_map(|line| line.strip_prefix("    ")).collect()
}

/// A command as the test can run it; none for those that another test runs, or that name what only a reader can know.
fn runnable(line: &str) -> Option<String> {
    let elsewhere =
        ["make up", "export PATH", "nats req", "nats pub"].iter().any(|start| line.contains(start));
    if elsewhere || line.contains("<a pid") || line.trim_start().starts_with(['│', '▼', '▲', '┌', '└'])
    {
        return None;
    }
    let goes_on = ["--follow", "--watch", "event tail", "curl -N"].iter().any(|word| line.contains(word));
    let line = line.split("  #").next().unwrap_or_default();
    Some(if goes_on { format!("timeout 2 {line} || test $? = 124") } else { line.to_owned() })
}

#[tokio::test]
async fn the_commands_of_the_readme_work() {
    let kingdom = Kingdom::start().await;
    let hello = kingdom.path().join("hello").display().to_string();
    let curled = kingdom.servant_ports().0;
    let lines: Vec<String> = commands("## Run it").into_iter().filter_map(runnable).collect();
    let script = lines
        .join("\n")
        .replace("/tmp/hello", &hello)
        .replace("127.0.0.1:7480", &kingdom.ports.http().to_string())
        .replace("127.0.0.1:20000", &format!("127.0.0.1:{curled}"));
    for needed in [
        "git push king main v1.0.0",
        "kingctl app deploy hello@1.0.0 --count 2",
        "kingctl logs hello",
        "curl",
    ] {
        assert!(script.contains(needed), "the README should show `{needed}`:\n{script}");
    }
    let mut path = programs::kingdom("kingctl").parent().expect("it lies in a folder").as_os_str().to_owned();
    let mut command = Command::new("bash");
    command.args(["-euxo", "pipefail", "-c", &script]).current_dir(kingdom.path()).env_clear();
    for (key, value) in clean_environment() {
        if key == "PATH" {
            path.push(":");
            path.push(value);
        } else {
            command.env(key, value);
        }
    }
    command.env("PATH", path).env("KING_NATS", kingdom.nats_url()).env("USER", "reader");
    for role in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{role}_NAME"), "Reader").env(format!("GIT_{role}_EMAIL"), "r@example.org");
    }
    let printed = run(command).await.success();
    assert!(printed.contains(&format!("http://127.0.0.1:{curled}")), "kingctl prints the address: {printed}");
    assert!(printed.contains("hello from "), "curl prints the page: {printed}");
    assert!(printed.contains("GET /"), "kingctl logs prints the request: {printed}");
    assert!(printed.contains("\nid: "), "the web's event stream says where it is: {printed}");
    wait::until("two run", async || {
        let instances = kingdom.client.ask("instance.ls", json!({ "app": "hello" })).await?;
        wait::holds(instances.len() == 2 && kingdom.runs().len() == 2, || format!("{instances:?}"))
    })
    .await;
}

#[tokio::test]
async fn the_plain_commands_of_the_readme_are_understood() {
    let kingdom = Kingdom::start().await;
    let repository = kingdom.repository("hello", kingdom_tests::apps::NODE_APP).await;
    repository.publish("v1.0.0").await;
    let mut sent = 0;
    for line in commands("## Run it") {
        let Some((verb, rest)) = line.strip_prefix("nats ").and_then(|rest| rest.split_once(' ')) else {
            continue;
        };
        let mut words = rest.splitn(2, ' ');
        let subject = words.next().expect("a subject follows").to_owned();
        let body = words.next().and_then(|rest| rest.split('\'').nth(1)).expect("a body in quotes follows");
        match verb {
            "req" => {
                let answer = kingdom.client.request(&subject, None, body.into()).await.expect("an answer");
                assert!(answer.starts_with(b"{") && !answer.is_empty(), "JSON is answered by JSON");
                assert!(String::from_utf8_lossy(&answer).contains("\"status\":\"accepted\""), "{answer:?}");
                kingdom.settled("hello").await;
                assert_eq!(kingdom.instances("hello").await.len(), 3);
            }
            "pub" => {
                kingdom.client.nats.publish(subject, body.to_owned().into()).await.expect("it is sent");
                wait::until("the queued command is done", async || {
                    let instances = kingdom.client.ask("instance.ls", json!({ "app": "hello" })).await?;
                    wait::holds(instances.len() == 2, || format!("{instances:?}"))
                })
                .await;
            }
            other => panic!("the README shows `nats {other}`, which no test knows"),
        }
        sent += 1;
    }
    assert_eq!(sent, 2);
}
