//! The bucket of the lease, asked one thing at a time, each with a bound well below the lease.

use crate::lease::{self, Observation};
use bus::lease::{Held, Lease, Write};
use futures_util::future::BoxFuture;
use std::time::Duration;

/// The part of a lease that one read or write may take.
const PART: u32 = 2;

pub(super) struct Bucket {
    lease: Lease,
    within: Duration,
}

impl Bucket {
    pub fn new(lease: Lease, lasts: Duration) -> Self {
        Self { lease, within: lasts / PART }
    }

    pub fn read(&self) -> BoxFuture<'static, Observation> {
        let (lease, within) = (self.lease.clone(), self.within);
        Box::pin(async move {
            match lease.read(within).await {
                Ok(held) => Observation::Read(held.map(stored)),
                Err(error) => unreachable(&error),
            }
        })
    }

    pub fn write(&self, value: lease::Lease, revision: u64) -> BoxFuture<'static, Observation> {
        let (lease, within) = (self.lease.clone(), self.within);
        Box::pin(async move {
            match lease.write(value.to_string(), revision, within).await {
                Ok(Write::Done(revision)) => Observation::Written { revision },
                Ok(Write::Overtaken) => Observation::Overtaken,
                Err(error) => unreachable(&error),
            }
        })
    }
}

/// A value that is no lease is nobody's: it may be written over, and is never older than any.
fn stored(held: Held) -> lease::Stored {
    let lease = std::str::from_utf8(&held.value).ok().and_then(|text| text.parse().ok());
    let nobody = lease::Lease { holder: None, epoch: 0 };
    lease::Stored { revision: held.revision, lease: lease.unwrap_or(nobody) }
}

fn unreachable(error: &bus::lease::LeaseError) -> Observation {
    tracing::debug!(reason = service::chain(error), "the lease cannot be reached");
    Observation::Unreachable
}
