//! What the outcomes of commands change: they are remembered.

use crate::state::{State, StoredOutcome};
use events::event::CommandEvent;
use events::{Event, Outcome};

pub(super) fn apply(state: &mut State, event: &Event, fact: &CommandEvent) {
    let (id, command, outcome) = match fact {
        CommandEvent::Accepted(fact) => {
            (&fact.id, &fact.command, Outcome::Accepted { event: event.id, release: fact.release })
        }
        CommandEvent::Refused(fact) => {
            let outcome = Outcome::Refused { event: Some(event.id), refusal: fact.refusal.clone() };
            (&fact.id, &fact.command, outcome)
        }
    };
    let stored = StoredOutcome { command: command.clone(), at: event.at, outcome };
    state.outcomes.insert(id.clone(), event.id, stored);
}
