//! The King's HTTP over real TCP: pages, refusals, limits, and the web's event stream.

#![allow(clippy::unwrap_used)]

mod support;
mod pages;
mod stream;
mod filters;
mod log;
