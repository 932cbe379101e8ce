//! The lease: which King writes, or tries first to.
//!
//! [`machine`] holds every decision about it, and about the change of roles, without a socket or a clock; [`value`] is
//! what stands in the key. The shell around both is `helm`. Safety never rests on any of it: the fence of the log alone
//! decides who writes.

pub mod machine;
mod value;

pub use machine::{Action, Machine, Observation, Settings};
pub use value::{Lease, LeaseValueError, Stored};
