//! The King's view of the domain, newest, from a task of its own: what waits here never holds up what is heard.

use bus::Bus;
use bus::views::Views;
use events::view::{Domain, Stamped};
use events::{DomainName, subject};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// How often a bucket that is not there yet is looked for: the King makes it.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

pub(super) struct View {
    newest: watch::Receiver<Option<Domain>>,
    task: JoinHandle<()>,
}

impl View {
    pub(super) fn start(bus: &Bus, domain: &DomainName) -> Self {
        let (tell, newest) = watch::channel(None);
        let task = tokio::spawn(follow(bus.clone(), subject::domain_key(domain), tell));
        Self { newest, task }
    }

    /// The next view; none when there is no such domain any more. Can be cancelled.
    pub(super) async fn next(&mut self) -> Option<Domain> {
        self.newest.changed().await.expect("the task ends with this value only");
        self.newest.borrow_and_update().clone()
    }
}

impl Drop for View {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(bus: Bus, key: String, tell: watch::Sender<Option<Domain>>) {
    let views = loop {
        match Views::open(&bus).await {
            Ok(views) => break views,
            Err(error) => tracing::info!(%error, "waits for the King to make the views"),
        }
        sleep(LOOK_AGAIN).await;
    };
    let mut watch = views.watch(&key);
    loop {
        let Some(bytes) = watch.next().await else {
            tell.send_replace(None);
            continue;
        };
        match events::wire::decode::<Stamped<Domain>>(&bytes) {
            Ok(stamped) => drop(tell.send_replace(Some(stamped.view))),
            Err(error) => {
                tracing::error!(key, reason = error.reason(), "view cannot be read; the last one stands")
            }
        }
    }
}
