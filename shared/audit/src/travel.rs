//! Time travel: the state as it was, from the newest snapshot before the moment and the commits after it.

use crate::history::{History, HistoryError};
use events::query::{Moment, StateItem};
use events::{Event, EventNumber};
use realm::State;

/// Why there is no state of a moment.
#[derive(Debug, thiserror::Error)]
pub enum TravelError {
    #[error("event {wanted} has not happened; the newest is {last}")]
    Future { wanted: EventNumber, last: EventNumber },
    #[error("the past cannot be read")]
    History(#[from] HistoryError),
}

/// The state after an event, or at a time. A time in the future gives the newest state.
///
/// # Errors
/// When the event has not happened, or the past cannot be read.
pub fn state_at(history: &impl History, moment: Moment) -> Result<State, TravelError> {
    match moment {
        Moment::Event(wanted) => {
            let last = history.newest();
            if wanted > last {
                return Err(TravelError::Future { wanted, last });
            }
            let sequence = if wanted == 0 { 0 } else { history.sequence_of_event(wanted)? };
            Ok(fold(history, sequence.saturating_sub(1), |event| event.id <= wanted)?)
        }
        Moment::Time(at) => {
            let sequence = history.sequence_of_time(at)?;
            Ok(fold(history, sequence, |event| event.at <= at)?)
        }
    }
}

/// Folds all commits up to `whole`, and of the one after it the events that are let through.
fn fold(history: &impl History, whole: u64, wanted: impl Fn(&Event) -> bool) -> Result<State, HistoryError> {
    let (mut reached, mut state) = match history.snapshot_before(whole)? {
        Some(snapshot) => (snapshot.place.sequence, snapshot.state),
        None => (0, State::default()),
    };
    for stored in history.commits(reached)? {
        let stored = stored?;
        let commit = stored.read()?;
        if stored.sequence > whole {
            commit
                .events
                .iter()
                .take_while(|event| wanted(event))
                .for_each(|event| realm::apply(&mut state, event));
            break;
        }
        reached = stored.sequence;
        realm::apply_commit(&mut state, &commit)
            .map_err(|source| HistoryError::Broken { sequence: reached, source })?;
    }
    if reached < whole {
        return Err(HistoryError::Missing { sequence: reached + 1 });
    }
    Ok(state)
}

/// What a state is as a whole.
pub fn describe(state: &State) -> StateItem {
    let count = |number: usize| number as u64;
    StateItem {
        event: state.last,
        at: state.at,
        epoch: state.epoch,
        king: state.king,
        state_hash: state.hash(),
        apps: count(state.apps.len()),
        versions: state.apps.values().map(|app| count(app.versions.len())).sum(),
        releases: state.apps.values().map(|app| count(app.releases.len())).sum(),
        instances: count(state.instances.len()),
        servants: count(state.servants.len()),
        lost: count(state.servants.values().filter(|servant| servant.lost).count()),
        config: state.config.scopes.values().map(|scope| count(scope.len())).sum(),
        alerts: count(state.mails.len()),
    }
}
