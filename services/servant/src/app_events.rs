//! App events: what instances tell of themselves, as JSON lines on sockets of their own. Named events become reports, and so
//! events of the kingdom; gauges and counters go with telemetry.
//!
//! An app must never notice that nobody listens: sockets are read however much comes, and what is too much is dropped and
//! counted. Whose line it is follows from the socket alone. Read [`line`] (what can be said), [`bucket`] and [`intake`]
//! (how much of it; pure), then [`place`] and [`socket`], [`hub`] and [`relay`].

pub mod line;
pub mod bucket;
pub mod intake;
pub mod place;
pub mod socket;
pub mod hub;
pub mod relay;

pub use hub::Hub;

/// The variable that names the datagram socket.
pub const SOCKET_VARIABLE: &str = "KING_EVENTS_SOCKET";
/// The variable that names the stream socket, for those that have no datagrams.
pub const STREAM_VARIABLE: &str = "KING_EVENTS_STREAM";

/// What an instance with these sockets finds in its environment.
pub fn variables(paths: &place::Paths) -> impl Iterator<Item = (String, String)> {
    [SOCKET_VARIABLE, STREAM_VARIABLE]
        .into_iter()
        .zip(paths.seen())
        .map(|(variable, path)| (variable.to_owned(), path.to_string_lossy().into_owned()))
}
