//! A holder alone, spoken to as its Servant would: several processes of one instance, the sockets that they share, and
//! what they leave behind.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use servant::holder::stem::{self, Birth};
use servant::holder::words::{
    Exit, Order, Run, Said, SignalOrder, Slot, SocketOrder, StartFailure, StartOrder, State, Told,
};
use servant::holder::{LOCK, WORD, runs};
use servant::spool::{BatchLimits, Bookmark, SpoolReader};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;
use support::{PATIENCE, free_port, lives, processes, signal};
use tempfile::TempDir;

/// A stem, and a connection to a holder that it bore.
struct Held {
    stem: Child,
    orders: OwnedFd,
    _root: TempDir,
    folder: PathBuf,
    words: BufReader<UnixStream>,
    state: State,
}

impl Held {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join(service::clock::fresh_id().to_string());
        std::fs::create_dir(&folder).unwrap();
        let (orders, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        let stem = Command::new(env!("CARGO_BIN_EXE_servant"))
            .args([WORD, &format!("{}/{}", root.path().display(), "-".repeat(36))])
            .stdin(Stdio::from(theirs))
            .spawn()
            .unwrap();
        let words = bear(&orders, &folder);
        let mut held = Self { stem, orders, _root: root, folder, words, state: State::default() };
        let Said::State(state) = held.hear() else { panic!("it says its state first") };
        held.state = state;
        held
    }

    fn order(&mut self, order: &Order) {
        let mut line = serde_json::to_vec(order).unwrap();
        line.push(b'\n');
        self.words.get_mut().write_all(&line).unwrap();
    }

    fn hear(&mut self) -> Said {
        loop {
            let mut line = String::new();
            assert!(self.words.read_line(&mut line).unwrap() > 0, "the holder is gone");
            match serde_json::from_str(&line).unwrap() {
                Said::Spooled => {}
                said => return said,
            }
        }
    }

    fn start(&mut self, slot: Slot, script: &str, sockets: &[SocketOrder]) -> Run {
        match self.try_start(slot, script, sockets) {
            Said::Started(run) => run,
            other => panic!("{other:?}"),
        }
    }

    fn try_start(&mut self, slot: Slot, script: &str, sockets: &[SocketOrder]) -> Said {
        let path = ("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned());
        let order = StartOrder {
            slot,
            arguments: vec!["sh".into(), "-c".into(), script.into()],
            environment: [path].into(),
            directory: self.folder.clone(),
            sockets: sockets.to_vec(),
            ..StartOrder::default()
        };
        self.order(&Order::Start(Box::new(order)));
        self.hear()
    }

    fn end(&mut self, slot: Slot, told: Told) -> Exit {
        self.order(&Order::Signal(SignalOrder { slot, told, grace_ms: Some(2000), signal: None }));
        self.exit()
    }

    fn exit(&mut self) -> Exit {
        match self.hear() {
            Said::Exited(exit) => exit,
            other => panic!("{other:?}"),
        }
    }

    fn leave(mut self) {
        self.order(&Order::Leave);
        assert_eq!(self.hear(), Said::Left);
        let mut rest = Vec::new();
        self.words.read_to_end(&mut rest).unwrap();
        drop(self.orders);
        assert!(self.stem.wait().unwrap().success());
    }
}

fn bear(orders: &OwnedFd, folder: &Path) -> BufReader<UnixStream> {
    let (ours, servant) = UnixStream::pair().unwrap();
    ours.set_read_timeout(Some(PATIENCE)).unwrap();
    let lock = File::create(folder.join(LOCK)).unwrap();
    lock.try_lock().unwrap();
    let log = File::create(folder.join("holder.log")).unwrap();
    stem::ask(orders, &Birth { folder: folder.to_owned(), servant, lock, log }).unwrap();
    BufReader::new(ours)
}

fn listen(name: &str, port: u16) -> SocketOrder {
    SocketOrder { name: name.into(), address: SocketAddr::from(([127, 0, 0, 1], port)), backlog: 64 }
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::yield_now();
    }
}

/// Processes whose command line holds this.
fn named(mark: &str) -> Vec<u32> {
    let line = |pid: u32| std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let is_named = |pid: &u32| String::from_utf8_lossy(&line(*pid)).split('\0').any(|word| word == mark);
    processes().into_iter().filter(is_named).collect()
}

/// Answers each connection with what a process was handed, and goes on.
const WORKER: &str = r#"exec python3 -c '
import os, socket
names = os.environ["LISTEN_FDNAMES"].split(":")
assert int(os.environ["LISTEN_PID"]) == os.getpid() and int(os.environ["LISTEN_FDS"]) == len(names)
http = socket.socket(fileno=3 + names.index("http"))
while True:
    peer, _ = http.accept()
    peer.sendall((os.environ["KING_SLOT"] + " " + ":".join(names)).encode())
    peer.close()
'"#;

fn ask(port: u16) -> String {
    let mut answer = String::new();
    TcpStream::connect(("127.0.0.1", port)).unwrap().read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn workers_share_sockets_that_stay_open_while_they_come_and_go() {
    let mut held = Held::new();
    let (http, admin) = (listen("http", free_port()), listen("admin", free_port()));
    let sockets = [admin, http.clone()];
    let port = http.address.port();
    let first = held.start(0, WORKER, &sockets);
    assert_eq!(ask(port), "0 admin:http");
    let second = held.start(5, WORKER, &sockets);
    assert_eq!((first.slot, second.slot, second.run), (0, 5, 2));
    let exit = held.end(0, Told::Terminate);
    assert_eq!((exit.slot, exit.run, exit.signal, exit.told), (0, 1, Some(15), Told::Terminate));
    assert_eq!(ask(port), "5 admin:http");
    held.end(5, Told::Kill);
    // Nobody accepts now, and yet nobody is refused: the next worker finds the connection waiting.
    let mut waiting = TcpStream::connect(("127.0.0.1", port)).unwrap();
    held.start(0, WORKER, &sockets);
    let mut answer = String::new();
    waiting.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "0 admin:http");
    held.end(0, Told::Kill);
    // Named no more, they are closed.
    held.start(0, "exec sleep 1000", &[]);
    TcpStream::connect(("127.0.0.1", port)).unwrap_err();
    held.end(0, Told::Kill);
    held.leave();
}

#[test]
fn a_port_of_a_stranger_is_no_start_and_is_named() {
    let mut held = Held::new();
    let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = stranger.local_addr().unwrap().port();
    let Said::StartFailed(StartFailure { slot, port: taken, passing, .. }) =
        held.try_start(3, WORKER, &[listen("http", port)])
    else {
        panic!("it started");
    };
    assert_eq!((slot, taken, passing), (3, Some(port), true));
    held.leave();
}

#[test]
fn what_one_worker_leaves_behind_is_not_taken_for_anothers() {
    let mut held = Held::new();
    // Each leaves a process in a session of its own, whose parent dies at once.
    let leave =
        |mark: &str| format!("setsid sh -c 'sleep {mark} & exit 0'; (sleep {mark} &); exec sleep {mark}1");
    held.start(0, &leave("86100"), &[]);
    held.start(1, &leave("86200"), &[]);
    until("all of it runs", || named("86100").len() == 2 && named("86200").len() == 2);
    held.end(0, Told::Kill);
    assert_eq!((named("86100").len(), named("86200").len()), (0, 2));
    // One that hides where it comes from goes with the last.
    held.start(0, "env -i setsid sh -c 'sleep 86300 & exit 0'; exec sleep 1000", &[]);
    until("it hides", || named("86300").len() == 1);
    held.end(0, Told::Terminate);
    assert_eq!((named("86300").len(), named("86200").len()), (1, 2));
    held.end(1, Told::Kill);
    assert_eq!((named("86300").len(), named("86200").len()), (0, 0));
    held.leave();
}

#[test]
fn what_workers_write_at_once_stays_in_whole_lines() {
    let mut held = Held::new();
    let folder = held.folder.clone();
    // None writes before all are there: one that is alone is passed through as it is.
    let all_there = folder.join("all-there");
    let script = format!(
        "until [ -e {} ]; do sleep 0.01; done; printf 'one '; sleep 0.1; echo two; exec sleep 1000",
        all_there.display()
    );
    for slot in 0..4 {
        held.start(slot, &script, &[]);
    }
    std::fs::write(&all_there, "").unwrap();
    let mut reader = SpoolReader::open(&folder, events::subject::Output::Stdout, Bookmark::START);
    let mut lines = Vec::new();
    until("all have written", || {
        if let Some(batch) = reader.read(BatchLimits { lines: 100, bytes: 1 << 20 }).unwrap() {
            lines.extend(batch.lines.into_iter().map(|line| line.text));
        }
        lines.len() == 4
    });
    assert!(lines.iter().all(|line| line == b"one two"), "{lines:?}");
    for slot in 0..4 {
        held.end(slot, Told::Kill);
    }
    held.leave();
}

#[test]
fn a_holder_outlives_its_stem_and_tells_all_to_the_next_servant() {
    let mut held = Held::new();
    assert_eq!(held.state.run, None);
    let first = held.start(0, "exec sleep 1000", &[]);
    held.end(0, Told::Kill);
    let second = held.start(0, "exec sleep 1000", &[]);
    let third = held.start(1, "exit 7", &[]);
    assert_eq!(held.exit().code, Some(7));
    held.stem.kill().unwrap();
    held.stem.wait().unwrap();
    assert!(lives(second.pid));
    let folder = held.folder.clone();
    held.words = BufReader::new(UnixStream::connect(folder.join("holder.sock")).unwrap());
    let Said::State(state) = held.hear() else { panic!("it says its state first") };
    assert_eq!(state, runs::read(&folder).unwrap());
    assert_eq!(state.open(), std::slice::from_ref(&second));
    assert_eq!(state.past.iter().map(|exit| exit.run).collect::<Vec<_>>(), [first.run]);
    assert_eq!(state.others[0].exit.as_ref().unwrap().run, third.run);
    // Who lists processes sees what it holds.
    assert_eq!(named(folder.to_str().unwrap()).len(), 1);
    signal(second.pid, "KILL");
    assert_eq!(held.exit().signal, Some(9));
    held.order(&Order::Leave);
    assert_eq!(held.hear(), Said::Left);
}
