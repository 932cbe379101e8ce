//! What events about configuration change.

use crate::state::{Scope, Setting, State};
use events::event::ConfigEvent;

pub(super) fn apply(state: &mut State, fact: &ConfigEvent) {
    let config = &mut state.config;
    config.revision += 1;
    match fact {
        ConfigEvent::Set(fact) => {
            let scope = Scope { app: fact.app.clone(), process: fact.process.clone() };
            let settings = config.scopes.entry(scope).or_default();
            for (key, value) in &fact.values {
                match settings.get_mut(key) {
                    Some(known) => {
                        known.value.clone_from(value);
                        known.revision = config.revision;
                    }
                    None => {
                        let setting = Setting { value: value.clone(), revision: config.revision };
                        settings.insert(key.clone(), setting);
                    }
                }
            }
        }
        ConfigEvent::Unset(fact) => {
            let scope = Scope { app: fact.app.clone(), process: fact.process.clone() };
            let Some(settings) = config.scopes.get_mut(&scope) else { return };
            settings.retain(|key, _| !fact.keys.contains(key));
            if settings.is_empty() {
                config.scopes.remove(&scope);
            }
        }
    }
}
