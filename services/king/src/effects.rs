//! Effects: what the King writes for others from confirmed events. Each is safe to repeat and picks up where the
//! stored result ends.

use crate::http::{Metrics, Readiness};
use crate::kingdom::Kingdom;
use bus::Bus;
use bus::inbox::Inbox;
use bus::public_events::{PublicEventError, Publisher};
use bus::views::{ViewError, Views};
use events::subject::{assignment_key, domain_key, execs_key};
use events::view::{Stamp, Stamped};
use events::{Event, EventNumber, wire};
use futures_util::FutureExt;
use realm::State;
use realm::project::{self, ViewKey};
use service::shutdown::Shutdown;
use std::sync::Arc;
use std::time::Duration;

/// Most events that are handed to the publisher at once.
const PUBLISH_AT_ONCE: usize = 1024;
/// How long events are collected before they are published: each wakes the server and syncs its disk, which the next command
/// of whoever waits for one answer after the other needs too.
const COLLECT: Duration = Duration::from_millis(25);
/// How many between two rests while the writer is busy: each is a message of its own that the server syncs by itself, on the disk that
/// the commits wait for. Public events may lag; commits and answers must not.
const PUBLISH_WHILE_BUSY: usize = 16;
/// How long the publisher then rests.
const BUSY_REST: Duration = Duration::from_millis(250);
/// How often worked-off messages of the inbox are forgotten.
const PURGE_INTERVAL: Duration = Duration::from_secs(60);
/// How often the link to NATS is looked at.
const LINK_CHECK: Duration = Duration::from_millis(250);
/// How long to wait before something that failed is tried again.
const RETRY_DELAY: Duration = Duration::from_millis(250);

/// Why effects ended: another King is ahead of this one.
#[derive(Debug, thiserror::Error)]
pub enum EffectError {
    #[error("a view of a later King was met")]
    Superseded(#[source] ViewError),
}

/// Writes views as they become stale. Values are coalesced: what changed twice before it was written is written once.
///
/// # Errors
/// When a later King's view is met.
pub async fn write_views(
    bus: Bus,
    kingdom: Kingdom,
    metrics: Arc<Metrics>,
    shutdown: Shutdown,
) -> Result<(), EffectError> {
    let views = loop {
        match Views::open(&bus).await {
            Ok(views) => break views,
            Err(error) => tracing::warn!(%error, "views cannot be opened; tried again"),
        }
        if rest(&shutdown).await.is_break() {
            return Ok(());
        }
    };
    mark_orphans(&views, &kingdom).await;
    loop {
        let keys = tokio::select! {
            keys = kingdom.stale_views() => keys,
            () = shutdown.requested() => return Ok(()),
        };
        for key in keys {
            let (name, bytes, stamp) = kingdom.read(|state| view(state, &key));
            match views.put(&name, bytes, stamp).await {
                Ok(()) => {
                    metrics.views_written.inc();
                }
                Err(error @ ViewError::Superseded { .. }) => return Err(EffectError::Superseded(error)),
                Err(error) => {
                    tracing::warn!(%error, key = name, "view was not written; tried again");
                    kingdom.mark_stale(key);
                    if rest(&shutdown).await.is_break() {
                        return Ok(());
                    }
                }
            }
        }
    }
}

/// Views of servants and domains that are no more: an earlier King may have died before it emptied them.
async fn mark_orphans(views: &Views, kingdom: &Kingdom) {
    match views.keys().await {
        Ok(keys) => keys.iter().filter_map(|key| parse_view_key(key)).for_each(|key| {
            if !kingdom.read(|state| project::all(state).contains(&key)) {
                kingdom.mark_stale(key);
            }
        }),
        Err(error) => {
            tracing::warn!(
                reason = service::chain(&error),
                "views of servants that are gone were not looked for"
            );
        }
    }
}

fn parse_view_key(key: &str) -> Option<ViewKey> {
    let (kind, name) = key.split_once('.')?;
    match kind {
        "assignment" => name.parse().ok().map(ViewKey::Assignment),
        "exec" => name.parse().ok().map(ViewKey::Execs),
        "domain" => name.parse().ok().map(ViewKey::Domain),
        _ => None,
    }
}

/// The name of a view, its bytes as of a state, and their stamp.
pub fn view(state: &State, key: &ViewKey) -> (String, Vec<u8>, Stamp) {
    let stamp = Kingdom::stamp(state);
    match key {
        ViewKey::Assignment(servant) => {
            let view = project::assignment(state, *servant);
            (assignment_key(*servant), wire::encode(&Stamped { stamp, view }), stamp)
        }
        ViewKey::Execs(servant) => {
            let view = project::execs(state, *servant);
            (execs_key(*servant), wire::encode(&Stamped { stamp, view }), stamp)
        }
        ViewKey::Domain(domain) => {
            let view = project::domain(state, domain);
            (domain_key(domain), wire::encode(&Stamped { stamp, view }), stamp)
        }
    }
}

async fn rest(shutdown: &Shutdown) -> std::ops::ControlFlow<()> {
    tokio::select! {
        () = tokio::time::sleep(RETRY_DELAY) => std::ops::ControlFlow::Continue(()),
        () = shutdown.requested() => std::ops::ControlFlow::Break(()),
    }
}

/// Publishes every event on its own subject, in order and once, from the last one that is stored there.
pub async fn publish_events(bus: Bus, kingdom: Kingdom, metrics: Arc<Metrics>, shutdown: Shutdown) {
    while !shutdown.is_requested() {
        let ended = tokio::select! {
            ended = publish_on(&bus, &kingdom, &metrics) => ended,
            () = shutdown.requested() => return,
        };
        if let Err(error) = ended {
            let reason = service::chain(&error);
            tracing::warn!(reason, "public events lag; tried again from the last that is stored");
        }
        if rest(&shutdown).await.is_break() {
            return;
        }
    }
}

/// Forgets the messages of the inbox that stored commits have worked off.
pub async fn purge_inbox(bus: Bus, kingdom: Kingdom, shutdown: Shutdown) {
    let mut purged = 0;
    loop {
        tokio::select! {
            () = tokio::time::sleep(PURGE_INTERVAL) => {}
            () = shutdown.requested() => return,
        }
        let done = kingdom.read(|state| state.inbox);
        if done == purged {
            continue;
        }
        let result = async { Inbox::open(&bus).await?.purge_up_to(done).await }.await;
        match result {
            Ok(()) => purged = done,
            Err(error) => {
                tracing::warn!(reason = service::chain(&error), "inbox was not purged; tried again later")
            }
        }
    }
}

/// Says in the readiness whether NATS can be reached.
pub async fn watch_link(bus: Bus, readiness: Readiness, shutdown: Shutdown) {
    let code = "bus-unreachable";
    let mut check = tokio::time::interval(LINK_CHECK);
    while !shutdown.is_requested() {
        tokio::select! {
            _ = check.tick() => {}
            () = shutdown.requested() => return,
        }
        let blocked = readiness.reasons().iter().any(|reason| reason.code == code);
        match (bus.is_connected(), blocked) {
            (true, true) => readiness.clear(code),
            (false, false) => {
                readiness.block(code, "the link to NATS is down; the King connects again by itself")
            }
            (true, false) | (false, true) => {}
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum PublishError {
    #[error(transparent)]
    Bus(#[from] PublicEventError),
    #[error(
        "stream KING_EVENTS ends with event {last}, but the log with {end}: it belongs to another log. Delete it; it is \
         made anew from the log at the next start"
    )]
    Ahead { last: EventNumber, end: EventNumber },
    #[error("the events cannot be followed")]
    Feed(#[from] crate::feed::FeedError),
}

async fn publish_on(bus: &Bus, kingdom: &Kingdom, metrics: &Metrics) -> Result<(), PublishError> {
    let mut publisher = Publisher::open(bus).await?;
    let last = publisher.last_published().await?;
    let end = newest(kingdom);
    if last > end {
        return Err(PublishError::Ahead { last, end });
    }
    metrics.published_event_number.set(last);
    let mut follow = kingdom.feed().follow(last);
    loop {
        let mut batch: Vec<Event> = follow.next().await?.to_vec();
        tokio::time::sleep(COLLECT).await;
        while batch.len() < PUBLISH_AT_ONCE
            && let Some(more) = follow.next().now_or_never()
        {
            batch.extend_from_slice(&more?);
        }
        for part in batch.chunks(PUBLISH_WHILE_BUSY) {
            let last = publisher.publish(part).await?;
            metrics.published_event_number.set(last);
            if kingdom.is_busy() {
                tokio::time::sleep(BUSY_REST).await;
            }
        }
    }
}

fn newest(kingdom: &Kingdom) -> EventNumber {
    kingdom.feed().newest().map_or(0, |newest| newest.event)
}
