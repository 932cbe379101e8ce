//! Workers under a real servant: one socket for all of them, each restarted by itself, more and fewer by their load, and
//! a rolling restart under load that loses no request.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use events::manifest::{CommandLine, Listen, Workers};
use events::report::InstanceNews;
use events::view::{AssignedInstance, AssignedProcess, AssignedRelease};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use support::*;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// The example of the Node client.
const NODE: &str = include_str!("../../../clients/node/examples/workers.js");
/// The example of `docs/workers.md`.
const PYTHON: &str = "import http.server, os, signal, socket, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f'{os.getpid()}\\n'.encode()
        self.send_response(200); self.send_header('Content-Length', str(len(body))); self.end_headers()
        self.wfile.write(body)
assert os.environ['LISTEN_PID'] == str(os.getpid()) and os.environ['LISTEN_FDNAMES'] == 'http'
server = http.server.ThreadingHTTPServer(('', 0), Handler, bind_and_activate=False)
server.socket = socket.socket(fileno=3)
server.socket.setblocking(False)  # another worker may have taken the connection
server.daemon_threads = False
def stop(*_): raise SystemExit
signal.signal(signal.SIGTERM, stop)
try: server.serve_forever()
finally: server.server_close()
";

fn workers(command: &[&str], workers: Workers) -> AssignedProcess {
    let command = CommandLine::Exec(command.iter().map(|word| (*word).to_owned()).collect());
    AssignedProcess { command: Some(command), workers: Some(workers), ..web("") }
}

/// A kingdom with one instance of so many workers, once it is ready.
async fn with_workers(files: &[(&str, &str)], process: AssignedProcess, flags: &[&str]) -> Running {
    let mut kingdom = Kingdom::with_servant(flags).await;
    let release = kingdom.release(1, files, process).await;
    let one = with_port(&release, free_port());
    kingdom.assign(&[&release], &[&one]).await;
    kingdom.wait("it is ready", |heard| heard.is_ready(one.instance)).await;
    Running { kingdom, release, one }
}

struct Running {
    kingdom: Kingdom,
    release: AssignedRelease,
    one: AssignedInstance,
}

impl Running {
    fn port(&self) -> u16 {
        *self.one.ports.values().next().unwrap()
    }

    /// The workers of now, by slot, as their holder has recorded them.
    fn pids(&self) -> BTreeMap<u16, u32> {
        let folder = self.kingdom.instance_folder(self.one.instance);
        let open = servant::holder::runs::read(&folder).unwrap().open();
        open.into_iter().map(|run| (run.slot, run.pid)).collect()
    }

    async fn restart(&mut self) {
        self.one.restarts += 1;
        self.kingdom.assign(&[&self.release], &[&self.one]).await;
    }

    async fn stop(mut self) {
        self.kingdom.assign(&[], &[]).await;
        let id = self.one.instance;
        self.kingdom.wait("it is stopped", |heard| heard.is_stopped(id)).await;
        assert!(processes_of(id).is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_share_a_socket_and_crash_alone() {
    for (name, text, command) in [
        ("workers.js", NODE, vec!["node", "workers.js"]),
        ("server.py", PYTHON, vec!["python3", "server.py"]),
        ("workers.js", NODE, vec!["node", "workers.js", "--cluster", "1"]),
    ] {
        let running = with_workers(&[(name, text)], workers(&command, Workers::fixed(3)), &[]).await;
        let before = running.pids();
        assert_eq!(before.keys().copied().collect::<Vec<_>>(), [0, 1, 2]);
        let id = running.one.instance;
        let mut seen = BTreeSet::new();
        until_served(&mut seen, running.port(), 2).await;
        signal(before[&1], "KILL");
        let is_crash =
            |news: &InstanceNews| matches!(news, InstanceNews::Exited(news) if news.slot == Some(1));
        running.kingdom.wait("the crash is told", |heard| heard.of(id).iter().any(is_crash)).await;
        until("it is replaced", || running.pids().get(&1).is_some_and(|pid| *pid != before[&1])).await;
        let after = running.pids();
        assert_eq!((after[&0], after[&2]), (before[&0], before[&2]));
        running.stop().await;
    }
}

/// Asks until so many processes have answered.
async fn until_served(seen: &mut BTreeSet<String>, port: u16, count: usize) {
    let begun = std::time::Instant::now();
    while seen.len() < count {
        assert!(begun.elapsed() < PATIENCE, "{seen:?}");
        let asks = (0..32).map(|_| tokio::spawn(get(port)));
        for ask in asks.collect::<Vec<_>>() {
            seen.extend(ask.await.unwrap());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_and_the_death_of_the_servant_lose_no_request() {
    loses_no_request(&["node", "workers.js"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_holds_where_each_worker_is_a_cluster_of_node() {
    loses_no_request(&["node", "workers.js", "--cluster", "2"]).await;
}

async fn loses_no_request(command: &[&str]) {
    let process = workers(command, Workers::fixed(2));
    let mut running = with_workers(&[("workers.js", NODE)], process, &[]).await;
    let load = Load::begin(running.port());
    let first: BTreeSet<u32> = running.pids().into_values().collect();
    running.restart().await;
    is_replaced(&running, &first).await;

    // The same with the Servant killed in the middle of it.
    let second: BTreeSet<u32> = running.pids().into_values().collect();
    running.restart().await;
    until("the first new one is there", || running.pids().len() == 3).await;
    running.kingdom.kill_servant();
    running.kingdom.start_servant();
    is_replaced(&running, &second).await;
    assert!(running.pids().into_values().all(|pid| !first.contains(&pid)));
    let (answered, failed) = load.end().await;
    println!("{answered} requests answered, {failed} failed");
    assert!(answered > 100, "{answered}");
    assert_eq!(failed, 0);
    let crashes = |news: &InstanceNews| matches!(news, InstanceNews::Exited(_));
    assert!(!running.kingdom.heard().of(running.one.instance).iter().any(crashes));
    running.stop().await;
}

async fn is_replaced(running: &Running, old: &BTreeSet<u32>) {
    until("all are new, and two", || {
        let now = running.pids();
        now.len() == 2 && now.values().all(|pid| !old.contains(pid))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_holder_and_a_killed_servant_bring_back_every_worker() {
    let process = workers(&["node", "workers.js"], Workers::fixed(2));
    let mut running = with_workers(&[("workers.js", NODE)], process, &[]).await;
    let before = running.pids();
    running.kingdom.kill_servant();
    signal(before[&1], "KILL");
    until("it is gone", || !lives(before[&1])).await;
    running.kingdom.start_servant();
    until("it is replaced", || running.pids().get(&1).is_some_and(|pid| *pid != before[&1])).await;
    assert_eq!(running.pids()[&0], before[&0]);
    let id = running.one.instance;
    let of_slot = |heard: &Heard, slot| {
        let is_own =
            move |news: &&InstanceNews| matches!(news, InstanceNews::Exited(news) if news.slot == slot);
        heard.of(id).iter().filter(is_own).count()
    };
    running.kingdom.wait("the crash is told", |heard| of_slot(heard, Some(1)) == 1).await;
    assert_eq!(of_slot(&running.kingdom.heard(), Some(0)), 0);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_become_more_under_load_and_fewer_without() {
    // The work is done by what a worker starts, by more than one so that it shows on a busy machine too.
    let busy = "while sleep 0.1; do
        for n in 1 2 3 4 5 6; do (while [ -e busy ]; do :; done) & done
        wait
    done";
    let scaled = Workers { min: Some(1), max: Some(3), cpu: 20, ..Workers::AUTO };
    let process =
        AssignedProcess { ports: Vec::new(), health: None, ..workers(&["/bin/sh", "busy.sh"], scaled) };
    let flags = ["--grow-ms", "2000", "--shrink-ms", "3000"];
    let mut kingdom = Kingdom::with_servant(&flags).await;
    let release = kingdom.release(1, &[("busy.sh", busy)], process).await;
    let one = instance(&release);
    kingdom.assign(&[&release], &[&one]).await;
    let heard = kingdom.wait("it is ready", |heard| heard.is_ready(one.instance)).await;
    let folder = std::fs::read_link(format!("/proc/{}/cwd", heard.pids(one.instance)[0])).unwrap();
    let scaled = |heard: &Heard, count| {
        let is_it = |news: &InstanceNews| matches!(news, InstanceNews::Scaled(news) if news.to == count && news.from > 0);
        heard.of(one.instance).iter().any(is_it)
    };
    std::fs::write(folder.join("busy"), "").unwrap();
    kingdom.wait("they are more", |heard| scaled(heard, 3)).await;
    std::fs::remove_file(folder.join("busy")).unwrap();
    kingdom.wait("they are fewer", |heard| scaled(heard, 1)).await;
    until("one is left", || processes_of(one.instance).len() == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_with_ports_of_their_own_are_restarted_in_place() {
    let names: Vec<events::PortName> = ["one", "two"].map(|name| name.parse().unwrap()).to_vec();
    let own = Workers { listen: Listen::Own, ..Workers::fixed(2) };
    let process = AssignedProcess { ports: names.clone(), ..workers(&["node", "workers.js"], own) };
    let mut kingdom = Kingdom::with_servant(&[]).await;
    let release = kingdom.release(1, &[("workers.js", NODE)], process).await;
    let ports: BTreeMap<_, _> = names.into_iter().map(|name| (name, free_port())).collect();
    let one = AssignedInstance { ports, ..instance(&release) };
    kingdom.assign(&[&release], &[&one]).await;
    kingdom.wait("it is ready", |heard| heard.is_ready(one.instance)).await;
    let mut running = Running { kingdom, release, one };
    let before = running.pids();
    let ports: Vec<u16> = running.one.ports.values().copied().collect();
    assert_eq!(get(ports[0]).await.unwrap().trim(), before[&0].to_string());
    assert_eq!(get(ports[1]).await.unwrap().trim(), before[&1].to_string());
    running.restart().await;
    is_replaced(&running, &before.into_values().collect()).await;
    running.stop().await;
}

/// Clients that never stop asking: some keep their connection, some make one for each request.
struct Load {
    is_over: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
    clients: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn begin(port: u16) -> Self {
        let (is_over, answered, failed) = (Arc::default(), Arc::default(), Arc::default());
        let mut load = Self { is_over, answered, failed, clients: Vec::new() };
        for keeps in [true, true, true, true, false, false, false, false] {
            let (is_over, answered, failed) =
                (load.is_over.clone(), load.answered.clone(), load.failed.clone());
            load.clients.push(tokio::spawn(async move {
                let mut connection = None;
                while !is_over.load(Ordering::Relaxed) {
                    match ask(&mut connection, port, keeps).await {
                        Ok(()) => answered.fetch_add(1, Ordering::Relaxed),
                        Err(error) => {
                            println!("a request failed: {error}");
                            connection = None;
                            failed.fetch_add(1, Ordering::Relaxed)
                        }
                    };
                }
            }));
        }
        load
    }

    async fn end(self) -> (u64, u64) {
        self.is_over.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await.unwrap();
        }
        (self.answered.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }
}

/// One request; the connection is kept if it may be, and given up when the server says so.
async fn ask(
    connection: &mut Option<BufReader<TcpStream>>,
    port: u16,
    keeps: bool,
) -> Result<(), std::io::Error> {
    let mut stream = match connection.take() {
        Some(stream) => stream,
        None => BufReader::new(TcpStream::connect(("127.0.0.1", port)).await?),
    };
    let close = if keeps { "" } else { "Connection: close\r\n" };
    stream.write_all(format!("GET / HTTP/1.1\r\nHost: x\r\n{close}\r\n").as_bytes()).await?;
    let (mut length, mut is_closing, mut line) = (0, !keeps, String::new());
    stream.read_line(&mut line).await?;
    if !line.starts_with("HTTP/1.1 200") {
        return Err(std::io::Error::other(format!("answered {line:?}")));
    }
    loop {
        line.clear();
        stream.read_line(&mut line).await?;
        let header = line.trim().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        is_closing |= header == "connection: close";
        if let Some(value) = header.strip_prefix("content-length: ") {
            length = value.parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    if body.is_empty() {
        return Err(std::io::Error::other("no body"));
    }
    if !is_closing {
        *connection = Some(stream);
    }
    Ok(())
}
