//! Whether this Foreman can hear at all: a server that stands still, or a cut that nobody has noticed yet, makes
//! every servant look silent. So it asks the server itself, more often than servants beat.

use bus::Bus;
use bus::connect::RequestError;
use events::{DomainName, subject};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

/// How often it asks.
const EVERY: Duration = Duration::from_millis(500);
/// How long the server may take. Together shorter than any time after which a servant is called lost.
const PATIENCE: Duration = Duration::from_millis(500);

pub(super) struct Pulse {
    heard: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

impl Pulse {
    pub(super) fn start(bus: &Bus, domain: &DomainName) -> Self {
        let (tell, heard) = watch::channel(true);
        let task = tokio::spawn(ask(bus.clone(), subject::pulse(domain), tell));
        Self { heard, task }
    }

    /// Whether the server answered last time.
    pub(super) fn beats(&self) -> bool {
        *self.heard.borrow()
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn ask(bus: Bus, subject: String, tell: watch::Sender<bool>) {
    let mut every = interval(EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let answer = bus.request(&subject, &[], Vec::new(), PATIENCE).await;
        // That nobody listens is the server's own answer.
        let heard = matches!(answer, Ok(_) | Err(RequestError::NoResponders { .. }));
        if *tell.borrow() != heard {
            tracing::info!(heard, "hearing changed; silence counts only while the server answers");
        }
        tell.send_replace(heard);
    }
}
