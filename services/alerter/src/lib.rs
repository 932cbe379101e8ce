//! Turns events into alert mails: each incident gives one mail when it begins and one when it ends.
//!
//! Read it in this order: [`incidents`] (what has begun and ended, and the words for it), [`courier`] (plan, send,
//! record, each at the right time), both machines without sockets or clocks; then [`mail`] (bytes of a message),
//! [`post`] (where messages go) and [`run`] (the shell). What was sent is known only from the log: an Alerter keeps
//! no state of its own, but for [`notices`], which tell of trouble with the log itself.

pub mod args;
pub mod incidents;
pub mod courier;
pub mod mail;
pub mod post;
pub mod notices;
pub mod run;
