//! Putting a King together: prove, provision, take over, serve.

use crate::args::Args;
use crate::effects::{self, EffectError};
use crate::election::{self, ElectionError};
use crate::feed::{Feed, History, Placement, RING_EVENTS};
use crate::git::{GitOptions, Remote, RemoteError, RepositoryState};
use crate::http::{self, Lookup, Metrics, Parts as HttpParts, Readiness, ServeError};
use crate::kingdom::Kingdom;
use crate::queries::{self, Queries};
use crate::writer::run::Parts as WriterParts;
use crate::writer::{Writer, WriterError};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::middleware::{self, Next};
use axum::response::IntoResponse;
use bus::connect::SubscribeError;
use bus::log::Log;
use bus::objects::{ObjectError, Objects};
use bus::{Bus, connect, durable, provision};
use events::{AppName, KingId};
use service::data::Folder;
use service::{Shutdown, clock};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Why a King ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum KingError {
    #[error("could not use the data folder of the King")]
    Folder(#[from] service::data::FolderError),
    #[error(
        "could not read the password of the NATS system user from {path}; name the file with --nats-system-password-file"
    )]
    Password {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("could not connect to NATS")]
    Connect(#[from] connect::ConnectError),
    #[error("the NATS server is not durable, so this King does not serve")]
    Durability(#[from] durable::DurabilityError),
    #[error("the streams and buckets of the kingdom could not be made ready")]
    Provision(#[from] provision::ProvisionError),
    #[error("could not listen for HTTP on {address}; choose another address with --http")]
    Listen {
        address: std::net::SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error("could not open the log")]
    OpenLog(#[from] bus::log::LogError),
    #[error("could not take over")]
    Election(#[from] ElectionError),
    #[error("the writer ended")]
    Writer(#[from] WriterError),
    #[error("views cannot be written")]
    Effects(#[from] EffectError),
    #[error("queries cannot be heard")]
    Queries(#[from] SubscribeError),
    #[error("the Git remote cannot be served")]
    Git(#[from] RemoteError),
    #[error("the artifact store cannot be opened")]
    Objects(#[from] ObjectError),
    #[error("the path of this program cannot be found, so Git could not call it as its hook")]
    OwnPath(#[source] std::io::Error),
    #[error("HTTP cannot be served")]
    Http(#[from] ServeError),
}

/// Serves until it is told to stop.
///
/// # Errors
/// What kept it from serving, or ended it.
pub async fn serve(args: &Args, shutdown: &Shutdown) -> Result<(), KingError> {
    let folder = Folder::open(args.common.data.join("king"))?;
    let listener = listen(args).await?;
    let metrics = Arc::new(Metrics::new());
    let readiness = Readiness::new("starting", "the King is starting: it waits for NATS and reads the log");
    let bus = connect::connect(&args.bus()).await?;
    prove(args).await?;
    provision::provision(&bus, &provision::Limits::default()).await?;
    let log = Log::open(&bus).await?;
    let kingdom = Kingdom::new(Feed::new(History::of_log(log.clone()), RING_EVENTS), metrics.clone());
    let king = KingId(clock::fresh_id());
    let queries = Queries::new(bus.clone(), kingdom.clone(), metrics.clone(), king);
    let mut tasks: JoinSet<Result<(), KingError>> = JoinSet::new();
    let remote = git_remote(args, &folder, &bus, &kingdom).await?;
    let stop = shutdown.clone();
    let hooks = remote.clone().run_hooks(async move { stop.requested().await });
    tasks.spawn(async move {
        hooks.await;
        Ok(())
    });
    let router =
        http_router(&kingdom, &readiness, &metrics, &queries, shutdown).merge(git_router(remote, &readiness));
    spawn_http(&mut tasks, listener, router, metrics.clone(), shutdown);

    let elected = election::take_over(&log, king).await?;
    tracing::info!(epoch = elected.state.epoch, event = elected.state.last, %king, "this King writes");
    kingdom.begin(elected.state.clone(), elected.sequence);
    let parts = WriterParts {
        bus: bus.clone(),
        log,
        kingdom: kingdom.clone(),
        metrics: metrics.clone(),
        readiness: readiness.clone(),
    };
    let writer = Writer::new(parts, elected).await?;
    let stop = shutdown.clone();
    tasks.spawn(async move { Ok(writer.run(&stop).await?) });
    let stop = shutdown.clone();
    tasks.spawn(async move { Ok(queries.run(stop).await?) });
    tasks.spawn(run_views(bus.clone(), kingdom.clone(), metrics.clone(), shutdown.clone()));
    tasks.spawn(run_purger(bus.clone(), kingdom.clone(), shutdown.clone()));
    tasks.spawn(run_link_watch(bus.clone(), readiness.clone(), shutdown.clone()));
    tasks.spawn(run_publisher(bus, kingdom, metrics, shutdown.clone()));
    readiness.clear("starting");
    tracing::info!(http = %args.http, data = %folder.path().display(), "ready");
    wait(tasks, shutdown).await
}

async fn listen(args: &Args) -> Result<TcpListener, KingError> {
    TcpListener::bind(args.http).await.map_err(|source| KingError::Listen { address: args.http, source })
}

async fn prove(args: &Args) -> Result<(), KingError> {
    let system = args.system().map_err(|source| KingError::Password {
        path: args.nats_system_password_file.display().to_string(),
        source,
    })?;
    let proof = durable::prove(&system).await?;
    tracing::info!(?proof, "the NATS server is durable");
    Ok(())
}

/// The first that fails ends all; else all end when told to.
async fn wait(mut tasks: JoinSet<Result<(), KingError>>, shutdown: &Shutdown) -> Result<(), KingError> {
    let mut first = Ok(());
    while let Some(ended) = tasks.join_next().await {
        let ended = ended.expect("no task of the King panics or is cancelled");
        if ended.is_err() && first.is_ok() {
            first = ended;
            shutdown.request();
        }
    }
    first
}

async fn run_views(
    bus: Bus,
    kingdom: Kingdom,
    metrics: Arc<Metrics>,
    shutdown: Shutdown,
) -> Result<(), KingError> {
    Ok(effects::write_views(bus, kingdom, metrics, shutdown).await?)
}

async fn run_purger(bus: Bus, kingdom: Kingdom, shutdown: Shutdown) -> Result<(), KingError> {
    effects::purge_inbox(bus, kingdom, shutdown).await;
    Ok(())
}

async fn run_link_watch(bus: Bus, readiness: Readiness, shutdown: Shutdown) -> Result<(), KingError> {
    effects::watch_link(bus, readiness, shutdown).await;
    Ok(())
}

async fn run_publisher(
    bus: Bus,
    kingdom: Kingdom,
    metrics: Arc<Metrics>,
    shutdown: Shutdown,
) -> Result<(), KingError> {
    effects::publish_events(bus, kingdom, metrics, shutdown).await;
    Ok(())
}

/// The Git remote: it reads what the state says of a repository, and sends its commands over the bus like anybody.
async fn git_remote(
    args: &Args,
    folder: &Folder,
    bus: &Bus,
    kingdom: &Kingdom,
) -> Result<Arc<Remote>, KingError> {
    let mut options =
        GitOptions::new(folder.join("git"), std::env::current_exe().map_err(KingError::OwnPath)?);
    options.push_bytes = args.push_megabytes << 20;
    options.time = Duration::from_secs(args.git_seconds);
    let kingdom = kingdom.clone();
    let repositories =
        Arc::new(move |app: &AppName| kingdom.read(|state| state.apps.get(app).map(repository)));
    let objects = Objects::open(bus).await?;
    Ok(Arc::new(Remote::new(options, bus.clone(), objects, repositories).await?))
}

/// Git's routes, closed until the log has been read: before, no repository is known and each would look new.
fn git_router(remote: Arc<Remote>, readiness: &Readiness) -> axum::Router {
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

fn http_router(
    kingdom: &Kingdom,
    readiness: &Readiness,
    metrics: &Arc<Metrics>,
    queries: &Queries,
    shutdown: &Shutdown,
) -> axum::Router {
    let (of_instances, of_servants, asked) = (kingdom.clone(), kingdom.clone(), queries.clone());
    http::router(HttpParts {
        feed: kingdom.feed().clone(),
        readiness: readiness.clone(),
        metrics: metrics.clone(),
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
        shutdown: token(shutdown),
    })
}

fn spawn_http(
    tasks: &mut JoinSet<Result<(), KingError>>,
    listener: TcpListener,
    router: axum::Router,
    metrics: Arc<Metrics>,
    shutdown: &Shutdown,
) {
    let token = token(shutdown);
    tasks.spawn(async move { Ok(http::serve(listener, router, metrics, token).await?) });
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
