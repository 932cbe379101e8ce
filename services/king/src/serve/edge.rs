//! The edge: HTTP, the event stream and the Git remote on one listener.

use super::tasks::Tasks;
use super::{King, KingError};
use crate::args::Args;
use crate::feed::Placement;
use crate::git::{GitOptions, Reached, Remote, RepositoryState};
use crate::http::{self, Lookup, Parts, Readiness};
use crate::queries::{self, MIN_EVENT_PATIENCE};
use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::middleware::{self, Next};
use axum::response::IntoResponse;
use bus::objects::Objects;
use events::AppName;
use service::Shutdown;
use service::data::Folder;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub(super) async fn open(
    king: &King,
    args: &Args,
    folder: &Folder,
    listener: TcpListener,
    tasks: &mut Tasks,
) -> Result<(), KingError> {
    let remote = git_remote(king, args, folder).await?;
    let stop = king.shutdown.clone();
    tasks.spawn_plain(remote.clone().run_hooks(async move { stop.requested().await }));
    let router = http_router(king).merge(git_router(remote, &king.readiness));
    tasks.spawn(http::serve(listener, router, king.metrics.clone(), token(&king.shutdown)));
    Ok(())
}

/// The Git remote: it reads what the state says of a repository, and sends its commands over the bus like anybody.
async fn git_remote(king: &King, args: &Args, folder: &Folder) -> Result<Arc<Remote>, KingError> {
    let mut options =
        GitOptions::new(folder.join("git"), std::env::current_exe().map_err(KingError::OwnPath)?);
    options.push_bytes = args.push_megabytes << 20;
    options.time = Duration::from_secs(args.git_seconds);
    let kingdom = king.kingdom.clone();
    let repositories =
        Arc::new(move |app: &AppName| kingdom.read(|state| state.apps.get(app).map(repository)));
    let objects = Objects::open(&king.bus).await?;
    let kingdom = king.kingdom.clone();
    let reached: Reached = Arc::new(move |event| {
        let kingdom = kingdom.clone();
        Box::pin(async move { kingdom.reached(event, MIN_EVENT_PATIENCE).await })
    });
    Ok(Arc::new(Remote::new(options, king.bus.clone(), objects, repositories, reached).await?))
}

/// Git's routes, closed until the log has been read: before, no repository is known and each would look new.
fn git_router(remote: Arc<Remote>, readiness: &Readiness) -> Router {
    let readiness = readiness.clone();
    remote.router().layer(middleware::from_fn(move |request: Request, next: Next| {
        let reasons = readiness.reasons();
        async move {
            match reasons.first() {
                Some(reason) => {
                    let text = format!("the King is not ready: {}; try again in a moment\n", reason.detail);
                    (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "1")], text).into_response()
                }
                None => next.run(request).await,
            }
        }
    }))
}

fn repository(app: &realm::state::App) -> RepositoryState {
    RepositoryState {
        refs: app.refs.clone(),
        bundles: app.bundles.clone(),
        versions: app
            .versions
            .iter()
            .map(|(version, published)| (version.clone(), published.commit))
            .collect(),
    }
}

fn http_router(king: &King) -> Router {
    let (of_instances, of_servants, asked) =
        (king.kingdom.clone(), king.kingdom.clone(), king.queries.clone());
    http::router(Parts {
        feed: king.kingdom.feed().clone(),
        readiness: king.readiness.clone(),
        metrics: king.metrics.clone(),
        role: {
            let status = king.status.clone();
            Arc::new(move || status.role())
        },
        lookup: Lookup {
            placement: Arc::new(move |id| {
                of_instances.read(|state| {
                    state
                        .instances
                        .get(&id)
                        .map(|instance| Placement { app: instance.app.clone(), servant: instance.servant })
                })
            }),
            servant: Arc::new(move |name| of_servants.read(|state| state.servant_names.get(name).copied())),
        },
        ask: Arc::new(move |kind, question| queries::as_json(asked.answer_now(kind, &question))),
        shutdown: token(&king.shutdown),
    })
}

/// The same end in the form that the HTTP server takes.
fn token(shutdown: &Shutdown) -> CancellationToken {
    let (token, shutdown) = (CancellationToken::new(), shutdown.clone());
    let cancelled = token.clone();
    tokio::spawn(async move {
        shutdown.requested().await;
        cancelled.cancel();
    });
    token
}
