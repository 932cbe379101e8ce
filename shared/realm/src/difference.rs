//! Difference: what is other in one state than in an earlier one, thing by thing and field by field, for people.
//!
//! A thing is what has a name of its own: an app, a version, a release, a scope of configuration, an instance, a servant,
//! a planned mail, the King. What only serves the law (outcomes, senders, counts kept for speed) is not shown.

use crate::state::{App, Exec, Instance, PlannedMail, Release, Scope, Servant, State};
use events::query::{Change, DifferenceItem, FieldChange};
use events::{ExecId, InstanceId, ServantId};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What changed from one state to a later one, in the order of nouns and names.
pub fn between(before: &State, after: &State) -> Vec<DifferenceItem> {
    let mut found = Vec::new();
    kings(before, after, &mut found);
    apps(before, after, &mut found);
    config(before, after, &mut found);
    join("servant", &before.servants, &after.servants, servant_name(before, after), servant, &mut found);
    join("instance", &before.instances, &after.instances, InstanceId::to_string, instance, &mut found);
    join("exec", &before.execs.0, &after.execs.0, ExecId::to_string, exec, &mut found);
    join("alert", &before.mails, &after.mails, ToString::to_string, mail, &mut found);
    found
}

/// Walks two sorted maps at once and notes what is not the same in both.
fn join<K: Ord, V: PartialEq>(
    noun: &str,
    before: &BTreeMap<K, V>,
    after: &BTreeMap<K, V>,
    name: impl Fn(&K) -> String,
    show: impl Fn(&V) -> Value,
    found: &mut Vec<DifferenceItem>,
) {
    let (mut old, mut new) = (before.iter().peekable(), after.iter().peekable());
    loop {
        let (key, was, is) = match (old.peek(), new.peek()) {
            (None, None) => return,
            (Some((key, _)), Some((other, _))) if key == other => {
                let ((key, was), (_, is)) = (old.next().expect("peeked"), new.next().expect("peeked"));
                (key, Some(was), Some(is))
            }
            (Some((key, _)), other) if other.is_none_or(|(other, _)| key < other) => {
                let (key, was) = old.next().expect("peeked");
                (key, Some(was), None)
            }
            (Some(_) | None, _) => {
                let (key, is) = new.next().expect("the old side is empty or behind it");
                (key, None, Some(is))
            }
        };
        if was != is {
            note(noun, name(key), was.map(&show), is.map(&show), found);
        }
    }
}

/// Notes a thing whose fields differ.
fn note(noun: &str, name: String, was: Option<Value>, is: Option<Value>, found: &mut Vec<DifferenceItem>) {
    let change = match (&was, &is) {
        (None, _) => Change::Added,
        (Some(_), None) => Change::Removed,
        (Some(_), Some(_)) => Change::Changed,
    };
    let fields = fields(was.unwrap_or_default(), is.unwrap_or_default());
    if change != Change::Changed || !fields.is_empty() {
        found.push(DifferenceItem { noun: noun.to_owned(), name, change, fields });
    }
}

fn fields(was: Value, is: Value) -> Vec<FieldChange> {
    let (mut old, mut new) = (BTreeMap::new(), BTreeMap::new());
    flatten(String::new(), was, &mut old);
    flatten(String::new(), is, &mut new);
    let mut changes = Vec::new();
    for (field, before) in &old {
        let after = new.remove(field);
        if after.as_ref() != Some(before) {
            changes.push(FieldChange { field: field.clone(), before: Some(before.clone()), after });
        }
    }
    changes.extend(new.into_iter().map(|(field, after)| FieldChange {
        field,
        before: None,
        after: Some(after),
    }));
    changes.sort_by(|one, other| one.field.cmp(&other.field));
    changes
}

/// Maps become fields with dotted names; nothing (null, an empty map or list) becomes no field.
fn flatten(path: String, value: Value, fields: &mut BTreeMap<String, Value>) {
    match value {
        Value::Null => {}
        Value::Array(items) if items.is_empty() => {}
        Value::Object(map) => {
            for (key, value) in map {
                let path = if path.is_empty() { key } else { format!("{path}.{key}") };
                flatten(path, value, fields);
            }
        }
        value @ (Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
            fields.insert(path, value);
        }
    }
}

fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).expect("the state's shapes have text keys and encode as JSON")
}

fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::Object(Map::from_iter(fields.map(|(key, value)| (key.to_owned(), value))))
}

fn kings(before: &State, after: &State, found: &mut Vec<DifferenceItem>) {
    let show = |state: &State| {
        object([("king", json(&state.king)), ("epoch", json(&state.epoch)), ("keys", json(&state.keys))])
    };
    let (was, is) = (show(before), show(after));
    if was != is {
        note("king", "writer".to_owned(), Some(was), Some(is), found);
    }
}

fn apps(before: &State, after: &State, found: &mut Vec<DifferenceItem>) {
    join("app", &before.apps, &after.apps, ToString::to_string, app, found);
    let names = before.apps.keys().chain(after.apps.keys().filter(|name| !before.apps.contains_key(*name)));
    let none = App::default();
    for name in names {
        let (was, is) = (before.apps.get(name).unwrap_or(&none), after.apps.get(name).unwrap_or(&none));
        let version = |version: &semver::Version| format!("{name}@{version}");
        join("version", &was.versions, &is.versions, version, json, found);
        join("release", &was.releases, &is.releases, |number| format!("{name}/{number}"), release, found);
    }
}

fn app(app: &App) -> Value {
    object([
        ("created_at", json(&app.created_at)),
        ("refs", json(&app.refs)),
        ("bundles", json(&app.bundles)),
        ("release", json(&app.current)),
        ("counts", json(&app.counts)),
    ])
}

fn release(release: &Release) -> Value {
    json(release)
}

fn config(before: &State, after: &State, found: &mut Vec<DifferenceItem>) {
    let name = |scope: &Scope| match (&scope.app, &scope.process) {
        (None, None) => "global".to_owned(),
        (None, Some(process)) => format!("*/{process}"),
        (Some(app), None) => app.to_string(),
        (Some(app), Some(process)) => format!("{app}/{process}"),
    };
    let show = |settings: &BTreeMap<String, crate::state::Setting>| {
        let values = settings.iter().map(|(key, setting)| (key.clone(), Value::from(setting.value.clone())));
        Value::Object(values.collect())
    };
    join("config", &before.config.scopes, &after.config.scopes, name, show, found);
}

fn servant_name<'a>(before: &'a State, after: &'a State) -> impl Fn(&ServantId) -> String + 'a {
    |id| {
        let servant = after.servants.get(id).or_else(|| before.servants.get(id));
        servant.map_or_else(|| id.to_string(), |servant| servant.facts.name.to_string())
    }
}

fn servant(servant: &Servant) -> Value {
    object([
        ("domain", json(&servant.domain)),
        ("facts", json(&servant.facts)),
        ("lost", json(&servant.lost)),
        ("disk", json(&servant.disk)),
        ("instances", json(&servant.instances.len())),
        ("taken", json(&servant.taken)),
    ])
}

fn instance(instance: &Instance) -> Value {
    json(instance)
}

fn exec(exec: &Exec) -> Value {
    json(exec)
}

fn mail(mail: &PlannedMail) -> Value {
    json(mail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Setting;

    fn described(before: &State, after: &State) -> Vec<String> {
        let items = between(before, after).into_iter();
        let fields =
            |item: &DifferenceItem| item.fields.iter().map(|field| field.field.clone()).collect::<Vec<_>>();
        items
            .map(|item| format!("{:?} {} {} {}", item.change, item.noun, item.name, fields(&item).join(",")))
            .collect()
    }

    fn with_app(name: &str, count: u32) -> State {
        let mut state = State::default();
        let counts = BTreeMap::from([(events::ProcessName::web(), count)]);
        state.apps.insert(name.parse().expect("a name"), App { counts, ..App::default() });
        state
    }

    #[test]
    fn nothing_differs_from_itself() {
        let state = with_app("shop", 2);
        assert!(between(&state, &state).is_empty());
        assert!(
            between(&state, &State { last: 9, ..state.clone() }).is_empty(),
            "a number alone is no difference"
        );
    }

    #[test]
    fn things_are_added_removed_and_changed() {
        let (none, one, two) = (State::default(), with_app("shop", 1), with_app("shop", 2));
        assert_eq!(described(&none, &one), ["Added app shop counts.web,created_at"]);
        assert_eq!(described(&one, &none), ["Removed app shop counts.web,created_at"]);
        assert_eq!(described(&one, &two), ["Changed app shop counts.web"]);
        let other = with_app("post", 1);
        assert_eq!(
            described(&one, &other),
            ["Added app post counts.web,created_at", "Removed app shop counts.web,created_at"]
        );
    }

    #[test]
    fn a_value_set_to_the_same_again_is_no_difference() {
        let with = |value: &str, revision| {
            let mut state = State::default();
            let setting = Setting { value: value.to_owned(), revision };
            let scope = Scope { app: None, process: None };
            state.config.scopes.insert(scope, BTreeMap::from([("COLOUR".to_owned(), setting)]));
            state
        };
        assert!(between(&with("green", 1), &with("green", 2)).is_empty());
        assert_eq!(described(&with("green", 1), &with("red", 2)), ["Changed config global COLOUR"]);
    }
}
