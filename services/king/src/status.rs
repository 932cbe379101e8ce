//! Who this King is and what it does, as it tells others: `king.query.king.ls`, `/readyz`, the metrics.

use crate::http::{Metrics, Readiness};
use crate::kingdom::Kingdom;
use events::query::{KingPlace, KingRole};
use events::{EventNumber, KingId, KingName};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::watch;

/// Why a King that has just started is not ready.
const STARTING: &str = "starting";

/// What never changes while the process lives.
#[derive(Clone, Debug)]
pub struct Identity {
    pub king: KingId,
    pub name: KingName,
    pub http: SocketAddr,
}

impl Identity {
    /// Its place among the Kings: with what it does, the epoch that it has seen, and the newest event and commit.
    pub fn place(&self, role: KingRole, epoch: u64, event: EventNumber, sequence: u64) -> KingPlace {
        KingPlace {
            king: self.king,
            name: self.name.clone(),
            role,
            epoch,
            event,
            sequence,
            http: self.http.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// The status. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct Status {
    identity: Arc<Identity>,
    role: Arc<watch::Sender<KingRole>>,
    kingdom: Kingdom,
    readiness: Readiness,
    metrics: Arc<Metrics>,
}

impl Status {
    /// A King that starts.
    pub fn new(identity: Identity, kingdom: Kingdom, readiness: Readiness, metrics: Arc<Metrics>) -> Self {
        let role = KingRole::Starting;
        metrics.set_role(role);
        let role = Arc::new(watch::Sender::new(role));
        Self { identity: Arc::new(identity), role, kingdom, readiness, metrics }
    }

    /// Who it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// What it does.
    pub fn role(&self) -> KingRole {
        *self.role.borrow()
    }

    /// It does something else from now on. Whoever reads or writes finds a King that writes once this one is no more
    /// starting: so it is ready.
    pub fn set_role(&self, role: KingRole) {
        if self.role.send_replace(role) == role {
            return;
        }
        tracing::info!(role = %role, "this King has another role");
        self.metrics.set_role(role);
        match role {
            KingRole::Stopped | KingRole::Starting | KingRole::Electing => {}
            KingRole::Backup | KingRole::Writer => self.readiness.clear(STARTING),
        }
    }

    /// Its place among the Kings.
    pub fn place(&self) -> KingPlace {
        let (epoch, event) = self.kingdom.read(|state| (state.epoch, state.last));
        let sequence = self.kingdom.feed().newest().map_or(0, |newest| newest.sequence);
        self.identity.place(self.role(), epoch, event, sequence)
    }
}
