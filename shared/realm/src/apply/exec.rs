//! What events about runs change.

use crate::state::{Exec, ExecRun, State};
use events::event::{ExecEnded, ExecEvent, ExecRequested};
use events::exec::{ExecEnd, ExecOutcome};
use events::{Event, ServantId, Timestamp};

pub(super) fn apply(state: &mut State, event: &Event, fact: &ExecEvent) {
    match fact {
        ExecEvent::Requested(fact) => request(state, event, fact),
        ExecEvent::Cancelled(fact) => {
            if let Some(exec) = state.execs.0.get_mut(&fact.exec) {
                exec.cancelled_by = Some(event.actor.clone());
            }
        }
        ExecEvent::Ended(fact) => end(state, event.at, fact),
    }
}

fn request(state: &mut State, event: &Event, fact: &ExecRequested) {
    if let Some(forgotten) = state.execs.forgotten_next() {
        state.execs.0.remove(&forgotten);
    }
    let exec = Exec {
        number: event.id,
        at: event.at,
        actor: event.actor.clone(),
        requested: fact.clone(),
        cancelled_by: None,
        runs: fact.servants.iter().map(|servant| (*servant, ExecRun::default())).collect(),
    };
    state.execs.0.insert(fact.exec, exec);
}

fn end(state: &mut State, at: Timestamp, fact: &ExecEnded) {
    let exec = state.execs.0.get_mut(&fact.exec);
    if let Some(run) = exec.and_then(|exec| exec.runs.get_mut(&fact.servant)) {
        run.ended = Some((at, fact.outcome.clone()));
    }
}

/// Nobody will ever say how what went on on a servant ended that is part of the kingdom no more.
pub(super) fn abandon(state: &mut State, servant: ServantId, at: Timestamp) {
    for exec in state.execs.0.values_mut() {
        let Some(run) = exec.runs.get_mut(&servant).filter(|run| run.ended.is_none()) else { continue };
        let outcome = ExecOutcome {
            end: ExecEnd::Lost("its servant was removed".into()),
            duration_ms: at.0.saturating_sub(exec.at.0),
            output_bytes: 0,
            discarded_bytes: 0,
        };
        run.ended = Some((at, outcome));
    }
}
