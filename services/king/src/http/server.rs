//! The server: connections in, each bounded in heads, time and patience, until the end is asked for.

use super::guard::guard;
use super::limits::{CONNECTIONS, DRAIN_TIME, HEAD_BYTES, HEAD_TIME, HEADERS};
use super::metrics::Metrics;
use super::stall::Impatient;
use axum::Router;
use axum::middleware::from_fn_with_state;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How long accepting pauses when the machine has no room for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why serving could not begin.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("the address of the HTTP listener cannot be read")]
    Address(#[source] io::Error),
    #[error("HTTP on {0} is refused: only loopback until there are accounts and TLS; use 127.0.0.1 or [::1]")]
    NotLoopback(std::net::SocketAddr),
}

/// Serves a router behind the guard until `shutdown`; then takes no more, ends what idles, and lets answers end for a
/// few seconds. Git's routes are to be merged into the router before.
///
/// # Errors
/// When the listener is bound to another address than loopback.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    metrics: Arc<Metrics>,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let address = listener.local_addr().map_err(ServeError::Address)?;
    if !address.ip().is_loopback() {
        return Err(ServeError::NotLoopback(address));
    }
    let router = router.layer(from_fn_with_state(metrics, guard));
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    while let Some((stream, place)) = next(&listener, &places, &shutdown).await {
        while connections.try_join_next().is_some() {}
        let connection = graceful.watch(connection(stream, router.clone()));
        connections.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "http connection ended");
            }
            drop(place);
        });
    }
    drop(listener);
    if tokio::time::timeout(DRAIN_TIME, graceful.shutdown()).await.is_err() {
        tracing::warn!(seconds = DRAIN_TIME.as_secs(), "http answers cut at the end");
    }
    Ok(())
}

type Connection = http1::Connection<TokioIo<Impatient>, TowerToHyperService<Router>>;

fn connection(stream: TcpStream, router: Router) -> Connection {
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_headers(HEADERS)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(Impatient::new(stream)), TowerToHyperService::new(router))
}

/// The next connection with its place; none when the end is asked for.
async fn next(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    shutdown: &CancellationToken,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let accepted = async {
        let place = Arc::clone(places).acquire_owned().await.expect("the places are never closed");
        (accept(listener).await, place)
    };
    tokio::select! {
        accepted = accepted => Some(accepted),
        () = shutdown.cancelled() => None,
    }
}

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Only latency is lost where the system refuses it.
                let _ = stream.set_nodelay(true);
                return stream;
            }
            Err(error) => {
                tracing::warn!(%error, "http connection not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
