//! Starts that are under way.

use crate::holder::words::{Said, Slot};
use crate::keeper::{Heard, HeardWhat};
use events::InstanceId;
use std::collections::BTreeSet;

/// So many are many.
const MANY: usize = 8;

/// Starts that were ordered and of which nothing was heard yet.
#[derive(Debug, Default)]
pub(super) struct Starts(BTreeSet<(InstanceId, Slot)>);

impl Starts {
    pub fn ordered(&mut self, instance: InstanceId, slot: Slot) {
        self.0.insert((instance, slot));
    }

    /// It runs, or it could not be started.
    pub fn heard(&mut self, instance: InstanceId, slot: Slot) {
        self.0.remove(&(instance, slot));
    }

    /// Nothing more is said of what was ordered of this instance.
    pub fn forget(&mut self, instance: InstanceId) {
        self.0.retain(|(starting, _)| *starting != instance);
    }

    pub fn are_many(&self) -> bool {
        self.0.len() >= MANY
    }
}

/// Whether a holder says that it, or its process, begins.
pub(super) fn is_of(heard: &Heard) -> bool {
    match &heard.what {
        HeardWhat::Said(Said::State(_) | Said::Started(_)) => true,
        HeardWhat::Said(Said::StartFailed(_) | Said::Exited(_) | Said::Spooled | Said::Left)
        | HeardWhat::Again(_)
        | HeardWhat::Left
        | HeardWhat::Lost(_) => false,
    }
}
