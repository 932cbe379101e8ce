//! The rule that nothing leaves this machine: there are no accounts, signatures or TLS yet, so whoever can reach a
//! socket of the kingdom may do everything.

use std::net::{IpAddr, SocketAddr};

/// Why an address is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoopbackError {
    /// A bind that others could reach.
    #[error("{address} is not a loopback address: {REASON}; use 127.0.0.1:{} or [::1]:{}", address.port(), address.port())]
    Bind { address: SocketAddr },
    /// A server on another machine, or a name that is not certain to be this one.
    #[error("{url:?} does not lead to this machine: {REASON}; use a URL like nats://127.0.0.1:4222")]
    Url { url: String },
    /// No URL at all.
    #[error("{url:?} is not a NATS URL: it needs the form nats://127.0.0.1:4222")]
    NotAUrl { url: String },
}

const REASON: &str = "there are no accounts, signatures or TLS yet, so whoever reaches it may do everything";

/// Refuses to bind anything but loopback.
///
/// # Errors
/// When the address is not a loopback address.
pub fn check_bind(address: &SocketAddr) -> Result<(), LoopbackError> {
    if address.ip().is_loopback() { Ok(()) } else { Err(LoopbackError::Bind { address: *address }) }
}

/// Refuses a NATS URL that leads anywhere but to loopback. Of a list with commas, every one is looked at.
///
/// # Errors
/// When a host is neither `localhost` nor a loopback address, or the text is no NATS URL.
pub fn check_url(urls: &str) -> Result<(), LoopbackError> {
    urls.split(',').try_for_each(|url| check_one(url.trim()))
}

/// For clap: the URL itself, checked.
///
/// # Errors
/// As [`check_url`].
pub fn parse_url(url: &str) -> Result<String, LoopbackError> {
    check_url(url).map(|()| url.to_owned())
}

/// For clap: an address to bind, checked.
///
/// # Errors
/// When the text is no address with a port, or not a loopback address.
pub fn parse_bind(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr =
        text.parse().map_err(|_| format!("{text:?} is not an address with a port, like 127.0.0.1:7480"))?;
    check_bind(&address).map_err(|error| error.to_string())?;
    Ok(address)
}

fn check_one(url: &str) -> Result<(), LoopbackError> {
    let rest = match url.split_once("://") {
        Some(("nats", rest)) => rest,
        Some(_) => return Err(LoopbackError::NotAUrl { url: url.to_owned() }),
        None => url,
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host_port = authority.rsplit_once('@').map_or(authority, |(_, host_port)| host_port);
    let host = host_of(host_port).ok_or_else(|| LoopbackError::NotAUrl { url: url.to_owned() })?;
    let local = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    if local { Ok(()) } else { Err(LoopbackError::Url { url: url.to_owned() }) }
}

/// The host of `host`, `host:port`, `[v6]` or `[v6]:port`; none when the port is no number.
fn host_of(host_port: &str) -> Option<&str> {
    let (host, port) = match host_port.strip_prefix('[') {
        Some(rest) => {
            let (host, tail) = rest.split_once(']')?;
            (host, if tail.is_empty() { None } else { Some(tail.strip_prefix(':')?) })
        }
        None => match host_port.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (host_port, None),
        },
    };
    let port_is_sound = port.is_none_or(|port| port.parse::<u16>().is_ok());
    (!host.is_empty() && port_is_sound).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_taken() {
        for url in [
            "nats://127.0.0.1:4222",
            "nats://localhost:1",
            "127.0.0.1",
            "nats://u:p@[::1]:4222",
            "127.9.9.9:1",
        ] {
            assert_eq!(check_url(url), Ok(()), "{url}");
        }
        assert!(parse_bind("127.0.0.1:0").is_ok());
        assert!(parse_bind("[::1]:7480").is_ok());
    }

    #[test]
    fn everything_else_is_refused() {
        for url in [
            "nats://10.0.0.1:4222",
            "nats://example.com",
            "nats://0.0.0.0:4222",
            "nats://127.0.0.1@evil.example:4222",
            "nats://127.0.0.1:4222,nats://10.0.0.1:4222",
            "nats://127.0.0.1.evil.example",
            "tls://127.0.0.1:4222",
            "nats://",
            "nats://127.0.0.1:port",
            "",
        ] {
            assert!(check_url(url).is_err(), "{url}");
        }
        for address in ["0.0.0.0:7480", "[::]:7480", "192.168.1.1:80", "127.0.0.1"] {
            assert!(parse_bind(address).is_err(), "{address}");
        }
    }

    #[test]
    fn a_refusal_says_why_and_what_to_use() {
        let message = parse_bind("0.0.0.0:7480").expect_err("not loopback");
        assert!(message.contains("no accounts") && message.contains("127.0.0.1:7480"), "{message}");
    }
}
