//! A client that is not the kingdom's own: bare async-nats and plain JSON, as the documentation tells anybody to do it.

use crate::wait;
use async_nats::jetstream::stream::Stream;
use async_nats::{HeaderMap, jetstream};
use bytes::Bytes;
use events::Event;
use futures_util::StreamExt;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

/// How long a request waits for its answer.
pub const REQUEST: Duration = Duration::from_secs(3);
const CONNECTION: Duration = Duration::from_secs(1);
const PING: Duration = Duration::from_secs(1);
const GATHER: Duration = Duration::from_millis(200);
const UNTIL_ANSWERED: Duration = Duration::from_secs(90);

/// A connection, which comes back by itself after the server was away.
#[derive(Clone, Debug)]
pub struct Client {
    pub nats: async_nats::Client,
    pub jetstream: jetstream::Context,
}

impl Client {
    /// Connects.
    ///
    /// # Panics
    /// When the server is not there.
    pub async fn connect(url: &str) -> Self {
        Self::try_connect(url).await.expect("nats-server was seen to greet")
    }

    /// Connects to one of the servers in a URL.
    ///
    /// # Errors
    /// When none is there.
    pub async fn try_connect(url: &str) -> Result<Self, String> {
        let options = async_nats::ConnectOptions::new()
            .reconnect_delay_callback(|_| Duration::from_millis(50))
            .connection_timeout(CONNECTION)
            .ping_interval(PING)
            .ignore_discovered_servers()
            .request_timeout(Some(REQUEST));
        let servers: Vec<_> = url.split(',').collect();
        let nats = options.connect(servers).await.map_err(|error| error.to_string())?;
        Ok(Self { jetstream: jetstream::new(nats.clone()), nats })
    }

    /// Sends bytes as a command and gives the King's answer.
    ///
    /// # Errors
    /// When there is none.
    pub async fn request(&self, subject: &str, id: Option<&str>, payload: Vec<u8>) -> Result<Bytes, String> {
        let mut headers = HeaderMap::new();
        if let Some(id) = id {
            headers.insert("Nats-Msg-Id", id);
        }
        let answer = self.nats.request_with_headers(subject.to_owned(), headers, payload.into()).await;
        answer.map(|message| message.payload).map_err(|error| error.to_string())
    }

    /// Sends a command and gives the answer.
    ///
    /// # Panics
    /// When no King answers.
    pub async fn command(&self, kind: &str, body: Value) -> Value {
        let payload = body.to_string().into_bytes();
        let answer = self.request(&format!("king.cmd.{kind}"), None, payload).await;
        parse(&answer.unwrap_or_else(|error| panic!("{kind} {body} got no answer: {error}")))
    }

    /// Sends a command that must be accepted, and gives the number of its event.
    ///
    /// # Panics
    /// When it is not accepted.
    pub async fn accepted(&self, kind: &str, body: Value) -> u64 {
        let answer = self.command(kind, body.clone()).await;
        assert_eq!(answer["status"], "accepted", "{kind} {body}: {answer}");
        answer["event"].as_u64().expect("an accepted command names its event")
    }

    /// Sends the same command until there is an answer: what a client does whose King may die.
    ///
    /// # Panics
    /// When there is no answer for a long time.
    pub async fn command_until_answered(&self, id: &str, kind: &str, body: &Value) -> Value {
        let subject = format!("king.cmd.{kind}");
        let deadline = Instant::now() + UNTIL_ANSWERED;
        loop {
            match self.request(&subject, Some(id), body.to_string().into_bytes()).await {
                Ok(answer) => return parse(&answer),
                Err(error) if Instant::now() >= deadline => panic!("{id} {kind} is not answered: {error}"),
                Err(_) => wait::pause().await,
            }
        }
    }

    /// Leaves a command in the queue.
    ///
    /// # Panics
    /// When it is not stored.
    pub async fn queue(&self, kind: &str, body: Value) {
        let stored = self.jetstream.publish(format!("king.queue.{kind}"), body.to_string().into()).await;
        let stored = stored.expect("the connection lives").await;
        stored.unwrap_or_else(|error| panic!("{kind} is not queued: {error}"));
    }

    /// Asks everybody who listens, and gives what they say within a short time.
    ///
    /// # Panics
    /// When the connection is gone for good.
    pub async fn gather(&self, subject: &str) -> Vec<Value> {
        let inbox = self.nats.new_inbox();
        let mut replies = self.nats.subscribe(inbox.clone()).await.expect("the connection lives");
        let question = Bytes::from_static(b"{}");
        self.nats
            .publish_with_reply(subject.to_owned(), inbox, question)
            .await
            .expect("the connection lives");
        let (mut said, deadline) = (Vec::new(), Instant::now() + GATHER);
        while let Ok(Some(message)) = tokio::time::timeout_at(deadline, replies.next()).await {
            if !message.payload.is_empty() {
                said.push(parse(&message.payload));
            }
        }
        said
    }

    /// Asks, and gives the items.
    ///
    /// # Errors
    /// When there is no answer, or a refusal.
    pub async fn ask(&self, kind: &str, question: Value) -> Result<Vec<Value>, String> {
        let payload = question.to_string().into_bytes();
        let mut answer = parse(&self.request(&format!("king.query.{kind}"), None, payload).await?);
        match answer["ok"]["items"].take() {
            Value::Array(items) => Ok(items),
            _ => Err(answer.to_string()),
        }
    }

    /// Asks, and gives the items.
    ///
    /// # Panics
    /// When there is no answer, or a refusal.
    pub async fn query(&self, kind: &str, question: Value) -> Vec<Value> {
        self.ask(kind, question).await.unwrap_or_else(|error| panic!("{kind}: {error}"))
    }

    /// The King that answers.
    ///
    /// # Panics
    /// When none does.
    pub async fn king(&self) -> Value {
        self.query("king.show", json!({})).await.remove(0)
    }

    /// A stream as it is.
    ///
    /// # Panics
    /// When it is not there.
    pub async fn stream(&self, name: &str) -> Stream {
        let stream = self.jetstream.get_stream(name).await;
        stream.unwrap_or_else(|error| panic!("the stream {name}: {error}"))
    }

    /// The names of all streams.
    ///
    /// # Errors
    /// When they cannot be asked for.
    pub async fn stream_names(&self) -> Result<Vec<String>, String> {
        let names: Vec<_> = self.jetstream.stream_names().collect().await;
        names.into_iter().map(|name| name.map_err(|error| error.to_string())).collect()
    }

    /// Every message of a stream, with its sequence and subject, in order.
    ///
    /// # Panics
    /// When one cannot be read.
    pub async fn messages(&self, name: &str) -> Vec<(u64, String, Bytes)> {
        let stream = self.stream(name).await;
        let state = &stream.cached_info().state;
        let mut messages = Vec::new();
        if state.messages == 0 {
            return messages;
        }
        for sequence in state.first_sequence..=state.last_sequence {
            let message = stream.get_raw_message(sequence).await;
            let message = message.unwrap_or_else(|error| panic!("{name} {sequence}: {error}"));
            messages.push((sequence, message.subject.to_string(), message.payload));
        }
        messages
    }

    /// Every event of the log, in order.
    ///
    /// # Panics
    /// When the log cannot be read.
    pub async fn events(&self) -> Vec<Event> {
        let commits = self.messages(events::subject::LOG_STREAM).await;
        let decode = |bytes: &Bytes| events::wire::decode::<events::Commit>(bytes).expect("a commit");
        commits.iter().flat_map(|(_, _, bytes)| decode(bytes).events).collect()
    }
}

fn parse(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes)
        .unwrap_or_else(|error| panic!("{error} in {}", String::from_utf8_lossy(bytes)))
}
