//! Questions to ports: is one free, does somebody answer there, and is the answer a healthy one.

mod command;

pub use command::{Question, Words};

use crate::spec::{HealthTarget, Runtime};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, ipproto, socket_with, sockopt};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longest part of an answer that is looked at: the status line.
const ANSWER_BYTES: usize = 256;

/// How soon a connection that nobody takes in a container is closed.
const CLOSED_WITHIN: Duration = Duration::from_millis(100);

/// The first of these ports that somebody listens on. Connections that are only fading away do not count.
///
/// # Errors
/// When a port cannot be tried at all, for example because it is below 1024.
pub fn taken(ports: impl IntoIterator<Item = u16>) -> io::Result<Option<u16>> {
    for port in ports {
        let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        let v6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        if is_taken(AddressFamily::INET, v4)? || is_taken(AddressFamily::INET6, v6)? {
            return Ok(Some(port));
        }
    }
    Ok(None)
}

fn is_taken(family: AddressFamily, address: SocketAddr) -> io::Result<bool> {
    let socket = match socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, Some(ipproto::TCP)) {
        Ok(socket) => socket,
        // A host without this family has no listener on it.
        Err(Errno::AFNOSUPPORT) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    sockopt::set_socket_reuseaddr(&socket, true)?;
    match bind(&socket, &address) {
        Ok(()) | Err(Errno::ADDRNOTAVAIL) => Ok(false),
        Err(Errno::ADDRINUSE) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// Asks once for health.
///
/// # Errors
/// Why it is not healthy, for people.
pub async fn check(target: &HealthTarget) -> Result<(), String> {
    let limit = Duration::from_millis(target.check.timeout_ms);
    let what = match &target.check.path {
        Some(path) => format!("GET {path} on port {}", target.port),
        None => format!("a connection to port {}", target.port),
    };
    match tokio::time::timeout(limit, ask(target)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(reason)) => Err(format!("{what}: {reason}")),
        Err(_) => Err(format!("{what}: no answer within {} ms", target.check.timeout_ms)),
    }
}

async fn ask(target: &HealthTarget) -> Result<(), String> {
    let mut stream = connect(target.port).await.map_err(|error| error.to_string())?;
    let Some(path) = &target.check.path else {
        return match target.runtime {
            Runtime::Process => Ok(()),
            Runtime::Container => stays(stream).await,
        };
    };
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nUser-Agent: king-servant\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        target.port
    );
    stream.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
    let mut answer = Vec::new();
    while !answer.contains(&b'\n') && answer.len() < ANSWER_BYTES {
        if stream.read_buf(&mut answer).await.map_err(|error| error.to_string())? == 0 {
            break;
        }
    }
    judge(&answer)
}

/// The engine takes every connection to a published port, and closes it at once when nobody listens in the container.
async fn stays(mut stream: TcpStream) -> Result<(), String> {
    let mut byte = [0];
    match tokio::time::timeout(CLOSED_WITHIN, stream.read(&mut byte)).await {
        Ok(Ok(0)) => Err("closed at once: nobody listens on that port in the container".to_owned()),
        Ok(Err(error)) => Err(error.to_string()),
        // It waits to be asked, or speaks first.
        Ok(Ok(_)) | Err(_) => Ok(()),
    }
}

/// Apps listen on the IPv4 loopback, on all addresses, or on the IPv6 loopback alone.
async fn connect(port: u16) -> io::Result<TcpStream> {
    match TcpStream::connect((IpAddr::V4(Ipv4Addr::LOCALHOST), port)).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            TcpStream::connect((IpAddr::V6(Ipv6Addr::LOCALHOST), port)).await.map_err(|_| error)
        }
        other => other,
    }
}

/// A status from 200 to 399 is healthy.
fn judge(answer: &[u8]) -> Result<(), String> {
    let line = String::from_utf8_lossy(
        answer.split(|byte| *byte == b'\r' || *byte == b'\n').next().unwrap_or_default(),
    );
    let status = line
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.split(' ').nth(1))
        .and_then(|status| status.parse::<u16>().ok());
    match status {
        Some(200..=399) => Ok(()),
        Some(status) => Err(format!("status {status}; 200 to 399 is healthy")),
        None if answer.is_empty() => Err("closed without an answer".to_owned()),
        None => Err(format!("no HTTP answer: {:?}", line.chars().take(80).collect::<String>())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::manifest::HealthCheck;
    use std::net::TcpListener;

    #[test]
    fn a_port_is_taken_wherever_its_listener_is_bound() {
        for address in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"] {
            let stranger = TcpListener::bind(address).unwrap();
            let port = stranger.local_addr().unwrap().port();
            assert_eq!(taken([port]).unwrap(), Some(port), "{address}");
            drop(stranger);
            assert_eq!(taken([port]).unwrap(), None, "{address}");
        }
    }

    #[test]
    fn connections_that_fade_away_do_not_count() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = std::net::TcpStream::connect(address).unwrap();
        let (served, _) = listener.accept().unwrap();
        // The side that closes first keeps the port in TIME_WAIT.
        drop(served);
        drop(listener);
        drop(client);
        assert_eq!(taken([address.port()]).unwrap(), None);
    }

    #[tokio::test]
    async fn only_a_good_status_is_healthy() {
        for (answer, healthy) in [
            ("HTTP/1.1 200 OK\r\n\r\n", true),
            ("HTTP/1.0 302 Found\r\n\r\n", true),
            ("HTTP/1.1 503 Service Unavailable\r\n\r\n", false),
            ("SSH-2.0-x\r\n", false),
            ("", false),
        ] {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let server = tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 1024];
                let length = stream.read(&mut request).await.unwrap();
                stream.write_all(answer.as_bytes()).await.unwrap();
                String::from_utf8_lossy(&request[..length]).into_owned()
            });
            let check = HealthCheck { path: Some("/up".into()), ..HealthCheck::default() };
            let result = check_once(port, check).await;
            assert_eq!(result.is_ok(), healthy, "{answer:?}: {result:?}");
            assert!(server.await.unwrap().starts_with("GET /up HTTP/1.1\r\n"));
        }
    }

    #[tokio::test]
    async fn silence_is_not_healthy() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let check = HealthCheck { path: Some("/".into()), timeout_ms: 50, ..HealthCheck::default() };
        assert!(check_once(port, check).await.unwrap_err().contains("within 50 ms"));
    }

    async fn check_once(port: u16, check: HealthCheck) -> Result<(), String> {
        super::check(&HealthTarget { port, check, runtime: Runtime::Process }).await
    }
}
