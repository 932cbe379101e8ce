//! A person at a terminal, who runs commands with `kingctl exec -t`.

use crate::{Kingdom, wait};
use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::Stdio;
use tokio::process::Child;

/// A terminal of a person: this side of it, and the other.
pub fn terminal(rows: u16, columns: u16) -> (File, OwnedFd) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&master).and_then(|()| unlockpt(&master)).expect("it can be used");
    let other = ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("its other side");
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&master, size).expect("it has a size");
    (File::from(master), other)
}

/// A person at a terminal, on which `kingctl exec -t` runs a command.
pub struct Person {
    keys: File,
    /// The side of `kingctl`.
    pub other: OwnedFd,
    pub child: Child,
    shown: tokio::sync::mpsc::Receiver<String>,
    text: String,
}

impl Person {
    /// Runs this on a target, in a window of 33 rows and 101 columns.
    pub fn runs(kingdom: &Kingdom, target: &str, script: &str) -> Self {
        let (keys, other) = terminal(33, 101);
        let mut command = kingdom.kingctl_command(&["exec", target, "-t", "--", "sh", "-c", script]);
        command.env("TERM", "xterm-256color").kill_on_drop(true);
        let end = || Stdio::from(other.try_clone().expect("it can be shared"));
        command.stdin(end()).stdout(end()).stderr(end());
        let child = command.spawn().expect("it starts");
        let mut reader = keys.try_clone().expect("it can be shared");
        let (lines, shown) = tokio::sync::mpsc::channel(1024);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = reader.read(&mut buffer) {
                if lines.blocking_send(String::from_utf8_lossy(&buffer[..length]).into_owned()).is_err() {
                    return;
                }
            }
        });
        Self { keys, other, child, shown, text: String::new() }
    }

    pub async fn sees(&mut self, wanted: &str) {
        let seen = tokio::time::timeout(wait::PATIENCE, async {
            while !self.text.contains(wanted) {
                self.text.push_str(&self.shown.recv().await.expect("the terminal is open"));
            }
        });
        assert!(seen.await.is_ok(), "waited for {wanted:?}; there is {:?}", self.text);
    }

    pub fn types(&mut self, keys: &[u8]) {
        self.keys.write_all(keys).expect("typed");
    }

    pub fn resizes(&self, rows: u16, columns: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.keys, size).expect("it has another size");
        let pid = self.child.id().and_then(|pid| rustix::process::Pid::from_raw(i32::try_from(pid).ok()?));
        rustix::process::kill_process(pid.expect("it runs"), Signal::WINCH).expect("it is told");
    }
}

const TERMINAL: &str = "test -t 0 && test -t 1 && echo yes; until [ \"$(stty size 2>&1)\" = \"33 101\" ]; do sleep 0.1; done; stty size; read line; while [ \"$(stty size)\" = \"33 101\" ]; do sleep 0.1; done; stty size; tty; : < /dev/tty && echo controls; \
                        trap 'echo interrupted; exit 9' INT; echo ready; sleep 600";

/// All that a person may expect of a terminal, wherever the command is.
pub async fn is_a_terminal(kingdom: &Kingdom, target: &str) {
    let mut person = Person::runs(kingdom, target, TERMINAL);
    let before = rustix::termios::tcgetattr(&person.other).expect("it has settings");
    person.sees("yes").await;
    person.sees("33 101").await;
    person.resizes(44, 120);
    person.types(b"go\r");
    person.sees("44 120").await;
    for wanted in ["/dev/pts/", "controls", "ready"] {
        person.sees(wanted).await;
    }
    person.types(b"\x03");
    person.sees("interrupted").await;
    assert_eq!(person.child.wait().await.expect("it ends").code(), Some(9));
    let after = rustix::termios::tcgetattr(&person.other).expect("it has settings");
    assert_eq!(after.output_modes, before.output_modes);
}
