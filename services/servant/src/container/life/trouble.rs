//! What a refusal of the engine means for a start: it has words and a status, and nothing else to go by.

use crate::app_events::place::INSIDE;
use crate::container::engine::EngineError;
use crate::reconcile::StartTrouble;
use crate::spec::Spec;
use std::path::Path;

/// Somebody has the name of the container; it may be itself, made by a call whose answer was lost.
pub fn is_name_taken(error: &EngineError) -> bool {
    matches!(error, EngineError::Refused { status: 409, message, .. } if message.contains("name"))
}

/// The folder of its sockets cannot be bound into it.
pub fn is_of_events(error: &EngineError, folder: &Path) -> bool {
    let EngineError::Refused { message, .. } = error else { return false };
    message.contains(INSIDE) || message.contains(&folder.display().to_string())
}

/// What became of a start.
pub fn of(spec: &Spec, error: EngineError) -> StartTrouble {
    let text = error.to_string();
    let EngineError::Refused { status, message, .. } = error else {
        return StartTrouble::Passing(text);
    };
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if says(&["port is already allocated", "address already in use"]) {
        let port = spec.ports.values().copied().find(|port| message.contains(&port.to_string()));
        return port.map_or(StartTrouble::Passing(text), StartTrouble::PortTaken);
    }
    if status == 404 && says(&["No such image"]) {
        return StartTrouble::ReleaseGone;
    }
    if says(&["network bridge", "bridge network", "network mode", "network not found"]) {
        return StartTrouble::Hopeless(format!(
            "{text}; containers need the engine's bridge network, and the host's own is never given: start the engine \
             without --bridge=none"
        ));
    }
    if says(&["OCI runtime", "exec:"]) || (400..500).contains(&status) {
        return StartTrouble::Hopeless(text);
    }
    StartTrouble::Passing(text)
}
