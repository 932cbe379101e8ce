//! Ports of a test: a block that no other test on this machine uses at the same time, below the ephemeral ports.

use rustix::process::getuid;
use std::fs::{File, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

const FIRST: u16 = 10_000;
const BLOCK: u16 = 40;
const BLOCKS: u16 = 240;

/// A block of ports, held until this value is dropped.
#[derive(Debug)]
pub struct Ports {
    first: u16,
    _lock: File,
}

impl Ports {
    /// Reserves a block.
    ///
    /// # Panics
    /// When all are in use.
    pub fn reserve() -> Self {
        let folder = std::env::temp_dir().join(format!("king-test-ports-{}", getuid().as_raw()));
        std::fs::create_dir_all(&folder).expect("the temporary folder can be written");
        let start =
            u16::try_from(std::process::id() % u32::from(BLOCKS)).expect("below the number of blocks");
        for index in (0..BLOCKS).map(|step| (start + step) % BLOCKS) {
            let path = folder.join(index.to_string());
            let lock = OpenOptions::new().write(true).create(true).truncate(false).open(path);
            let first = FIRST + index * BLOCK;
            if let Ok(lock) = lock
                && lock.try_lock().is_ok()
                && (first..first + BLOCK).all(is_free)
            {
                return Self { first, _lock: lock };
            }
        }
        panic!("every block of test ports is in use; see {}", folder.display());
    }

    /// For nats-server.
    pub fn nats(&self) -> u16 {
        self.first
    }

    /// For the King's HTTP.
    pub fn http(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.first + 1).into()
    }

    /// For the HTTP of a King; the first has the usual one.
    pub fn http_of(&self, king: u16) -> SocketAddr {
        let port = if king == 0 { self.first + 1 } else { self.first + 2 + king };
        (Ipv4Addr::LOCALHOST, port).into()
    }

    /// For a server of the test's own.
    pub fn spare(&self) -> u16 {
        self.first + 2
    }

    /// For the clients of one of three servers that have the block to themselves.
    pub fn client(&self, server: usize) -> u16 {
        self.nth(server)
    }

    /// For the routes of one of three servers.
    pub fn route(&self, server: usize) -> u16 {
        self.nth(10 + server)
    }

    /// Where nobody listens.
    pub fn nowhere(&self, server: usize) -> u16 {
        self.nth(20 + server)
    }

    fn nth(&self, index: usize) -> u16 {
        self.first + u16::try_from(index).expect("within the block")
    }

    /// For the instances of servant `index` of so many, both ends included.
    pub fn of_servant(&self, index: u16, of: u16) -> (u16, u16) {
        let each = (BLOCK - 6) / of;
        let first = self.first + 6 + index * each;
        (first, first + each - 1)
    }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}
