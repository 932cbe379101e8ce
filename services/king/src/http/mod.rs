//! HTTP: what the King shows to browsers, scripts and monitoring. Reads only; Git's own routes are merged in by `main`.
//!
//! [`router`] makes the routes from [`Parts`], [`serve`] serves any router behind the guard: local hosts only, bounded
//! connections, headers and time. A newcomer reads [`stream`] for the web's event stream and [`problem`] for how a
//! refusal looks.

pub mod problem;
pub mod readiness;
pub mod metrics;
pub mod stream;
pub mod lists;
mod health;
mod parameters;
mod limits;
mod guard;
mod stall;
mod server;

pub use metrics::Metrics;
pub use readiness::{Readiness, Reason};
pub use server::{ServeError, serve};
pub use stream::Lookup;

use crate::feed::Feed;
use axum::Router;
use axum::http::{Method, Uri};
use axum::routing::get;
use events::query::KingRole;
use lists::Ask;
use problem::Problem;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// What the routes rest on.
pub struct Parts {
    pub feed: Feed,
    pub readiness: Readiness,
    pub metrics: Arc<Metrics>,
    /// What this King does.
    pub role: Role,
    /// How names and instances of now are found.
    pub lookup: Lookup,
    /// Answers the lists.
    pub ask: Ask,
    /// Ends the event streams at once.
    pub shutdown: CancellationToken,
}

/// Says what this King does.
pub type Role = Arc<dyn Fn() -> KingRole + Send + Sync>;

/// What the routes share.
struct Shared {
    parts: Parts,
    streams: Arc<Semaphore>,
}

/// Every address, as the root page and the answer to an unknown one say them.
pub const ADDRESSES: &[(&str, &str)] = &[
    ("/healthz", "whether the King is alive"),
    ("/readyz", "whether it serves, in which role, and if not, why"),
    ("/version", "which build this is"),
    ("/metrics", "numbers for Prometheus (OpenMetrics or text, by Accept)"),
    ("/v1/events", "events as they happen (server-sent events; ?since= ?noun= ?app= ?servant=)"),
    ("/v1/apps", "apps (?app= ?min_event=)"),
    ("/v1/instances", "instances (?app= ?servant= ?min_event=)"),
    ("/v1/servants", "servants (?servant= ?min_event=)"),
    ("/v1/king", "the newest event and the hash of the state, as this King has them (?min_event=)"),
    ("/git/<app>.git", "the Git remote of an app: git remote add king <this address>"),
];

/// The routes of this module.
pub fn router(parts: Parts) -> Router {
    let shared = Arc::new(Shared { parts, streams: Arc::new(Semaphore::new(limits::STREAMS)) });
    Router::new()
        .route("/", get(health::root))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/version", get(health::version))
        .route("/metrics", get(health::metrics))
        .route("/v1/events", get(stream::events))
        .route("/v1/apps", get(lists::apps))
        .route("/v1/instances", get(lists::instances))
        .route("/v1/servants", get(lists::servants))
        .route("/v1/king", get(lists::king))
        .method_not_allowed_fallback(not_allowed)
        .fallback(unknown)
        .layer(axum::middleware::from_fn(limits::bounded))
        .with_state(shared)
}

async fn unknown(uri: Uri) -> Problem {
    let known: Vec<&str> = ADDRESSES.iter().map(|(address, _)| *address).collect();
    Problem::not_found(uri.path(), &known.join(", "))
}

async fn not_allowed(method: Method, uri: Uri) -> Problem {
    Problem::method_not_allowed(&method, uri.path())
}
