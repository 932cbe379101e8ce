//! A real SMTP server (aiosmtpd) that tells what it takes.

use super::{PATIENCE, root};
use serde_json::Value;
use std::ffi::OsString;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

pub struct Smtp {
    _child: Child,
    _stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    pub url: String,
}

fn python() -> OsString {
    let installed = || root().join(".tools/venv/bin/python").into_os_string();
    std::env::var_os("KING_TEST_PYTHON").unwrap_or_else(installed)
}

impl Smtp {
    pub async fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(python())
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/smtp_server.py"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("python with aiosmtpd: run scripts/bootstrap, or name one in KING_TEST_PYTHON");
        let stdin = child.stdin.take().expect("it is piped");
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let mut smtp = Self { _child: child, _stdin: stdin, lines, url: String::new() };
        smtp.url = format!("smtp://127.0.0.1:{}", smtp.next().await["port"]);
        smtp
    }

    /// What the server says next.
    pub async fn next(&mut self) -> Value {
        let line =
            timeout(PATIENCE, self.lines.next_line()).await.expect("the SMTP server heard nothing in time");
        let line = line.expect("it says text").expect("it runs");
        serde_json::from_str(&line).expect("it says JSON")
    }

    /// The next mail that it takes, its lines ended by LF.
    pub async fn mail(&mut self) -> String {
        self.next().await["data"].as_str().expect("a mail").replace("\r\n", "\n")
    }
}

/// The value of a header.
pub fn header<'a>(mail: &'a str, name: &str) -> &'a str {
    let head = mail.split("\n\n").next().expect("a head");
    let line = head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    line.unwrap_or_else(|| panic!("no {name} in {head}"))
}
