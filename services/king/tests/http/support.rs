//! A King's HTTP side on a free port, with a log in memory, and a client that reads raw bytes.

use events::event::{
    AppCreated, AppEvent, InstanceEvent, InstancePlaced, InstanceStarted, InstanceStopped, ServantEvent,
    ServantLost,
};
use events::query::{Question, Reply};
use events::{
    Actor, Cause, Commit, Digest, DomainName, Event, EventNumber, Fact, InstanceId, ServantId, Timestamp,
};
use king::feed::{Feed, History, Placement, ReadError};
use king::http::{Lookup, Metrics, Parts, Readiness, router, serve};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Longest wait for anything that must come.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn event(id: EventNumber, fact: impl Into<Fact>) -> Event {
    let domain = DomainName::default_domain();
    Event { id, at: Timestamp(id), actor: Actor::king(), cause: Cause::Tick, domain, fact: fact.into() }
}

pub fn created(app: &str) -> Fact {
    Fact::App(AppEvent::Created(AppCreated { app: app.parse().unwrap() }))
}

pub fn instance(number: u128) -> InstanceId {
    InstanceId(Uuid::from_u128(number))
}

pub fn servant(number: u128) -> ServantId {
    ServantId(Uuid::from_u128(1_000_000 + number))
}

pub fn placed(number: u128, app: &str, on: u128) -> Fact {
    Fact::Instance(InstanceEvent::Placed(InstancePlaced {
        instance: instance(number),
        app: app.parse().unwrap(),
        process: "web".parse().unwrap(),
        release: 1,
        servant: servant(on),
        ports: BTreeMap::new(),
    }))
}

pub fn started(number: u128) -> Fact {
    Fact::Instance(InstanceEvent::Started(InstanceStarted { instance: instance(number), pid: 1, slot: None }))
}

pub fn stopped(number: u128) -> Fact {
    Fact::Instance(InstanceEvent::Stopped(InstanceStopped { instance: instance(number) }))
}

pub fn lost(number: u128, name: &str) -> Fact {
    let name = name.parse().unwrap();
    Fact::Servant(ServantEvent::Lost(ServantLost { servant: servant(number), name, silent_ms: 3000 }))
}

pub fn commit(events: &[Event]) -> Commit {
    let first = events[0].id;
    Commit { epoch: 1, first, previous: Digest::ZERO, inbox: 0, events: events.to_vec() }
}

/// A log in memory that counts its reads and can be cut off.
#[derive(Clone, Default)]
pub struct Memory {
    commits: Arc<Mutex<Vec<Vec<u8>>>>,
    pub reads: Arc<AtomicUsize>,
    pub cut: Arc<AtomicBool>,
}

impl Memory {
    pub fn history(&self) -> History {
        let memory = self.clone();
        History::new(move |sequence| {
            let memory = memory.clone();
            async move { memory.read(sequence) }
        })
    }

    fn read(&self, sequence: u64) -> Result<Option<bytes::Bytes>, ReadError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        if self.cut.load(Ordering::Relaxed) {
            return Err(ReadError("cut off".into()));
        }
        let commits = self.commits.lock().unwrap();
        Ok(commits.get(sequence as usize - 1).map(|bytes| bytes.clone().into()))
    }

    pub fn append(&self, bytes: Vec<u8>) -> u64 {
        let mut commits = self.commits.lock().unwrap();
        commits.push(bytes);
        commits.len() as u64
    }
}

pub struct Kingdom {
    pub address: SocketAddr,
    pub feed: Feed,
    pub memory: Memory,
    pub metrics: Arc<Metrics>,
    pub readiness: Readiness,
    pub shutdown: CancellationToken,
    pub serving: JoinHandle<()>,
    /// The state of now, as the lookups see it.
    pub placements: Arc<Mutex<HashMap<InstanceId, Placement>>>,
    last: EventNumber,
}

impl Kingdom {
    /// With an empty log that has been read.
    pub async fn start(ring_events: usize) -> Self {
        let kingdom = Self::cold(ring_events).await;
        kingdom.feed.begin(0, 0);
        kingdom
    }

    /// Before its log has been read.
    pub async fn cold(ring_events: usize) -> Self {
        let memory = Memory::default();
        Self::over(memory.clone(), memory.history(), ring_events).await
    }

    pub async fn over(memory: Memory, history: History, ring_events: usize) -> Self {
        let feed = Feed::new(history, ring_events);
        let (metrics, shutdown) = (Arc::new(Metrics::new()), CancellationToken::new());
        let readiness = Readiness::new("starting", "the log is being read");
        let placements = Arc::new(Mutex::new(HashMap::<InstanceId, Placement>::new()));
        let now = Arc::clone(&placements);
        let parts = Parts {
            feed: feed.clone(),
            readiness: readiness.clone(),
            metrics: Arc::clone(&metrics),
            role: std::sync::Arc::new(|| events::query::KingRole::Writer),
            lookup: Lookup {
                placement: Arc::new(move |instance| now.lock().unwrap().get(&instance).cloned()),
                servant: Arc::new(|name| (name.as_str() == "alpha").then(|| servant(1))),
            },
            ask: Arc::new(ask),
            shutdown: shutdown.clone(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (counted, end) = (Arc::clone(&metrics), shutdown.clone());
        let serving =
            tokio::spawn(async move { serve(listener, router(parts), counted, end).await.unwrap() });
        Self { address, feed, memory, metrics, readiness, shutdown, serving, placements, last: 0 }
    }

    /// One commit with these facts: stored, then pushed as the writer does.
    pub fn commit(&mut self, facts: Vec<Fact>) {
        let (sequence, bytes, events) = self.store(facts);
        self.feed.push(sequence, bytes, commit(&events).into());
    }

    /// One commit that an earlier King wrote.
    pub fn store(&mut self, facts: Vec<Fact>) -> (u64, usize, Vec<Event>) {
        let events: Vec<Event> = (self.last + 1..).zip(facts).map(|(id, fact)| event(id, fact)).collect();
        self.last += events.len() as u64;
        let bytes = events::wire::encode(&commit(&events));
        let size = bytes.len();
        (self.memory.append(bytes), size, events)
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address))
            .await
    }

    /// Sends raw bytes and reads all that comes back.
    pub async fn send(&self, request: &str) -> Answer {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut text = Vec::new();
        let read = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut text)).await;
        read.expect("an answer in time").unwrap();
        Answer::parse(&String::from_utf8(text).unwrap())
    }

    pub async fn follow(&self, path: &str, headers: &str) -> Stream {
        Stream::open(self.address, path, headers).await
    }
}

fn ask(kind: &str, question: Question) -> Reply<Value> {
    let item = serde_json::json!({ "kind": kind, "app": question.app });
    Reply::Ok { event: 3, items: vec![item], next: None }
}

pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head in {text:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self.body))
    }

    /// The one error of a problem: its field, its rule.
    pub fn problem(&self) -> (String, String) {
        assert!(self.head.contains("content-type: application/problem+json"), "{}", self.head);
        let json = self.json();
        assert_eq!(json["status"], self.status);
        let error = &json["errors"][0];
        assert!(error["fix"].as_str().unwrap().len() > 3, "{json}");
        (error["field"].as_str().unwrap().to_owned(), error["rule"].as_str().unwrap().to_owned())
    }
}

/// A message of an event stream.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Message {
    pub id: Option<EventNumber>,
    pub kind: Option<String>,
    pub data: Option<String>,
    pub retry: Option<String>,
    pub comment: bool,
}

/// An open event stream, read from the raw socket.
pub struct Stream {
    socket: TcpStream,
    raw: Vec<u8>,
    pub head: String,
    text: Vec<u8>,
}

impl Stream {
    pub async fn open(address: SocketAddr, path: &str, headers: &str) -> Self {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{headers}\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut stream = Self { socket, raw: Vec::new(), head: String::new(), text: Vec::new() };
        stream.read_head().await;
        stream
    }

    async fn read_head(&mut self) {
        loop {
            if let Some(end) = find(&self.raw, b"\r\n\r\n") {
                self.head =
                    String::from_utf8(self.raw.drain(..end + 4).collect()).unwrap().to_ascii_lowercase();
                return;
            }
            assert!(self.more().await, "ended within the head");
        }
    }

    /// Reads what the socket has; false at its end.
    async fn more(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        let read = tokio::time::timeout(PATIENCE, self.socket.read(&mut buffer)).await;
        match read.expect("something in time") {
            Ok(0) | Err(_) => false,
            Ok(length) => {
                self.raw.extend_from_slice(&buffer[..length]);
                true
            }
        }
    }

    /// Takes whole chunks of the transfer coding out of what was read; false after the last.
    fn unchunk(&mut self) -> bool {
        while let Some(line) = find(&self.raw, b"\r\n") {
            let length = usize::from_str_radix(std::str::from_utf8(&self.raw[..line]).unwrap(), 16).unwrap();
            if self.raw.len() < line + 2 + length + 2 {
                return true;
            }
            if length == 0 {
                return false;
            }
            self.text.extend_from_slice(&self.raw[line + 2..line + 2 + length]);
            self.raw.drain(..line + 2 + length + 2);
        }
        true
    }

    /// The next message; none when the server ended the stream.
    pub async fn next(&mut self) -> Option<Message> {
        loop {
            let open = self.unchunk();
            if let Some(end) = find(&self.text, b"\n\n") {
                let block = self.text.drain(..end + 2).collect();
                return Some(message(&String::from_utf8(block).unwrap()));
            }
            if !open || !self.more().await {
                return None;
            }
        }
    }

    /// The next message that a browser would dispatch.
    pub async fn event(&mut self) -> Message {
        loop {
            let message = self.next().await.expect("the stream goes on");
            if message.data.is_some() {
                return message;
            }
        }
    }

    pub async fn ids(&mut self, count: usize) -> Vec<EventNumber> {
        let mut ids = Vec::new();
        for _ in 0..count {
            ids.push(self.event().await.id.unwrap());
        }
        ids
    }
}

fn message(block: &str) -> Message {
    let mut message = Message::default();
    for line in block.lines().filter(|line| !line.is_empty()) {
        let (field, value) = line.split_once(": ").unwrap_or((line, ""));
        match field {
            "id" => message.id = Some(value.parse().unwrap()),
            "event" => message.kind = Some(value.to_owned()),
            "data" => message.data = Some(value.to_owned()),
            "retry" => message.retry = Some(value.to_owned()),
            ":" => message.comment = true,
            other => panic!("unknown field {other:?}"),
        }
    }
    message
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
