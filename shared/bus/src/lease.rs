//! The lease: one key that says which King writes, or tries first to. It is no lock; the fence of the log is what
//! makes writing safe, and a lease that is lost is made anew.
//!
//! Every call is one attempt with a bound of its own: whoever counts time by it must know at once that it does not know.

use crate::api::{self, ApiError};
use crate::connect::{Bus, RequestError};
use crate::provision::{self, Limits, ProvisionError};
use crate::stream;
use crate::views::EXPECTED_REVISION;
use async_nats::jetstream::ErrorCode;
use bytes::Bytes;
use events::subject::LEASE_BUCKET;
use std::time::Duration;
use tokio::time::timeout;

/// The stream behind the bucket.
pub(crate) const LEASE_STREAM: &str = "KV_KING_LEASE";
/// The one key of the bucket.
const KEY: &str = "king";

/// Why the lease could not be read or written now. Whether a write was done is unknown.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    #[error("the lease (bucket {LEASE_BUCKET}) cannot be {tried}")]
    Api {
        /// What was tried: read, written.
        tried: &'static str,
        #[source]
        source: ApiError,
    },
    #[error("the lease (bucket {LEASE_BUCKET}) gave no answer within {waited:?}")]
    TimedOut { waited: Duration },
    #[error("the bucket of the lease was lost and cannot be made anew")]
    Lost(#[source] ProvisionError),
}

/// The value of the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Grows with every write.
    pub revision: u64,
    pub value: Bytes,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// It is stored under this revision.
    Done(u64),
    /// The key is at another revision, or the bucket is gone: read it.
    Overtaken,
}

/// The key.
#[derive(Clone, Debug)]
pub struct Lease {
    bus: Bus,
    limits: Limits,
}

impl Lease {
    /// The lease in the bucket that was provisioned with these limits.
    pub fn new(bus: &Bus, limits: &Limits) -> Self {
        Self { bus: bus.clone(), limits: limits.clone() }
    }

    /// The key as it is, from the bucket's leader; none when there is none. A bucket that is gone is made anew.
    ///
    /// # Errors
    /// When there is no answer in time.
    pub async fn read(&self, within: Duration) -> Result<Option<Held>, LeaseError> {
        let subject = subject();
        let read = timeout(within, stream::read_last(&self.bus, LEASE_STREAM, &subject)).await;
        match read.map_err(|_| LeaseError::TimedOut { waited: within })? {
            Ok(stored) => Ok(stored.map(|stored| Held { revision: stored.sequence, value: stored.payload })),
            Err(error) if error.has_code(ErrorCode::STREAM_NOT_FOUND) => {
                provision::renew_lease(&self.bus, &self.limits).await.map_err(LeaseError::Lost)?;
                Ok(None)
            }
            Err(source) => Err(LeaseError::Api { tried: "read", source }),
        }
    }

    /// Writes the key if it is at this revision; 0 for a key that is not there.
    ///
    /// # Errors
    /// When it is not clear whether it was written.
    pub async fn write(
        &self,
        value: impl Into<Bytes>,
        revision: u64,
        within: Duration,
    ) -> Result<Write, LeaseError> {
        let revision = revision.to_string();
        let headers = [(EXPECTED_REVISION, revision.as_str())];
        match api::publish_within(&self.bus, &subject(), &headers, value.into(), within).await {
            Ok(stored) => Ok(Write::Done(stored.sequence)),
            Err(error) if error.has_code(ErrorCode::STREAM_WRONG_LAST_SEQUENCE) => Ok(Write::Overtaken),
            Err(ApiError::Request(RequestError::NoResponders { .. })) => Ok(Write::Overtaken),
            Err(source) => Err(LeaseError::Api { tried: "written", source }),
        }
    }
}

fn subject() -> String {
    format!("$KV.{LEASE_BUCKET}.{KEY}")
}
