//! The link as the client library tells of it: whether it is up, and how often it was cut.

use async_nats::Event;
use tokio::sync::watch;

/// The state of the link as the client library tells it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub connected: bool,
    /// How often it was cut.
    pub cuts: u64,
}

/// Takes up what the client library tells.
pub(super) fn note(link: &watch::Sender<Link>, event: Event) {
    match event {
        Event::Connected => {
            tracing::debug!("nats connected");
            link.send_modify(|link| link.connected = true);
        }
        Event::Disconnected | Event::Closed if link.is_closed() => {
            tracing::debug!("nats connection ended: nobody holds it any more");
        }
        Event::Disconnected | Event::Closed => {
            tracing::warn!("nats disconnected");
            link.send_modify(|link| {
                link.connected = false;
                link.cuts += 1;
            });
        }
        Event::SlowConsumer(subscription) => {
            tracing::error!(subscription, "nats messages dropped: a subscription of this process is full");
        }
        Event::ServerError(error) => tracing::warn!(%error, "nats server error"),
        Event::ClientError(error) => tracing::warn!(%error, "nats client error"),
        Event::LameDuckMode => tracing::warn!("the nats server is about to shut down"),
        Event::Draining => tracing::debug!("nats draining"),
    }
}

/// Tells when the connection is cut.
pub(crate) struct Cuts {
    pub(super) link: watch::Receiver<Link>,
    pub(super) seen: u64,
}

impl Cuts {
    /// Waits for the next cut.
    pub(crate) async fn next(&mut self) {
        cut(&mut self.link, self.seen).await;
    }
}

/// Waits until it was cut oftener than was seen.
pub(super) async fn cut(link: &mut watch::Receiver<Link>, seen: u64) {
    if link.wait_for(|link| link.cuts != seen).await.is_err() {
        std::future::pending::<()>().await;
    }
}
