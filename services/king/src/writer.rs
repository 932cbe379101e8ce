//! The one writer: inputs in, commits out, answers after the acknowledgement.
//!
//! [`machine`] holds what is decided and what is in flight, without a socket or a clock; [`work`] turns messages into
//! inputs; [`run`] is the thin shell that waits for all of them at once. A King that finds that another has written
//! its place ends here: its speculative state is worth nothing, and nothing of it was told to anybody.

pub mod machine;
mod batch;
pub mod work;
pub mod ears;
mod sources;
pub mod run;
mod flights;
mod confirm;
mod replies;

pub use ears::{Ears, Ledger};
pub use machine::{Machine, Stored};
pub use run::{Writer, WriterError};
