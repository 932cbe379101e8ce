//! Decisions about what Kings sign.

use super::Consent;
use super::refuse::refusal;
use crate::state::State;
use events::command::RecordCheckpoint;
use events::event::KingCheckpointed;
use events::{Fact, Refusal, RefusalCode};

pub(super) fn checkpoint(state: &State, order: &RecordCheckpoint) -> Result<Consent, Refusal> {
    let checkpoint = order.checkpoint;
    if !state.keys.contains(&checkpoint.key) {
        let rule = format!("no King with the key {} was ever elected", checkpoint.key);
        return Err(refusal(RefusalCode::Unknown, "checkpoint.key", rule, "only Kings sign checkpoints"));
    }
    if !checkpoint.is_genuine() {
        let rule = "it is not the signature of that key over the mark";
        return Err(refusal(
            RefusalCode::Invalid,
            "checkpoint.signature",
            rule,
            "only Kings sign checkpoints",
        ));
    }
    let (event, last) = (checkpoint.mark.event, state.last);
    if event > last || state.checkpoint.is_some_and(|known| event <= known) {
        let known = state.checkpoint.unwrap_or_default();
        let rule = format!("event {event} is not between the last checkpoint ({known}) and the end ({last})");
        return Err(refusal(RefusalCode::Conflict, "checkpoint.mark.event", rule, "sign a newer place"));
    }
    Ok(Fact::King(KingCheckpointed { king: order.king, checkpoint: Box::new(checkpoint) }.into()).into())
}
