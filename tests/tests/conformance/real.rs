//! Real servers as the cases see them: the client library where it reads, plain requests where a refusal's code counts.

use crate::servers::Servers;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::stream::{LastRawMessageErrorKind, RawMessageError};
use async_nats::jetstream::{self, message::StreamMessage};
use async_nats::{Client, HeaderMap, RequestErrorKind, Subscriber};
use futures_util::{FutureExt, StreamExt};
use kingdom_tests::wait;
use serde_json::{Value, json};
use simulation::conformance::Bus;
use simulation::jetstream::{
    Ack, Discard, Entry, Message, PublishFailure, Refusal, Replicas, State, StreamConfig, code,
};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::time::timeout;

/// The stream of the cases.
const STREAM: &str = "CASE";
/// How long one answer may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// After so long a publish counts as unanswered.
const SILENCE: Duration = Duration::from_secs(5);
/// The status of a message by which the server says that nobody listens.
const NO_RESPONDERS: u16 = 503;
/// Most consumers that are asked until two in a row give the same.
const DELIVERIES: usize = 100;
/// How long a server that lags has in between.
const BETWEEN_DELIVERIES: Duration = Duration::from_millis(20);

pub struct Real {
    runtime: Runtime,
    servers: Servers,
    client: Client,
    /// Each on a connection of its own; none once it has ended.
    subscriptions: Vec<Option<(Client, Subscriber)>>,
    /// Subjects on which somebody may listen: a subscription, or a stream.
    heard: Vec<String>,
}

impl Real {
    pub fn new(servers: Servers) -> Self {
        let runtime = Runtime::new().unwrap();
        let client = runtime.block_on(connect(&servers.url()));
        let mut real = Self { runtime, servers, client, subscriptions: Vec::new(), heard: Vec::new() };
        real.until_it_works();
        real
    }

    /// Without a stream or a subscription, as every case begins.
    pub fn begin_anew(&mut self) {
        self.subscriptions.clear();
        let client = self.client.clone();
        self.runtime.block_on(wait::until("the stream of the case before is gone", async || {
            let gone = call(&client, &format!("STREAM.DELETE.{STREAM}"), &Value::Null).await.map(drop);
            match gone {
                Err(refusal) if refusal.code == code::STREAM_NOT_FOUND => Ok(()),
                other => Err(format!("{other:?}")),
            }
        }));
        // What another server of the cluster has ended is known here a little later.
        for subject in std::mem::take(&mut self.heard) {
            let runtime = &self.runtime;
            runtime.block_on(wait::until("nobody of the case before listens", async || {
                let heard = is_heard(&client, &subject).await;
                wait::holds(!heard, || format!("somebody listens on {subject}"))
            }));
        }
    }

    /// A stream of as many copies as there are servers can be made.
    fn until_it_works(&mut self) {
        let replicas = self.copies();
        let probe = json!({ "name": "PROBE", "subjects": ["probe"], "num_replicas": replicas });
        let client = self.client.clone();
        self.runtime.block_on(wait::until("a stream can be made", async || {
            call(&client, "STREAM.CREATE.PROBE", &probe).await.map_err(|refusal| format!("{refusal:?}"))
        }));
        self.call("STREAM.DELETE.PROBE", &Value::Null).unwrap();
    }

    fn copies(&self) -> u64 {
        match self.servers.replicas {
            Replicas::One => 1,
            Replicas::Three => 3,
        }
    }

    fn call(&self, operation: &str, body: &Value) -> Result<Value, Refusal> {
        self.runtime.block_on(call(&self.client, operation, body))
    }

    /// A stream has a leader that answers.
    fn wait_for_leader(&self, stream: &str) {
        self.runtime.block_on(wait::until("the stream is led", async || {
            let info = call(&self.client, &format!("STREAM.INFO.{stream}"), &Value::Null).await;
            let info = info.map_err(|refusal| format!("{refusal:?}"))?;
            let is_led = info["cluster"]["leader"].as_str().is_some_and(|leader| !leader.is_empty());
            wait::holds(is_led || self.servers.replicas == Replicas::One, || info.to_string())
        }));
    }

    /// The server of this client knows where the stream is led: a message that cannot fit is refused, and not lost.
    fn until_reached(&self, config: &StreamConfig) {
        let subject = config.subjects[0].replace('>', "reached");
        let probe = Message::new(subject, &[("Nats-Expected-Stream", "none of this name")], "");
        self.runtime.block_on(wait::until("the stream is reached", async || {
            match pipeline(&self.client, std::slice::from_ref(&probe)).await.remove(0) {
                Err(PublishFailure::Refused(refusal)) if refusal.code == code::OTHER_STREAM => Ok(()),
                other => Err(format!("{other:?}")),
            }
        }));
    }

    fn found(answer: Result<StreamMessage, RawMessageError>) -> Result<Option<(u64, Message)>, Refusal> {
        match answer {
            Ok(found) => {
                Ok(Some((found.sequence, read(found.subject.as_str(), &found.headers, &found.payload))))
            }
            Err(error) => match error.kind() {
                LastRawMessageErrorKind::NoMessageFound => Ok(None),
                LastRawMessageErrorKind::JetStream(refusal) => Err(Refusal::of(refusal.error_code().0)),
                other => panic!("a stored message cannot be read: {other}"),
            },
        }
    }
}

impl Bus for Real {
    fn replicas(&self) -> Replicas {
        self.servers.replicas
    }

    fn create(&mut self, config: &StreamConfig) -> Result<(), Refusal> {
        let body = settings(config, self.copies());
        self.call(&format!("STREAM.CREATE.{}", config.name), &body)?;
        self.heard.extend(config.subjects.iter().map(|pattern| subject_of(pattern)));
        self.until_reached(config);
        Ok(())
    }

    fn delete(&mut self, stream: &str) -> Result<(), Refusal> {
        self.call(&format!("STREAM.DELETE.{stream}"), &Value::Null).map(drop)
    }

    fn publish(&mut self, message: &Message) -> Result<Ack, PublishFailure> {
        self.pipeline(std::slice::from_ref(message)).remove(0)
    }

    fn pipeline(&mut self, messages: &[Message]) -> Vec<Result<Ack, PublishFailure>> {
        self.runtime.block_on(pipeline(&self.client, messages))
    }

    fn state(&mut self, stream: &str) -> Result<State, Refusal> {
        let info = self.call(&format!("STREAM.INFO.{stream}"), &Value::Null)?;
        let number = |name: &str| info["state"][name].as_u64().unwrap();
        let created: String =
            info["created"].as_str().unwrap().chars().filter(char::is_ascii_digit).collect();
        Ok(State {
            count: number("messages"),
            first: number("first_seq"),
            last: number("last_seq"),
            // Digits of a time with nanoseconds: only compared.
            created: created.chars().rev().take(15).collect::<String>().parse().unwrap(),
        })
    }

    fn read(&mut self, stream: &str, sequence: u64) -> Result<Option<Message>, Refusal> {
        let answer = self.runtime.block_on(async {
            let context = jetstream::new(self.client.clone());
            context.get_stream_no_info(stream).await.unwrap().get_raw_message(sequence).await
        });
        Self::found(answer).map(|found| found.map(|(_, message)| message))
    }

    fn read_last(&mut self, stream: &str, subject: &str) -> Result<Option<(u64, Message)>, Refusal> {
        Self::found(self.runtime.block_on(async {
            let context = jetstream::new(self.client.clone());
            context.get_stream_no_info(stream).await.unwrap().get_last_raw_message_by_subject(subject).await
        }))
    }

    fn deliver(&mut self, stream: &str, after: u64, filters: &[&str], most: usize) -> Vec<Entry> {
        self.runtime.block_on(deliver(&self.client, stream, after, filters, most))
    }

    fn purge(&mut self, stream: &str, before: Option<u64>) -> Result<u64, Refusal> {
        let body = before.map_or(json!({}), |sequence| json!({ "seq": sequence }));
        self.call(&format!("STREAM.PURGE.{stream}"), &body).map(|answer| answer["purged"].as_u64().unwrap())
    }

    fn delete_message(&mut self, stream: &str, sequence: u64) -> Result<(), Refusal> {
        self.call(&format!("STREAM.MSG.DELETE.{stream}"), &json!({ "seq": sequence })).map(drop)
    }

    fn subscribe(&mut self, pattern: &str, group: Option<&str>) -> usize {
        let subscription = self.runtime.block_on(async {
            let client = connect(&self.servers.url()).await;
            let subscriber = match group {
                Some(group) => client.queue_subscribe(pattern.to_owned(), group.to_owned()).await,
                None => client.subscribe(pattern.to_owned()).await,
            };
            let subscriber = subscriber.unwrap();
            heard_by_server(&client).await;
            (client, subscriber)
        });
        self.subscriptions.push(Some(subscription));
        self.heard.push(subject_of(pattern));
        self.subscriptions.len() - 1
    }

    fn unsubscribe(&mut self, subscription: usize) {
        let (client, mut subscriber) = self.subscriptions[subscription].take().unwrap();
        self.runtime.block_on(async {
            subscriber.unsubscribe().await.unwrap();
            heard_by_server(&client).await;
        });
    }

    fn tell(&mut self, subject: &str, payload: &[u8]) {
        self.runtime.block_on(async {
            self.client.publish(subject.to_owned(), payload.to_vec().into()).await.unwrap();
            heard_by_server(&self.client).await;
        });
    }

    fn heard(&mut self, subscription: usize) -> Vec<Message> {
        let (client, subscriber) = self.subscriptions[subscription].as_mut().unwrap();
        self.runtime.block_on(async {
            heard_by_server(client).await;
            let mut heard = Vec::new();
            while let Some(Some(message)) = subscriber.next().now_or_never() {
                heard.push(Message::new(message.subject.as_str(), &[], message.payload));
            }
            heard
        })
    }

    fn has_responders(&mut self, subject: &str) -> bool {
        self.runtime.block_on(is_heard(&self.client, subject))
    }

    fn pass(&mut self, ms: u64) {
        self.runtime.block_on(async { tokio::time::sleep(Duration::from_millis(ms)).await });
    }

    fn restart(&mut self) {
        self.servers.restart();
        self.client = self.runtime.block_on(connect(&self.servers.url()));
        self.until_it_works();
        self.wait_for_leader(STREAM);
    }

    fn change_leader(&mut self, stream: &str) {
        if self.servers.replicas == Replicas::Three {
            self.call(&format!("STREAM.LEADER.STEPDOWN.{stream}"), &Value::Null).unwrap();
            self.wait_for_leader(stream);
        }
    }
}

async fn connect(url: &str) -> Client {
    wait::until("the server greets", async || async_nats::connect(url).await).await
}

/// The server has taken everything that this connection sent, and what it had for it has arrived: one connection is one
/// order, both ways.
async fn heard_by_server(client: &Client) {
    let answer = client.request("nobody.listens", "".into()).await;
    assert_eq!(answer.unwrap_err().kind(), RequestErrorKind::NoResponders);
}

/// Whether anybody listens on a subject, as far as the server of this client knows.
async fn is_heard(client: &Client, subject: &str) -> bool {
    let inbox = client.new_inbox();
    let mut statuses = client.subscribe(inbox.clone()).await.unwrap();
    client.publish_with_reply(subject.to_owned(), inbox, "".into()).await.unwrap();
    heard_by_server(client).await;
    statuses.next().now_or_never().flatten().is_none()
}

/// A subject that fits a pattern.
fn subject_of(pattern: &str) -> String {
    pattern.replace(['*', '>'], "some")
}

async fn call(client: &Client, operation: &str, body: &Value) -> Result<Value, Refusal> {
    let payload = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let request = client.request(format!("$JS.API.{operation}"), payload.into());
    let answer = match timeout(PATIENCE, request).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) | Err(_) => return Err(Refusal::of(code::UNAVAILABLE)),
    };
    let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
    match refusal(&answer) {
        Some(refusal) => Err(refusal),
        None => Ok(answer),
    }
}

fn refusal(answer: &Value) -> Option<Refusal> {
    let error = answer.get("error")?;
    let last = error["description"].as_str().and_then(|text| text.strip_prefix("wrong last sequence: "));
    Some(Refusal { code: error["err_code"].as_u64().unwrap(), last: last.and_then(|last| last.parse().ok()) })
}

/// Sends all before the first answer is waited for.
async fn pipeline(client: &Client, messages: &[Message]) -> Vec<Result<Ack, PublishFailure>> {
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(format!("{inbox}.*")).await.unwrap();
    for (index, message) in messages.iter().enumerate() {
        let mut headers = HeaderMap::new();
        message.headers.iter().for_each(|(name, value)| headers.insert(name.as_str(), value.as_str()));
        let (subject, reply) = (message.subject.clone(), format!("{inbox}.{index}"));
        client
            .publish_with_reply_and_headers(subject, reply, headers, message.payload.clone())
            .await
            .unwrap();
    }
    let mut outcomes: Vec<_> = messages.iter().map(|_| Err(PublishFailure::Unanswered)).collect();
    for _ in messages {
        let Ok(answer) = timeout(SILENCE, answers.next()).await else { break };
        let answer = answer.unwrap();
        let index: usize = answer.subject.rsplit('.').next().unwrap().parse().unwrap();
        outcomes[index] = outcome(&answer);
    }
    outcomes
}

fn outcome(answer: &async_nats::Message) -> Result<Ack, PublishFailure> {
    if answer.status.is_some_and(|status| status.as_u16() == NO_RESPONDERS) {
        return Err(PublishFailure::NoResponders);
    }
    let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
    match refusal(&answer) {
        Some(refusal) => Err(PublishFailure::Refused(refusal)),
        None => Ok(Ack {
            sequence: answer["seq"].as_u64().unwrap(),
            duplicate: answer["duplicate"].as_bool().unwrap_or_default(),
        }),
    }
}

/// What a consumer gives. It may live on a server that has not heard of the newest messages yet, so what one gives counts
/// when the next gives the same.
async fn deliver(client: &Client, stream: &str, after: u64, filters: &[&str], most: usize) -> Vec<Entry> {
    let mut last = None;
    for _ in 0..DELIVERIES {
        let now = deliver_once(client, stream, after, filters, most).await;
        if now.is_some() && now == last {
            return now.unwrap_or_default();
        }
        last = now;
        tokio::time::sleep(BETWEEN_DELIVERIES).await;
    }
    panic!("{DELIVERIES} consumers of {stream} do not agree; the last gave {last:?}");
}

/// None when the server breaks off.
async fn deliver_once(
    client: &Client,
    stream: &str,
    after: u64,
    filters: &[&str],
    most: usize,
) -> Option<Vec<Entry>> {
    let config = pull::Config {
        deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: after + 1 },
        ack_policy: AckPolicy::None,
        filter_subjects: filters.iter().map(|filter| (*filter).to_owned()).collect(),
        memory_storage: true,
        num_replicas: 1,
        ..pull::Config::default()
    };
    let context = jetstream::new(client.clone());
    let consumer = context.create_consumer_on_stream(config, stream).await.unwrap();
    let mut messages = consumer.fetch().max_messages(most).messages().await.unwrap();
    let mut entries = Vec::new();
    while let Some(message) = messages.next().await {
        let message = message.ok()?;
        let info = message.info().unwrap();
        let headers = message.headers.clone().unwrap_or_default();
        entries.push(Entry {
            sequence: info.stream_sequence,
            count: info.consumer_sequence,
            pending: info.pending,
            message: read(message.subject.as_str(), &headers, &message.payload),
        });
    }
    Some(entries)
}

fn read(subject: &str, headers: &HeaderMap, payload: &[u8]) -> Message {
    let headers = headers.iter().filter_map(|(name, values)| {
        values.last().map(|value| (name.to_string(), value.as_str().to_owned()))
    });
    Message { subject: subject.to_owned(), headers: headers.collect(), payload: payload.to_vec().into() }
}

fn settings(config: &StreamConfig, replicas: u64) -> Value {
    let number = |limit: Option<u64>| limit.map_or(-1, |limit| i64::try_from(limit).unwrap());
    json!({
        "name": config.name,
        "subjects": config.subjects,
        "storage": "file",
        "retention": "limits",
        "num_replicas": replicas,
        "discard": match config.discard { Discard::Old => "old", Discard::New => "new" },
        "max_msgs": number(config.max_messages),
        "max_msgs_per_subject": number(config.max_per_subject),
        "max_msg_size": number(config.max_message_bytes.map(|bytes| bytes as u64)),
        "duplicate_window": config.duplicate_window_ms * 1_000_000,
        "deny_delete": config.deny_delete,
        "deny_purge": config.deny_purge,
        "allow_direct": true,
    })
}
