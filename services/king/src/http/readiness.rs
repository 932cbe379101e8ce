//! Readiness: what stands between the King and serving. The writer says it, `/readyz` shows it. A backup serves reads
//! and Git, so it is ready too.

use serde::Serialize;
use std::sync::Arc;
use tokio::sync::watch;

/// One thing that the King waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// For programs: `starting`, `bus-unreachable`.
    pub code: &'static str,
    /// For people: what is waited for, and what to do if it lasts.
    pub detail: String,
}

/// The reasons of now. Cheap to clone; all clones are the same.
#[derive(Clone, Debug)]
pub struct Readiness {
    reasons: Arc<watch::Sender<Vec<Reason>>>,
}

impl Readiness {
    /// Not ready, for this reason.
    pub fn new(code: &'static str, detail: impl Into<String>) -> Self {
        let first = Reason { code, detail: detail.into() };
        Self { reasons: Arc::new(watch::Sender::new(vec![first])) }
    }

    /// A reason holds; an earlier one with this code is replaced.
    pub fn block(&self, code: &'static str, detail: impl Into<String>) {
        let detail = detail.into();
        self.reasons.send_modify(|reasons| {
            reasons.retain(|reason| reason.code != code);
            reasons.push(Reason { code, detail });
        });
    }

    /// The reason with this code holds no more.
    pub fn clear(&self, code: &'static str) {
        self.reasons.send_modify(|reasons| reasons.retain(|reason| reason.code != code));
    }

    /// Every reason of now; empty when the King is ready.
    pub fn reasons(&self) -> Vec<Reason> {
        self.reasons.borrow().clone()
    }

    /// Waits until no reason is left.
    pub async fn ready(&self) {
        let mut reasons = self.reasons.subscribe();
        // The sender lives as long as self, so this ends only by readiness.
        let _ = reasons.wait_for(Vec::is_empty).await;
    }
}
