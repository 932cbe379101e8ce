//! Apply: what an event changes. It cannot fail, and asks neither who is leading nor whether this is a replay.
//!
//! An event about something that the state does not hold changes nothing but the numbers: the log decides, and a
//! reader never panics over it.

mod app;
mod config;
mod instance;
mod servant;
mod command;
mod alert;
mod exec;

use crate::state::State;
use events::event::KingEvent;
use events::{Cause, Commit, Event, EventNumber, Fact};

/// Applies one event.
pub fn apply(state: &mut State, event: &Event) {
    state.last = event.id;
    state.at = event.at;
    remember_sender(state, &event.cause);
    match &event.fact {
        Fact::App(fact) => app::apply(state, event, fact),
        Fact::Version(fact) => app::apply_version(state, event, fact),
        Fact::Release(fact) => app::apply_release(state, event, fact),
        Fact::Config(fact) => config::apply(state, fact),
        Fact::Instance(fact) => instance::apply(state, event, fact),
        Fact::Servant(fact) => servant::apply(state, event, fact),
        Fact::Command(fact) => command::apply(state, event, fact),
        Fact::Alert(fact) => alert::apply(state, event, fact),
        Fact::Exec(fact) => exec::apply(state, event, fact),
        Fact::King(KingEvent::Elected(fact)) => {
            state.epoch = fact.epoch;
            state.king = Some(fact.king);
            state.elected_at = Some(event.at);
            state.keys.extend(fact.key);
        }
        Fact::King(KingEvent::Checkpointed(fact)) => state.checkpoint = Some(fact.checkpoint.mark.event),
    }
}

/// A report that led to an event is known from then on, so that its repetition is seen to be one.
fn remember_sender(state: &mut State, cause: &Cause) {
    match cause {
        Cause::Report(id) => {
            state.senders.insert(id.sender, (id.epoch, id.number));
        }
        Cause::Command(_) | Cause::Tick | Cause::Election => {}
    }
}

/// Why a commit does not follow the state. The log is damaged, or is another log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    #[error("the commit starts with event {found}, but event {wanted} is next")]
    Gap { wanted: EventNumber, found: EventNumber },
    #[error("the commit is of epoch {found}, but epoch {known} has already written")]
    OldEpoch { known: u64, found: u64 },
    #[error("event {found} stands where event {wanted} should")]
    Misnumbered { wanted: EventNumber, found: EventNumber },
    #[error("the commit holds no event")]
    Empty,
}

/// Applies the events of a commit, after checking that it follows the state.
///
/// # Errors
/// When it does not follow; the state is as before.
pub fn apply_commit(state: &mut State, commit: &Commit) -> Result<(), ApplyError> {
    let wanted = state.last + 1;
    if commit.events.is_empty() {
        return Err(ApplyError::Empty);
    }
    if commit.first != wanted {
        return Err(ApplyError::Gap { wanted, found: commit.first });
    }
    if commit.epoch < state.epoch {
        return Err(ApplyError::OldEpoch { known: state.epoch, found: commit.epoch });
    }
    for (wanted, event) in (wanted..).zip(&commit.events) {
        if event.id != wanted {
            return Err(ApplyError::Misnumbered { wanted, found: event.id });
        }
    }
    commit.events.iter().for_each(|event| apply(state, event));
    state.inbox = state.inbox.max(commit.inbox);
    Ok(())
}
