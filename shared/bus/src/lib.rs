//! The only crate that names NATS and sled: everything that leaves a process goes through here.
//!
//! A newcomer reads it in this order: [`mod@connect`] and [`message`] (the connection, requests, subscriptions),
//! [`provision`] and [`durable`] (what must stand on the server before a King serves), [`log`] (the commit log, the
//! truth) and [`tail`] (how every stream is followed), [`inbox`], [`views`], [`mod@lease`], [`public_events`], [`logs`],
//! [`metrics`], [`flow`], [`objects`] (the other streams and buckets), [`outbox`] and [`table`] over [`store`] (what a host keeps by
//! itself), [`journal`] (a King's own copy of the log), and [`compare`] and [`repair`] (the log against journals). It decides nothing and knows nothing of the meaning of what it carries, but for the place of an event.
//!
//! A server that fits, with a user for the kingdom that needs no credentials on loopback, and one for the proof of
//! durability:
//!
//! ```text
#![doc = include_str!("../tests/nats.conf")]
//! ```

pub mod connect;
pub mod message;
pub mod flow;
mod headers;
mod retry;
mod api;
mod stream;
pub mod provision;
pub mod durable;
pub mod log;
pub mod tail;
pub mod inbox;
pub mod views;
pub mod lease;
pub mod public_events;
pub mod logs;
pub mod metrics;
pub mod objects;
pub mod store;
mod side_file;
pub mod outbox;
pub mod table;
pub mod journal;
pub mod compare;
pub mod holes;
pub mod repair;

pub use api::ApiError;
pub use connect::{Bus, ConnectError, Options, PublishError, Replies, RequestError, StoreError, connect};
pub use message::{Message, Subscription};

/// What lies beneath an error of this crate; the types of the libraries stay inside.
pub type Source = Box<dyn std::error::Error + Send + Sync>;
