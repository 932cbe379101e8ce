//! The limits: what NATS itself does on the same server, with nothing of the kingdom in between.
//!
//! - Bare request/reply: a process that answers each request on one subject with a payload like the King's answer.
//! - Bare fenced append: a publish to a stream in a file, one replica, with the expected last sequence, one at a time.
//!
//! Whoever answers and whoever calls in great number is a process of its own: this program in another mode.

use crate::commands::{self, Commands};
use crate::{count, spew};
use anyhow::{Context as _, bail};
use async_nats::jetstream::stream::{Config, DiscardPolicy, StorageType};
use async_nats::{HeaderMap, jetstream};
use bytes::Bytes;
use futures_util::StreamExt;
use kingdom_tests::client::Client;
use kingdom_tests::wait;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

/// Where the bare responder listens.
pub const ECHO: &str = "bench.echo";
const STREAM: &str = "BENCH";
const APPEND: &str = "bench.append";
const RESPOND_MODE: &str = "--respond";
const CALL_MODE: &str = "--call";
/// What callers do before it counts: until then, who answers touches memory that it never had before.
const WARM_UP: Duration = Duration::from_secs(2);
/// How long callers are counted.
const COUNTED: Duration = Duration::from_secs(3);

/// This program in one of its other modes.
pub enum Limit {
    Respond { url: String },
    Call { url: String, subject: String, callers: usize },
    Spew { folder: PathBuf, rounds: usize },
    Count { folder: PathBuf },
}

impl Limit {
    /// The mode that the arguments ask for, if any.
    ///
    /// # Errors
    /// When the arguments of a mode are wrong.
    pub fn parse(arguments: &[String]) -> anyhow::Result<Option<Self>> {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Ok(match arguments[..] {
            [RESPOND_MODE, url] => Some(Self::Respond { url: url.into() }),
            [CALL_MODE, url, subject, callers] => {
                Some(Self::Call { url: url.into(), subject: subject.into(), callers: callers.parse()? })
            }
            [spew::MODE, folder, rounds] => {
                Some(Self::Spew { folder: folder.into(), rounds: rounds.parse()? })
            }
            [count::MODE, folder] => Some(Self::Count { folder: folder.into() }),
            _ => None,
        })
    }

    /// Does it.
    ///
    /// # Errors
    /// When the server is gone or an answer is wrong.
    pub async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Respond { url } => respond(&url).await,
            Self::Call { url, subject, callers } => {
                println!("{}", call(&url, &subject, callers).await?);
                Ok(())
            }
            Self::Spew { folder, rounds } => spew::run(&folder, rounds),
            Self::Count { folder } => count::run(&folder),
        }
    }
}

async fn respond(url: &str) -> anyhow::Result<()> {
    let client = async_nats::connect(url).await?;
    let mut requests = client.subscribe(ECHO).await?;
    let answer = Bytes::from(commands::like_an_answer());
    while let Some(request) = requests.next().await {
        let reply = request.reply.context("a request names where its answer goes")?;
        client.publish(reply, answer.clone()).await?;
    }
    Ok(())
}

/// Calls from many tasks, each one call at a time; gives calls per second.
async fn call(url: &str, subject: &str, callers: usize) -> anyhow::Result<f64> {
    let client = async_nats::connect(url).await?;
    let (commands, done) = (Arc::new(Commands::new()), Arc::new(AtomicU64::new(0)));
    let mut tasks: JoinSet<anyhow::Result<()>> = JoinSet::new();
    for _ in 0..callers {
        let (client, commands, done, subject) =
            (client.clone(), commands.clone(), done.clone(), subject.to_owned());
        tasks.spawn(async move {
            loop {
                let (headers, payload) = commands.next();
                let answer = client.request_with_headers(subject.clone(), headers, payload).await?;
                if !commands::is_accepted(&answer.payload) {
                    bail!("not accepted: {:?}", answer.payload);
                }
                done.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    tokio::select! {
        ended = tasks.join_next() => {
            ended.context("there is at least one caller")??.map(|()| 0.0)
        }
        rate = count(&done) => Ok(rate),
    }
}

async fn count(done: &AtomicU64) -> f64 {
    tokio::time::sleep(WARM_UP).await;
    let (began, before) = (Instant::now(), done.load(Ordering::Relaxed));
    tokio::time::sleep(COUNTED).await;
    let calls = done.load(Ordering::Relaxed) - before;
    calls as f64 / began.elapsed().as_secs_f64()
}

fn this_program() -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.stdin(Stdio::null()).kill_on_drop(true);
    Ok(command)
}

/// The bare responder in its process; killed when dropped.
pub struct Responder {
    _process: Child,
}

impl Responder {
    /// Starts it and waits until it answers.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn start(client: &Client, url: &str) -> anyhow::Result<Self> {
        let process = this_program()?.args([RESPOND_MODE, url]).spawn()?;
        wait::until("the bare responder answers", async || client.nats.request(ECHO, "".into()).await).await;
        Ok(Self { _process: process })
    }
}

/// Calls a subject from so many callers in a process of their own; gives calls per second.
///
/// # Errors
/// When a call fails.
pub async fn calls_per_second(url: &str, subject: &str, callers: usize) -> anyhow::Result<f64> {
    let mut command = this_program()?;
    let output = command.args([CALL_MODE, url, subject, &callers.to_string()]).output().await?;
    if !output.status.success() {
        bail!("the callers of {subject} failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

/// A stream like the log, to append to.
pub struct Appender {
    jetstream: jetstream::Context,
    last: u64,
}

impl Appender {
    /// Makes the stream.
    ///
    /// # Errors
    /// When the server refuses it.
    pub async fn create(client: &Client) -> anyhow::Result<Self> {
        let config = Config {
            name: STREAM.into(),
            subjects: vec![APPEND.into()],
            storage: StorageType::File,
            num_replicas: 1,
            discard: DiscardPolicy::New,
            max_bytes: 8 << 30,
            ..Config::default()
        };
        client.jetstream.create_stream(config).await?;
        Ok(Self { jetstream: client.jetstream.clone(), last: 0 })
    }

    /// Appends, fenced, and waits for the acknowledgement.
    ///
    /// # Errors
    /// When it is not stored.
    pub async fn append(&mut self, payload: Bytes) -> anyhow::Result<()> {
        let mut headers = HeaderMap::new();
        headers.insert(async_nats::header::NATS_EXPECTED_LAST_SEQUENCE, self.last.to_string());
        let stored = self.jetstream.publish_with_headers(APPEND, headers, payload).await?.await?;
        self.last = stored.sequence;
        Ok(())
    }
}
