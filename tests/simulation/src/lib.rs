//! The kingdom in one thread, under one seed, in virtual time, on a model of JetStream.
//!
//! Read it in this order: [`jetstream`] and [`mod@core`] (the model of the server), [`conformance`] (why it can be
//! believed).

pub mod random;
pub mod core;
pub mod jetstream;
pub mod conformance;
