//! What events about alert mails change.

use crate::state::{PlannedMail, State};
use events::Event;
use events::event::AlertEvent;

pub(super) fn apply(state: &mut State, event: &Event, fact: &AlertEvent) {
    match fact {
        AlertEvent::Planned(fact) => {
            let mail =
                PlannedMail { incident: fact.incident.clone(), subject: fact.subject.clone(), at: event.at };
            state.mails.insert(fact.mail, mail);
        }
        AlertEvent::Sent(fact) => {
            state.mails.remove(&fact.mail);
        }
        AlertEvent::Failed(fact) => {
            state.mails.remove(&fact.mail);
        }
    }
}
