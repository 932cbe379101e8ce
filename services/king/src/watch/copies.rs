//! The copies of the log: whether each server that shall have one has all of it.
//!
//! A server whose files are damaged may go on without its copy, and the kingdom with it, until another server fails too.
//! Every King says which one it is; the one that writes sends a notice, so that a mail goes out. It changes nothing.

use crate::http::Metrics;
use crate::status::Status;
use bus::Bus;
use bus::{compare, holes};
use events::notice::{Notice, Standing};
use events::query::KingRole;
use events::{subject, wire};
use service::clock;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

/// How long a copy may be behind: a server that starts catches up meanwhile.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often every server is asked whether its own copy has holes.
const ASK: Duration = Duration::from_secs(10);
/// How long the answers may take: the log itself is looked at meanwhile by nobody.
const ANSWERS: Duration = Duration::from_secs(4);
/// How often the log lines repeat it.
const AGAIN: Duration = Duration::from_secs(60);

/// What is known of the copies.
pub struct Copies {
    status: Status,
    metrics: Arc<Metrics>,
    /// The system user, to whom each server tells of its own copy.
    system: bus::Options,
    /// The servers whose copies have holes, and when they were asked.
    holes: Vec<String>,
    asked: Option<Instant>,
    /// The servers whose copies are not current, or have holes.
    behind: BTreeMap<String, Behind>,
}

struct Behind {
    since: Instant,
    /// When it was said last.
    said: Option<Instant>,
}

impl Copies {
    /// Nothing is known yet.
    pub fn new(status: Status, metrics: Arc<Metrics>, system: bus::Options) -> Self {
        Self { status, metrics, system, holes: Vec::new(), asked: None, behind: BTreeMap::new() }
    }

    /// Asks the server that leads the log, now and then all of them, and says what is new.
    pub(super) async fn look(&mut self, bus: &Bus) {
        let Ok(Some(mut survey)) = compare::survey(bus).await else { return };
        if survey.copies > 1 {
            self.ask_for_holes(bus).await;
            survey.behind.extend(self.holes.iter().cloned());
        }
        let (now, current) = (Instant::now(), |name: &String| !survey.behind.contains(name));
        let well: Vec<_> = self.behind.keys().filter(|name| current(name)).cloned().collect();
        for name in well {
            if self.behind.remove(&name).is_some_and(|behind| behind.said.is_some()) {
                tracing::info!(server = name, "this server has the whole log again");
                self.send(bus, &name, Standing::Over).await;
            }
        }
        for name in survey.behind {
            self.behind.entry(name).or_insert(Behind { since: now, said: None });
        }
        let mut lasting = Vec::new();
        for (name, behind) in &mut self.behind {
            if now - behind.since < PATIENCE {
                continue;
            }
            lasting.push(name.clone());
            if behind.said.is_none_or(|said| now - said >= AGAIN) {
                behind.said = Some(now);
                tracing::error!(reason = finding(name), "a copy of the log is missing");
            }
        }
        self.metrics.log_copies_behind.set(lasting.len() as u64);
        for name in lasting {
            self.send(bus, &name, Standing::Standing).await;
        }
    }

    async fn ask_for_holes(&mut self, bus: &Bus) {
        let now = Instant::now();
        if self.asked.is_some_and(|asked| now - asked < ASK) {
            return;
        }
        self.asked = Some(now);
        match timeout(ANSWERS, holes::servers_with_holes(bus, &self.system)).await {
            Ok(Ok(holes)) => self.holes = holes,
            Ok(Err(error)) => {
                tracing::debug!(reason = service::chain(&error), "the servers do not tell of their copies");
            }
            Err(_) => tracing::debug!("the servers do not tell of their copies in time"),
        }
    }

    async fn send(&self, bus: &Bus, server: &str, standing: Standing) {
        if self.status.role() != KingRole::Writer {
            return;
        }
        let finding = finding(server);
        let notice = Notice {
            id: Uuid::new_v5(&Uuid::NAMESPACE_OID, finding.as_bytes()),
            king: self.status.identity().king,
            at: clock::now(),
            standing,
            finding,
            sequence: 0,
        };
        if let Err(error) = bus.publish(subject::NOTICES, &[], wire::encode(&notice)).await {
            tracing::warn!(%error, "the notice could not be sent");
        }
    }
}

fn finding(server: &str) -> String {
    format!(
        "server {server} has no whole copy of the log: it is down, cannot catch up, or misses commits. See what it says; if its files are \
         damaged and the other servers are well, stop it, move its store away and start it: it takes everything from them"
    )
}
