//! The language of the kingdom: what travels between its services, and nothing else.
//!
//! A newcomer reads it in this order: [`name`] and [`id`] (what things are called), [`subject`] (where messages
//! go), [`command`], [`report`] and [`event`] (what is said, a file per noun), [`commit`] (how events are stored),
//! [`view`] and [`query`] (what is read), [`metric`] (telemetry), [`wire`] (bytes). It does no I/O, reads no clock and decides nothing:
//! the law is in `realm`.

pub mod limits;
pub mod name;
pub mod id;
pub mod time;
pub mod label;
pub mod subject;
pub mod image;
pub mod manifest;
pub mod checkpoint;
pub mod exec;
pub mod disk;
mod kinds;
pub mod command;
pub mod report;
pub mod event;
pub mod commit;
pub mod answer;
pub mod view;
pub mod query;
pub mod plan;
pub mod explain;
pub mod peer;
pub mod log;
pub mod metric;
pub mod fields;
pub mod notice;
pub mod wire;

pub use answer::{Answer, Outcome, Refusal, RefusalCode, Verdict};
pub use checkpoint::{Checkpoint, Mark};
pub use command::{Command, CommandKind, Order};
pub use commit::{Commit, KindFinder};
pub use event::{Cause, Event, Fact};
pub use fields::Fields;
pub use id::{
    Actor, CommandId, CommitHash, Digest, ExecId, InstanceId, KingId, KingKey, ServantId, Signature,
};
pub use image::{Image, ImageName, Volume, VolumeAccess};
pub use kinds::Kinded;
pub use label::{Labels, Selector};
pub use manifest::Manifest;
pub use name::{
    AppName, DomainName, EventName, KingName, LabelName, PortName, ProcessName, SeriesName, ServantName,
};
pub use notice::Notice;
pub use report::{News, Report, ReportBatch, ReportId};
pub use time::Timestamp;

/// Which of the processes of an instance is meant. An instance without workers has 0 alone.
pub type Slot = u16;

/// The number of an event: from 1, without gaps, the same on every King.
pub type EventNumber = u64;
