//! The servers in a ring, each tried after the other: whoever loses one goes to another. Chance would lead back to the same
//! one time in three, and a server that stands still costs a second before it is given up again.

use crate::retry::random;
use async_nats::ServerAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

/// From how many places it may begin: far more than there are servers.
const BEGINNINGS: u32 = 1024;

/// The ring. Begins anywhere, so that many clients spread over the servers.
#[derive(Debug)]
pub(super) struct Ring {
    servers: Vec<ServerAddr>,
    next: AtomicUsize,
}

impl Ring {
    pub fn new(servers: Vec<ServerAddr>) -> Self {
        Self { servers, next: AtomicUsize::new(random(BEGINNINGS) as usize) }
    }

    /// All of them, in no order that counts.
    pub fn servers(&self) -> &[ServerAddr] {
        &self.servers
    }

    /// The server to try; none when there is none at all.
    pub fn next(&self) -> Option<ServerAddr> {
        let count = self.next.fetch_add(1, Ordering::Relaxed);
        self.servers.get(count.checked_rem(self.servers.len())?).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_is_another_and_none_is_left_out() {
        let servers = ["a:1", "b:2", "c:3"].map(|server| server.parse::<ServerAddr>().expect("an address"));
        let ring = Ring::new(servers.to_vec());
        let tried: Vec<_> = (0..6).filter_map(|_| ring.next()).collect();
        assert_eq!(tried.len(), 6);
        assert!(tried.windows(2).all(|pair| pair[0] != pair[1]), "{tried:?}");
        assert!(servers.iter().all(|server| tried[..3].contains(server)), "{tried:?}");
    }
}
