//! Events of apps on their way into the outbox of reports; and what was lost, told once a minute.

use super::hub::Hub;
use crate::reports::Reports;
use bus::outbox::{OUTBOX_COUNT, OutboxError};
use events::News;
use events::report::{Emitted, InstanceNews};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, interval_at};

/// Most events that are made durable at once.
const BATCH: usize = 64;
/// The rest of the outbox is for what happens to instances.
const MOST_WAITING: usize = OUTBOX_COUNT / 2;
/// How often what was lost is told in the log.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Keeps events until the hub ends.
pub async fn run(hub: Hub, mut events: mpsc::Receiver<Emitted>, reports: Reports) {
    let mut batch = Vec::with_capacity(BATCH);
    let mut minute = interval_at(Instant::now() + TELL_EVERY, TELL_EVERY);
    loop {
        tokio::select! {
            count = events.recv_many(&mut batch, BATCH) => match count {
                0 => return,
                _ => keep(&hub, &reports, std::mem::take(&mut batch)).await,
            },
            _ = minute.tick() => tell(&hub),
        }
    }
}

async fn keep(hub: &Hub, reports: &Reports, batch: Vec<Emitted>) {
    let mut kept = Vec::new();
    for emitted in batch {
        match push(reports, &emitted) {
            Ok(Some(number)) => kept.push((number, emitted)),
            Ok(None) => hub.give_back(&emitted),
            Err(error) => {
                tracing::error!(%error, "an event of an app is lost");
                hub.give_back(&emitted);
            }
        }
    }
    let numbers: Vec<u64> = kept.iter().map(|(number, _)| *number).collect();
    if let Err(error) = reports.barrier().await {
        // They may be kept all the same: they are not counted as lost.
        tracing::error!(%error, "events of apps may be lost");
    }
    reports.release(&numbers);
}

/// Its number; none when there is no room for it.
fn push(reports: &Reports, emitted: &Emitted) -> Result<Option<u64>, OutboxError> {
    if reports.len() >= MOST_WAITING {
        return Ok(None);
    }
    match reports.push(News::Instance(InstanceNews::Emitted(emitted.clone()))) {
        Ok(number) => Ok(Some(number)),
        Err(OutboxError::Full { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn tell(hub: &Hub) {
    for (instance, counts, last_bad) in hub.news() {
        tracing::warn!(
            %instance,
            taken = counts.taken,
            unreadable = counts.bad,
            dropped = counts.dropped,
            unsent = counts.unsent,
            last_unreadable = last_bad,
            "lines of app events came to nothing within the last minute"
        );
    }
}
