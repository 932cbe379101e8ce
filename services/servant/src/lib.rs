//! The agent on a host: it runs, watches and reports; it decides nothing but how to reach its desired state.
//!
//! A newcomer reads it in this order: [`spec`] (what an instance is), [`reconcile`] (what must be done; pure),
//! [`holder`] (the small process that holds an instance, in any weather) with its [`spool`], [`keeper`] (the
//! Servant's side of the holders), [`container`] (the same for what an engine runs), [`release`] (fetch, unpack, build),
//! [`probe`] (ports and health), [`load`], [`memory`] (what outlives it), [`heap`],
//! [`errors`] (in what it prints), [`reports`] and [`ship`] (what must not be lost), [`disk`] (that it does not fill),
//! [`exec`] (arbitrary commands), [`telemetry`] and [`app_events`] (what is measured and told), and [`run`] (the shell that
//! puts it together). It knows no other
//! service: only subjects of the bus.

pub mod args;
pub mod host;
pub mod capability;
pub mod cgroup;
pub mod users;
pub mod spec;
pub mod reconcile;
pub mod spool;
pub mod holder;
pub mod keeper;
pub mod container;
pub mod release;
pub mod probe;
pub mod memory;
pub mod load;
pub mod heap;
mod spread;
mod view;
pub mod reports;
pub mod app_events;
pub mod telemetry;
pub mod errors;
pub mod ship;
pub mod disk;
pub mod exec;
pub mod run;

pub use args::Args;
