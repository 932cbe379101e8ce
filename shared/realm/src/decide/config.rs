//! Commands about shared configuration.

use super::Consent;
use super::refuse::{known_app, refusal, too_many};
use crate::state::{Scope, State};
use events::command::{SetConfig, UnsetConfig};
use events::event::{ConfigEvent, ConfigSet, ConfigUnset};
use events::limits::{KEYS_PER_SCOPE, SCOPES_PER_APP};
use events::manifest::check_environment;
use events::{AppName, Fact, ProcessName, Refusal, RefusalCode};
use std::collections::BTreeMap;

pub(super) fn set(state: &State, order: &SetConfig) -> Result<Consent, Refusal> {
    let scope = scope(state, order.app.as_ref(), order.process.as_ref())?;
    if order.values.is_empty() {
        let fix = "give at least one KEY=VALUE";
        return Err(refusal(RefusalCode::Invalid, "values", "there is nothing to set", fix));
    }
    check_environment("values", &order.values).map_err(|error| {
        refusal(RefusalCode::Invalid, &error.field, error.rule, "correct the key or its value")
    })?;
    let known = state.config.scope(&scope);
    if known.is_none() && scopes_of(state, scope.app.as_ref()) >= SCOPES_PER_APP {
        return Err(too_many("process", "scopes of configuration of one app", SCOPES_PER_APP));
    }
    let (mut values, mut new) = (BTreeMap::new(), 0);
    for (key, value) in &order.values {
        let setting = known.and_then(|settings| settings.get(key));
        new += usize::from(setting.is_none());
        if setting.is_none_or(|setting| setting.value != *value) {
            values.insert(key.clone(), value.clone());
        }
    }
    if known.map_or(0, |settings| settings.len()) + new > KEYS_PER_SCOPE {
        return Err(too_many("values", "keys in one scope", KEYS_PER_SCOPE));
    }
    if values.is_empty() {
        return Ok(Consent::default());
    }
    Ok(fact(ConfigSet { app: scope.app, process: scope.process, values }).into())
}

pub(super) fn unset(state: &State, order: &UnsetConfig) -> Result<Consent, Refusal> {
    let scope = scope(state, order.app.as_ref(), order.process.as_ref())?;
    if order.keys.is_empty() {
        let fix = "give at least one key";
        return Err(refusal(RefusalCode::Invalid, "keys", "there is nothing to unset", fix));
    }
    let known = state.config.scope(&scope);
    if let Some(unknown) =
        order.keys.iter().find(|key| known.is_none_or(|settings| !settings.contains_key(*key)))
    {
        let rule =
            format!("the key {:?} is not set in that scope", unknown.chars().take(64).collect::<String>());
        return Err(refusal(RefusalCode::Unknown, "keys", rule, "see `kingctl config ls`"));
    }
    Ok(fact(ConfigUnset { app: scope.app, process: scope.process, keys: order.keys.clone() }).into())
}

fn scopes_of(state: &State, app: Option<&AppName>) -> usize {
    state.config.scopes.keys().filter(|scope| scope.app.as_ref() == app).count()
}

fn scope(state: &State, app: Option<&AppName>, process: Option<&ProcessName>) -> Result<Scope, Refusal> {
    match (app, process) {
        (None, Some(_)) => {
            let rule = "a process type without an app is no scope";
            Err(refusal(RefusalCode::Invalid, "process", rule, "name its app too"))
        }
        (Some(name), _) => {
            known_app(state, name)?;
            Ok(Scope { app: app.cloned(), process: process.cloned() })
        }
        (None, None) => Ok(Scope { app: None, process: None }),
    }
}

fn fact(event: impl Into<ConfigEvent>) -> Fact {
    Fact::Config(event.into())
}
