//! The inbox: commands left to be done. The writer follows it, and each commit records how far it came.

use crate::api::ApiError;
use crate::connect::Bus;
use crate::log::patiently;
use crate::stream;
use crate::tail::{Course, Holes, Tail};
use events::subject::INBOX_STREAM;

/// Why the inbox could not be used.
#[derive(Debug, thiserror::Error)]
#[error("the inbox (stream {INBOX_STREAM}) cannot be {tried}")]
pub struct InboxError {
    /// What was tried: opened, read, purged.
    pub tried: &'static str,
    #[source]
    pub source: ApiError,
}

/// The inbox.
#[derive(Clone, Debug)]
pub struct Inbox {
    bus: Bus,
    created_at: String,
}

impl Inbox {
    /// Opens the inbox that was provisioned.
    ///
    /// # Errors
    /// When the stream is not there or does not answer.
    pub async fn open(bus: &Bus) -> Result<Self, InboxError> {
        let info = patiently(|| stream::info(bus, INBOX_STREAM)).await.map_err(at("opened"))?;
        Ok(Self { bus: bus.clone(), created_at: info.created })
    }

    /// When the stream was made, as the server writes it (RFC 3339): with a sequence it names one message for ever.
    pub fn created_at(&self) -> &str {
        &self.created_at
    }

    /// Follows the inbox from the message after sequence `after`. What was purged is passed over.
    pub fn tail(&self, after: u64) -> Tail {
        let course = Course { stream: INBOX_STREAM, filters: Vec::new(), holes: Holes::Natural };
        Tail::new(&self.bus, course, after)
    }

    /// The sequence of the last message that was ever stored; 0 when none was.
    ///
    /// # Errors
    /// When the stream does not answer.
    pub async fn last_sequence(&self) -> Result<u64, InboxError> {
        let info = patiently(|| stream::info(&self.bus, INBOX_STREAM)).await.map_err(at("read"))?;
        Ok(info.state.last_seq)
    }

    /// Forgets all messages up to and with this sequence. Call it only with what a commit has recorded.
    ///
    /// # Errors
    /// When the stream does not answer.
    pub async fn purge_up_to(&self, sequence: u64) -> Result<(), InboxError> {
        patiently(|| stream::purge_up_to(&self.bus, INBOX_STREAM, sequence)).await.map_err(at("purged"))
    }
}

fn at(tried: &'static str) -> impl Fn(ApiError) -> InboxError {
    move |source| InboxError { tried, source }
}
