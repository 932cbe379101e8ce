//! The relay of a domain: it hears its servants, says when one is lost or back, and carries their reports to the King.
//!
//! Read it in this order: [`watch`] (who is silent) and [`relay`] (what travels up) are machines without sockets or
//! clocks; [`run`] is the shell that gives them the bus and the time. A Foreman decides nothing and stores nothing
//! that anybody else rests on: an answer that it passes down is always the King's.

pub mod args;
pub mod watch;
pub mod relay;
pub mod run;
