//! What the tests of a whole kingdom share: real processes in a temporary folder, real clients, and ways to look.
//!
//! A newcomer reads [`kingdom`] first, then one of the tests, best `tests/story.rs`. Nothing here is mocked; nothing
//! sleeps but [`wait`].

pub mod wait;
pub mod programs;
pub mod ports;
pub mod files;
pub mod process;
pub mod strays;
pub mod reaper;
pub mod nats;
pub mod client;
pub mod failing;
pub mod proxy;
pub mod cluster;
pub mod http;
pub mod command;
pub mod repository;
pub mod apps;
pub mod replay;
pub mod load;
pub mod output;
pub mod kingdom;
pub mod engine;
pub mod person;
pub mod chaos;

pub use kingdom::{Kingdom, Plan};
