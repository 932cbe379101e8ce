//! The outcomes of commands: a command id runs once, and its answer can be asked for again.

use events::limits::{OUTCOME_AGE_MS, OUTCOMES, OUTCOMES_ALWAYS_KEPT};
use events::{CommandId, EventNumber, Outcome, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The outcomes, bounded by age and by number. Age is measured by the log's own time, so every King forgets the same.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcomes {
    /// Boxed, so that the nodes of the tree stay small.
    by_id: BTreeMap<CommandId, Box<StoredOutcome>>,
    by_event: BTreeMap<EventNumber, CommandId>,
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredOutcome {
    /// `<noun>.<verb>`.
    pub command: String,
    pub at: Timestamp,
    pub outcome: Outcome,
}

impl Outcomes {
    /// The outcome of a command, if it is remembered.
    pub fn get(&self, id: &CommandId) -> Option<&StoredOutcome> {
        self.by_id.get(id).map(Box::as_ref)
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether none is remembered.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub(crate) fn insert(&mut self, id: CommandId, event: EventNumber, stored: StoredOutcome) {
        let now = stored.at;
        self.by_event.insert(event, id.clone());
        self.by_id.insert(id, Box::new(stored));
        while let Some((&oldest, id)) = self.by_event.first_key_value() {
            let aged = self.by_id.get(id).is_none_or(|stored| now.since(stored.at) > OUTCOME_AGE_MS);
            // A clock that jumps ages everything at once; the newest stay all the same.
            let surplus = self.by_id.len() > if aged { OUTCOMES_ALWAYS_KEPT } else { OUTCOMES };
            if !surplus {
                return;
            }
            self.by_id.remove(id);
            self.by_event.remove(&oldest);
        }
    }
}
