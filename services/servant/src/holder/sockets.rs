//! The sockets that an instance listens on, bound once and kept while its processes come and go. The connections that
//! wait in them wait on over a restart.

use super::words::SocketOrder;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, ipproto, listen, socket_with, sockopt};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What is listened on, by where and under which name.
#[derive(Default)]
pub struct Sockets {
    open: BTreeMap<SocketOrder, OwnedFd>,
}

/// Why a socket could not be had.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    #[error("a stranger listens on {0}")]
    Taken(SocketAddr),
    #[error("could not listen on {address}: {error}")]
    Failed { address: SocketAddr, error: io::Error },
}

impl SocketError {
    /// The port that a stranger has.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Taken(address) => Some(address.port()),
            Self::Failed { .. } => None,
        }
    }
}

impl Sockets {
    /// Listens on all of these and no others. Those that were open already stay as they are.
    ///
    /// # Errors
    /// When one cannot be had: then those that were open stay, and no more.
    pub fn want(&mut self, orders: &[SocketOrder]) -> Result<(), SocketError> {
        let mut fresh = BTreeMap::new();
        for order in orders.iter().filter(|order| !self.open.contains_key(order)) {
            fresh.insert(order.clone(), open(order)?);
        }
        self.open.retain(|order, _| orders.contains(order));
        self.open.extend(fresh);
        Ok(())
    }

    /// The open sockets in the order in which they were asked for.
    pub fn handed<'a>(&'a self, orders: &'a [SocketOrder]) -> Vec<(&'a str, BorrowedFd<'a>)> {
        let open = |order: &'a SocketOrder| Some((order.name.as_str(), self.open.get(order)?.as_fd()));
        orders.iter().filter_map(open).collect()
    }
}

fn open(order: &SocketOrder) -> Result<OwnedFd, SocketError> {
    let address = order.address;
    try_open(order).map_err(|error| match error {
        Errno::ADDRINUSE => SocketError::Taken(address),
        other => SocketError::Failed { address, error: other.into() },
    })
}

fn try_open(order: &SocketOrder) -> Result<OwnedFd, Errno> {
    let family = if order.address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, Some(ipproto::TCP))?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &order.address)?;
    listen(&socket, i32::from(order.backlog))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(name: &str, port: u16) -> SocketOrder {
        SocketOrder { name: name.into(), address: SocketAddr::from(([127, 0, 0, 1], port)), backlog: 8 }
    }

    fn free_port() -> u16 {
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    #[test]
    fn a_socket_is_kept_while_it_is_named() {
        let (first, second) = (order("http", free_port()), order("admin", free_port()));
        let mut sockets = Sockets::default();
        sockets.want(std::slice::from_ref(&first)).unwrap();
        let client = std::net::TcpStream::connect(first.address).unwrap();
        sockets.want(&[second.clone(), first.clone()]).unwrap();
        let orders = [second.clone(), first.clone()];
        let names: Vec<&str> = sockets.handed(&orders).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["admin", "http"]);
        // The connection of before still waits in it.
        rustix::net::accept(sockets.handed(&orders)[1].1).unwrap();
        drop(client);
        sockets.want(std::slice::from_ref(&second)).unwrap();
        std::net::TcpStream::connect(first.address).unwrap_err();
    }

    #[test]
    fn a_port_of_a_stranger_is_named() {
        let stranger = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = stranger.local_addr().unwrap().port();
        let mut sockets = Sockets::default();
        let error = sockets.want(&[order("http", port)]).unwrap_err();
        assert_eq!(error.port(), Some(port));
        assert_eq!(error.to_string(), format!("a stranger listens on 127.0.0.1:{port}"));
    }
}
