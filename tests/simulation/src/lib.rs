//! The kingdom in one thread, under one seed, in virtual time, on a model of JetStream.
//!
//! Read it in this order: [`jetstream`] and [`mod@core`] (the model of the server), [`conformance`] (why it can be
//! believed), [`plan`] (what a seed means), [`world`] (the cast and the network), [`judge`] (what must never be),
//! [`coverage`] (what must have been seen), [`hunt`] (many seeds, and the smallest plan that fails). Real are the law, the
//! commit loop, the appending, the rules of tails, views, public events and outboxes, the relay, the watch, the reconciler,
//! the incidents and the courier; simulated are the shells around them, disks, processes, mail servers and the clock.

pub mod random;
pub mod core;
pub mod jetstream;
pub mod conformance;
pub mod plan;
pub mod world;
pub mod judge;
pub mod coverage;
pub mod hunt;
