//! The command that is measured: `config.set` of one key, as MessagePack, under a fresh id each time. It leads to two
//! events, what was set and that it was accepted.

use async_nats::HeaderMap;
use bytes::Bytes;
use events::command::SetConfig;
use events::subject::{HEADER_ID, command};
use events::{Answer, Outcome, wire};
use std::sync::atomic::{AtomicU64, Ordering};

/// How many different keys are set; one scope may hold 256.
const KEYS: u64 = 64;

/// Makes commands.
pub struct Commands {
    /// Distinguishes the ids of this process from those of any other.
    process: u32,
    made: AtomicU64,
}

impl Commands {
    pub fn new() -> Self {
        Self { process: std::process::id(), made: AtomicU64::new(0) }
    }

    /// Where they go.
    pub fn subject() -> String {
        command("config.set")
    }

    /// The headers and the payload of the next one.
    pub fn next(&self) -> (HeaderMap, Bytes) {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let values = [(format!("KEY_{:02}", number % KEYS), format!("value-{number:010}"))].into();
        let order = SetConfig { app: None, process: None, values };
        let mut headers = HeaderMap::new();
        headers.insert(HEADER_ID, format!("bench-{:07}-{number:010}", self.process));
        (headers, wire::encode(&order).into())
    }
}

/// Whether an answer says that the command was accepted.
pub fn is_accepted(answer: &[u8]) -> bool {
    matches!(wire::decode::<Answer>(answer), Ok(Answer { outcome: Outcome::Accepted { .. }, .. }))
}

/// An answer like that of a King.
pub fn like_an_answer() -> Vec<u8> {
    let id = "bench-0000001-0000000001".parse().expect("a command id");
    wire::encode(&Answer { id: Some(id), outcome: Outcome::Accepted { event: 100_000, release: None } })
}
