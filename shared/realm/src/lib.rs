//! The law of the kingdom: what follows from what, and nothing else.
//!
//! ```text
//! command ─┐
//!          ├─▶ decide ─▶ facts ─▶ apply ─▶ converge ─▶ facts ─▶ apply      (all of it: `step`)
//! report ──┘                                                       └─▶ project, query
//! ```
//!
//! Each stage is a module and each noun a file in it. [`step`] takes one input and gives the events that follow from
//! it, already applied to the state that it was given; the King stores them as one part of a commit. Everything here
//! is synchronous and total, and reads no clock, no random source, no environment, no disk and no network: the time
//! and the random bits come in [`Context`].

pub mod context;
pub mod state;
pub mod decide;
pub mod apply;
pub mod schedule;
pub mod converge;
pub mod step;
mod trial;
pub mod plan;
pub mod project;
pub mod query;
pub mod explain;
pub mod difference;

pub use apply::{ApplyError, apply, apply_commit};
pub use context::{Candidate, Context, Input};
pub use state::State;
pub use step::{Decision, Record, Response, step, step_onto};
