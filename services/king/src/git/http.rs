//! The routes of the remote: smart HTTP (gitprotocol-http) under `/git/<app>.git/`, and nothing of the dumb protocol.

use super::cgi::{Call, CgiError};
use super::reception::Ticket;
use super::{Remote, RepositoryState};
use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use events::AppName;
use service::chain;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long a request waits for others to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// One of the two services of Git over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Clone and fetch.
    Upload,
    /// Push.
    Receive,
}

impl Service {
    fn parse(query: Option<&str>) -> Option<Self> {
        match query {
            Some("service=git-upload-pack") => Some(Self::Upload),
            Some("service=git-receive-pack") => Some(Self::Receive),
            Some(_) | None => None,
        }
    }

    fn path(self) -> &'static str {
        match self {
            Self::Upload => "git-upload-pack",
            Self::Receive => "git-receive-pack",
        }
    }
}

/// A request that is not served, in words: Git shows them to the user.
struct Refused(StatusCode, String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Self(status, reason) = self;
        let plain = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
        (status, plain, format!("king: {reason}\n")).into_response()
    }
}

impl Remote {
    /// The routes under `/git/`.
    pub fn router(self: Arc<Self>) -> Router {
        Router::new().route("/git/{*path}", any(answer)).with_state(self)
    }

    async fn serve(self: &Arc<Self>, target: Target, request: Request) -> Result<Response, Refused> {
        let Target { app, service, path } = target;
        self.check_length(request.headers())?;
        let state = self.state(&app);
        if state.is_none() && service == Service::Upload {
            let reason = format!("there is no app {app}; a push to this address makes it");
            return Err(Refused(StatusCode::NOT_FOUND, reason));
        }
        let permit = tokio::time::timeout(PATIENCE, self.permit()).await.map_err(|_| {
            let reason =
                format!("{} other Git requests are running; try again later", self.options.concurrent);
            Refused(StatusCode::SERVICE_UNAVAILABLE, reason)
        })?;
        // In a task of its own, to its end even if the client goes away meanwhile.
        let visit = tokio::spawn(Arc::clone(self).visit(app, state, permit)).await;
        let visit = visit.expect("preparing a cache does not panic")?;
        let call = self.call(&visit, service, path, &request);
        let deadline = visit.ticket.deadline;
        let answer =
            super::cgi::run(self.backend(call), request.into_body(), self.body_bytes(), deadline, visit);
        answer.await.map_err(|error| refused_by_backend(&error))
    }

    async fn visit(
        self: Arc<Self>,
        app: AppName,
        state: Option<RepositoryState>,
        permit: tokio::sync::OwnedSemaphorePermit,
    ) -> Result<Visit, Refused> {
        let cache = self.caches.of(&app);
        if let Err(error) = self.bring(&cache, state.as_ref()).await {
            let reason = chain(&error);
            tracing::error!(%app, reason, "git cache cannot be brought to the state");
            let reason = format!("the repository of {app} cannot be read now: {reason}; try again");
            return Err(Refused(StatusCode::INTERNAL_SERVER_ERROR, reason));
        }
        let ticket = self.reception.admit(app, Instant::now() + self.options.time);
        Ok(Visit { remote: self, cache: Some(cache), ticket, _permit: permit })
    }

    fn call(&self, visit: &Visit, service: Service, path: &str, request: &Request) -> Call {
        let text = |name: header::HeaderName| header_text(request.headers(), name.as_str());
        Call {
            method: request.method().as_str().to_owned(),
            root: self.options.folder.clone(),
            path: format!("/{}.git/{path}", visit.ticket.app),
            query: request.uri().query().unwrap_or_default().to_owned(),
            content_type: text(header::CONTENT_TYPE),
            content_length: text(header::CONTENT_LENGTH),
            content_encoding: text(header::CONTENT_ENCODING),
            protocol: header_text(request.headers(), "git-protocol"),
            hook: (service == Service::Receive)
                .then(|| (self.reception.socket.clone(), visit.ticket.id.clone())),
        }
    }

    fn backend(&self, call: Call) -> tokio::process::Command {
        call.apply(self.git.backend())
    }

    /// Room for the references of a push beside its pack, and for Git to say itself that the pack is too large.
    fn body_bytes(&self) -> u64 {
        self.options.push_bytes.saturating_add(64 << 20)
    }

    fn check_length(&self, headers: &HeaderMap) -> Result<(), Refused> {
        let length = header_text(headers, header::CONTENT_LENGTH.as_str());
        let most = self.body_bytes();
        match length.and_then(|length| length.parse::<u64>().ok()) {
            Some(length) if length > most => Err(Refused(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("the push has {length} bytes; at most {}", self.options.push_bytes),
            )),
            Some(_) | None => Ok(()),
        }
    }
}

/// A request while it is served. When it ends, the cache follows the state again.
pub struct Visit {
    remote: Arc<Remote>,
    cache: Option<Arc<super::cache::Cache>>,
    ticket: Arc<Ticket>,
    _permit: tokio::sync::OwnedSemaphorePermit,
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.remote.reception.dismiss(&self.ticket);
        let Some(cache) = self.cache.take() else { return };
        let (remote, app) = (Arc::clone(&self.remote), self.ticket.app.clone());
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move { remote.leave(&app, cache).await });
    }
}

impl Remote {
    /// After a request: the cache of an app that has not come to be goes, any other is brought to the state.
    async fn leave(&self, app: &AppName, cache: Arc<super::cache::Cache>) {
        match self.state(app) {
            None => {
                if let Err(error) = self.caches.forget(app, &cache) {
                    tracing::warn!(%app, %error, "could not remove the cache of an app that does not exist");
                }
            }
            Some(state) => {
                if let Err(error) = self.bring(&cache, Some(&state)).await {
                    tracing::warn!(%app, reason = chain(&error), "git cache is behind the state until its next use");
                }
            }
        }
    }

    async fn permit(self: &Arc<Self>) -> tokio::sync::OwnedSemaphorePermit {
        let permits = Arc::clone(&self.permits);
        permits.acquire_owned().await.expect("the semaphore is never closed")
    }
}

async fn answer(State(remote): State<Arc<Remote>>, Path(path): Path<String>, request: Request) -> Response {
    let target = Target::parse(request.method(), &path, request.uri().query());
    match target {
        Ok(target) => remote.serve(target, request).await.into_response(),
        Err(refused) => refused.into_response(),
    }
}

/// What a request is for.
struct Target {
    app: AppName,
    service: Service,
    path: &'static str,
}

impl Target {
    fn parse(method: &Method, path: &str, query: Option<&str>) -> Result<Self, Refused> {
        let services = [Service::Upload, Service::Receive];
        let call = services.into_iter().find_map(|service| {
            let repository = path.strip_suffix(service.path())?.strip_suffix('/')?;
            (method == Method::POST).then_some((repository, service, service.path()))
        });
        let references = || {
            let repository = path.strip_suffix("/info/refs")?;
            let service = Service::parse(query)?;
            (method == Method::GET).then_some((repository, service, "info/refs"))
        };
        let (repository, service, path) = call.or_else(references).ok_or_else(only_smart)?;
        Ok(Self { app: app_of(repository)?, service, path })
    }
}

fn only_smart() -> Refused {
    let reason = "this is no address of Git's smart HTTP; the remote of an app is <address>/git/<app>.git";
    Refused(StatusCode::NOT_FOUND, reason.into())
}

fn app_of(repository: &str) -> Result<AppName, Refused> {
    let name = repository.strip_suffix(".git").unwrap_or(repository);
    name.parse().map_err(|error| {
        Refused(StatusCode::BAD_REQUEST, format!("{error}; the remote of an app is <address>/git/<app>.git"))
    })
}

fn header_text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

fn refused_by_backend(error: &CgiError) -> Refused {
    let reason = chain(error);
    tracing::error!(reason, "git http-backend did not answer");
    let status = match error {
        CgiError::TimedOut => StatusCode::GATEWAY_TIMEOUT,
        CgiError::Start(_) | CgiError::NoAnswer => StatusCode::BAD_GATEWAY,
    };
    Refused(status, format!("{reason}; try again"))
}
