//! Taken ports are said before anything starts.

use super::UpArgs;
use super::nats::Layout;
use super::plan::king_address;
use crate::failure::Failure;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};

/// Refuses to start when a port is taken.
///
/// # Errors
/// When one cannot be bound, with the flag that names another.
pub fn check(args: &UpArgs, layout: Layout) -> Result<(), Failure> {
    layout
        .addresses()
        .into_iter()
        .try_for_each(|address| check_one(address, "nats-server", "--nats-port"))?;
    (0..args.kings)
        .try_for_each(|index| check_one(king_address(args.http, index)?, "a King's HTTP", "--http"))
}

fn check_one(address: SocketAddr, whose: &str, flag: &str) -> Result<(), Failure> {
    match TcpListener::bind(address) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AddrInUse => Err(Failure::Conflict(format!(
            "{address} is taken by another process, and {whose} needs it; stop that process (ss -ltnp 'sport = :{}' \
             shows it), or choose another with {flag}",
            address.port()
        ))),
        Err(error) => Err(Failure::Failed(
            anyhow::Error::new(error)
                .context(format!("{whose} could not bind {address}; choose another with {flag}")),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_named_with_its_flag() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = taken.local_addr().expect("bound");
        match check_one(address, "nats-server", "--nats-port") {
            Err(Failure::Conflict(text)) => {
                assert!(text.contains(&address.to_string()) && text.contains("--nats-port"), "{text}");
            }
            other => panic!("{other:?}"),
        }
    }
}
