//! When a program serves, as a client sees it.

use super::say;
use crate::failure::Failure;
use anyhow::anyhow;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

const LOOK_EVERY: Duration = Duration::from_millis(20);
const ATTEMPT: Duration = Duration::from_secs(2);
/// A server with much to recover needs its time.
const PATIENCE: Duration = Duration::from_secs(120);
/// When to say what is waited for.
const SAY_AFTER: Duration = Duration::from_secs(3);

/// Waits until nats-server greets.
///
/// # Errors
/// When it does not in time.
pub async fn nats(address: SocketAddr) -> Result<(), Failure> {
    until("nats-server", || async move {
        let mut greeting = [0; 5];
        let mut stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        stream.read_exact(&mut greeting).await.map_err(|error| error.to_string())?;
        if &greeting == b"INFO " { Ok(()) } else { Err(format!("{address} does not speak NATS")) }
    })
    .await
}

/// Waits until the King says that it is ready: `GET /readyz` answers 200.
///
/// # Errors
/// When it does not in time, with its own reasons.
pub async fn king(address: SocketAddr) -> Result<(), Failure> {
    until("the King", || async move {
        let answer = get(address, "/readyz").await.map_err(|error| error.to_string())?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split_ascii_whitespace().nth(1).unwrap_or_default();
        if status == "200" { Ok(()) } else { Err(format!("/readyz answers {status}: {}", body.trim())) }
    })
    .await
}

/// HTTP/1.0, so that the answer ends with the connection and is in one piece.
async fn get(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(64 * 1024).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

async fn until<A, F>(what: &str, attempt: A) -> Result<(), Failure>
where
    A: Fn() -> F,
    F: Future<Output = Result<(), String>>,
{
    let started = Instant::now();
    let mut said = false;
    loop {
        let reason = match timeout(ATTEMPT, attempt()).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(reason)) => reason,
            Err(_) => format!("no answer within {ATTEMPT:?}"),
        };
        if started.elapsed() >= PATIENCE {
            return Err(Failure::Failed(anyhow!("{what} does not serve after {PATIENCE:?}: {reason}")));
        }
        if !said && started.elapsed() >= SAY_AFTER {
            say(&format!("waiting for {what}: {reason}\n"));
            said = true;
        }
        sleep(LOOK_EVERY).await;
    }
}
