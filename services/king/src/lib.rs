//! The control plane: one writer, and what it serves.
//!
//! Read it in the order of the flow: [`lease`] (who tries to write), [`helm`] and [`throne`] (backup or writer),
//! [`follower`] (fold the log), [`election`] (take over), [`writer`] (inputs to commits, on its [`lane`]), [`kingdom`] (the confirmed
//! state), [`journal`] (what a King keeps of the log), [`watch`] and [`alarm`] (when the log is not what it was),
//! [`effects`] (views and public events), [`queries`], [`http`] and [`git`] (what
//! people reach). [`serve`] starts all of it.

pub mod args;
pub mod signer;
pub mod status;
pub mod telemetry;
pub mod lease;
pub mod helm;
pub mod throne;
pub mod follower;
pub mod election;
pub mod lane;
pub mod writer;
pub mod kingdom;
pub mod journal;
pub mod watch;
pub mod alarm;
pub mod feed;
pub mod effects;
pub mod past;
pub mod queries;
pub mod http;
pub mod manifest;
pub mod git;
pub mod serve;
