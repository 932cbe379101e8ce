//! Telemetry frames: published without waiting, kept in memory for a while, followed by every King.

use crate::api::ApiError;
use crate::connect::{Bus, PublishError};
use crate::log::patiently;
use crate::provision::{self, Limits};
use crate::stream::{self, StreamInfo};
use crate::tail::{Course, Holes, Tail};
use async_nats::jetstream::ErrorCode;
use events::metric::Frame;
use events::{DomainName, Timestamp, subject};
use std::time::Duration;
use tokio::time::timeout;

/// How long nothing may come before the stream is looked at: it lives in memory, and is gone with its server.
const QUIET: Duration = Duration::from_secs(3);

/// Hands a frame to the connection. Whether it is stored is not told.
///
/// # Errors
/// When the connection is down.
pub async fn publish(bus: &Bus, domain: &DomainName, payload: Vec<u8>) -> Result<(), PublishError> {
    bus.publish(&subject::metric(domain), &[], payload).await
}

/// Follows the frames of all domains, from the oldest that is kept.
pub struct FrameTail {
    bus: Bus,
    limits: Limits,
    tail: Tail,
    /// When the stream that is followed was made.
    made: Option<String>,
}

impl FrameTail {
    /// Follows the stream that was provisioned with these limits.
    pub fn new(bus: &Bus, limits: &Limits) -> Self {
        Self { bus: bus.clone(), limits: limits.clone(), tail: begin(bus), made: None }
    }

    /// The next frame, whenever it comes, and when the server stored it. What is no frame is passed over.
    /// A stream that is gone is made anew. Can be cancelled safely.
    pub async fn next(&mut self) -> (Frame, Timestamp) {
        if self.made.is_none() {
            self.look_at_stream().await;
        }
        loop {
            match timeout(QUIET, self.tail.next()).await {
                Ok(Ok(entry)) => match Frame::decode(&entry.payload) {
                    Ok(frame) => return (frame, entry.stored_at),
                    Err(error) => {
                        tracing::warn!(subject = entry.subject(), %error, "what is no frame is passed over");
                    }
                },
                Ok(Err(error)) => tracing::warn!(%error, "telemetry is not followed; trying again"),
                Err(_) => self.look_at_stream().await,
            }
        }
    }

    /// Frames have stopped: either nobody sends any, or the stream is gone or was replaced.
    async fn look_at_stream(&mut self) {
        match stream::info(&self.bus, subject::METRICS_STREAM).await {
            Ok(info) => self.seen(&info),
            Err(error) if error.has_code(ErrorCode::STREAM_NOT_FOUND) => {
                match provision::renew_metrics(&self.bus, &self.limits).await {
                    Ok(()) => self.tail = begin(&self.bus),
                    Err(error) => {
                        tracing::warn!(%error, "the stream of telemetry is gone and cannot be made anew")
                    }
                }
            }
            Err(error) => tracing::debug!(%error, "the stream of telemetry cannot be looked at"),
        }
    }

    fn seen(&mut self, info: &StreamInfo) {
        let is_another = self.made.as_ref().is_some_and(|made| *made != info.created);
        if is_another || info.state.last_seq < self.tail.last() {
            self.tail = begin(&self.bus);
        }
        self.made = Some(info.created.clone());
    }
}

fn begin(bus: &Bus) -> Tail {
    let course = Course { stream: subject::METRICS_STREAM, filters: Vec::new(), holes: Holes::Natural };
    Tail::new(bus, course, 0)
}

/// How many frames are stored.
///
/// # Errors
/// When the stream does not answer.
pub async fn count(bus: &Bus) -> Result<u64, ApiError> {
    Ok(patiently(|| stream::info(bus, subject::METRICS_STREAM)).await?.state.count)
}
