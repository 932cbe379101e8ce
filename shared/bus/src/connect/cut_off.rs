//! Leaving a server that is cut off from the others of its cluster.
//!
//! Such a server greets, answers pings and carries messages among its own clients, so the client library stays with it for
//! ever; but nothing that is stored is reached through it. It gives itself away by what it says about JetStream: nothing, or
//! that the cluster is not available. An election of the others looks the same, and is waited for.

use super::{Bus, Inner, RequestError};
use crate::api::{self, ApiError};
use async_nats::jetstream::ErrorCode;
use serde_json::Value;
use std::sync::Weak;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// How often the server is asked.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long it may be out of touch: longer than the elections of a cluster, which take 4 to 9 s.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long making a connection anew may take before the next look.
const RECONNECTING: Duration = Duration::from_secs(5);

/// Goes to another of so many servers whenever the one that is connected to is cut off. Ends with the connection.
pub(super) async fn leave(connection: Weak<Inner>, servers: usize) {
    let mut in_touch = Instant::now();
    loop {
        sleep(LOOK_EVERY).await;
        let Some(inner) = connection.upgrade() else { return };
        let bus = Bus { inner };
        // A connection that is down is made again by the client library.
        let is_down = !bus.inner.link.borrow().connected;
        if is_down || is_in_touch(&bus).await {
            in_touch = Instant::now();
        } else if in_touch.elapsed() >= PATIENCE {
            try_others(&bus, servers).await;
            in_touch = Instant::now();
        }
    }
}

/// Each try leads to the next server. If all are out of touch, one is as good as the other, and it begins anew after a while.
async fn try_others(bus: &Bus, servers: usize) {
    for _ in 0..servers {
        tracing::warn!(
            server = bus.server(),
            "this nats server is cut off from the others; another is tried"
        );
        if !reconnect(bus).await {
            return;
        }
        if is_in_touch(bus).await {
            tracing::info!(server = bus.server(), "this nats server is in touch with the others");
            return;
        }
    }
}

/// Makes the connection anew; false when that takes too long, and the client library goes on trying. Only what is asked after
/// it is asked of the next server.
async fn reconnect(bus: &Bus) -> bool {
    let mut link = bus.inner.link.clone();
    let cuts = link.borrow().cuts;
    if let Err(error) = bus.inner.client.force_reconnect().await {
        tracing::warn!(%error, "the nats connection cannot be made anew");
        return false;
    }
    let is_anew = link.wait_for(|link| link.connected && link.cuts > cuts);
    matches!(timeout(RECONNECTING, is_anew).await, Ok(Ok(_)))
}

async fn is_in_touch(bus: &Bus) -> bool {
    match api::call::<Value>(bus, "INFO", &Value::Null).await {
        Ok(_) => true,
        Err(error @ ApiError::Refused { .. }) => !error.has_code(ErrorCode::CLUSTER_NOT_AVAILABLE),
        Err(ApiError::Request(error)) => !matches!(error, RequestError::TimedOut { .. }),
        Err(ApiError::Unreadable(_) | ApiError::Client(_)) => true,
    }
}
