//! What an app links to tell the kingdom of its own events, gauges and counters.
//!
//! ```
//! use king_client::{json, King};
//!
//! let king = King::from_env();
//! king.event("order-placed", json!({ "id": 7, "total": 12.5 }));
//! king.gauge("queue", 3.0);
//! king.counter("orders", 1.0);
//! king.counter_with("requests", 1.0, &[("route", "checkout")]);
//! ```
//!
//! Nothing here ever waits or fails: a call puts a line into a bounded queue, and a thread sends it. Where no servant runs
//! the app, nothing is done at all. While the servant is away lines wait; what finds no room is counted, and the servant is
//! told how much that was. A program that ends soon calls [`King::flush`] before.
//!
//! The protocol is plain: JSON lines on the unix datagram socket that `KING_EVENTS_SOCKET` names.

#![warn(missing_docs)]

mod sender;

pub use serde_json::json;

use sender::Sender;
use serde_json::{Map, Value};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The variable that names the socket.
pub const SOCKET_VARIABLE: &str = "KING_EVENTS_SOCKET";

/// Names that tell series of one name apart, with their values.
pub type Tags<'a> = &'a [(&'a str, &'a str)];

/// Where an app tells what happens. Clones tell to the same place.
#[derive(Clone, Debug, Default)]
pub struct King {
    sender: Option<Arc<Sender>>,
}

impl King {
    /// As the environment says; where it says nothing, everything that is told goes nowhere.
    pub fn from_env() -> Self {
        std::env::var_os(SOCKET_VARIABLE).map_or_else(Self::default, |path| Self::at(PathBuf::from(path)))
    }

    /// To the socket at this path, whether there is one now or not.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { sender: Sender::start(path.into()).map(Arc::new) }
    }

    /// Whether anybody can hear.
    pub fn is_connected(&self) -> bool {
        self.sender.is_some()
    }

    /// Something happened: `name` is a label of a-z, 0-9 and '-', `fields` a JSON object (or null for none) of at most 4 KiB.
    pub fn event(&self, name: &str, fields: Value) {
        let mut line = Map::from_iter([("event".to_owned(), name.into())]);
        if !fields.is_null() {
            line.insert("fields".to_owned(), fields);
        }
        self.send(line);
    }

    /// A gauge is now at this value.
    pub fn gauge(&self, name: &str, value: f64) {
        self.gauge_with(name, value, &[]);
    }

    /// As [`King::gauge`], for one of several series of that name.
    pub fn gauge_with(&self, name: &str, value: f64, tags: Tags) {
        self.series("gauge", name, ("value", value), tags);
    }

    /// A counter grows by this.
    pub fn counter(&self, name: &str, add: f64) {
        self.counter_with(name, add, &[]);
    }

    /// As [`King::counter`], for one of several series of that name.
    pub fn counter_with(&self, name: &str, add: f64, tags: Tags) {
        self.series("counter", name, ("add", add), tags);
    }

    /// Waits until all that was told before has gone out, but no longer than this; whether it has.
    pub fn flush(&self, within: Duration) -> bool {
        self.sender.as_ref().is_none_or(|sender| sender.flush(within))
    }

    /// How many lines found no room so far.
    pub fn lost(&self) -> u64 {
        self.sender.as_ref().map_or(0, |sender| sender.lost())
    }

    fn series(&self, kind: &str, name: &str, (field, value): (&str, f64), tags: Tags) {
        let mut line = Map::from_iter([(kind.to_owned(), name.into()), (field.to_owned(), value.into())]);
        if !tags.is_empty() {
            let tags = tags.iter().map(|(tag, value)| ((*tag).to_owned(), Value::from(*value)));
            line.insert("tags".to_owned(), Value::Object(tags.collect()));
        }
        self.send(line);
    }

    fn send(&self, line: Map<String, Value>) {
        if let Some(sender) = &self.sender {
            sender.send(Value::Object(line).to_string());
        }
    }
}
