//! Plan: what a command would lead to, tried on the state and taken back; and whether a planned command still does.
//!
//! The token of a plan speaks of the facts (of what was placed, where and with which ports, but not under which id) and of
//! what they change. So whatever else happened since, the same facts about the same things are the same plan; and one that
//! is other voids it.

use crate::context::Context;
use crate::decide::refuse::refusal;
use crate::difference;
use crate::state::State;
use crate::step::{Draft, Record};
use crate::trial::Trial;
use crate::{Input, decide};
use events::event::InstanceEvent;
use events::limits::PLAN_LIST_BYTES;
use events::plan::{PlanItem, PlanPart, PlanToken, PlannedEvent};
use events::query::DifferenceItem;
use events::{
    Command, Event, EventNumber, Fact, InstanceId, Kinded, Order, Refusal, RefusalCode, ServantId,
    ServantName,
};
use rmp_serde::Serializer;
use serde_json::Value;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Fields that say when something was done: the moment of a plan is not that of its command.
const TIMES: &[&str] = &["at", "created_at", "since"];

/// What stands for the differences among the kinds of a token.
const DIFFERENCES: &str = "differences";

/// What a command would lead to now. The state is lent for the trial and given back as it was.
pub fn plan(state: &mut State, command: &Command, context: &Context) -> PlanItem {
    let mut item = empty(command);
    let consent = match decide::command(state, &command.order) {
        Ok(consent) => consent,
        Err(refusal) => {
            item.refusal = Some(refusal);
            return item;
        }
    };
    let last = state.last;
    let input = Input::Command(command.clone());
    let mut record = Record::default();
    let mut draft = Draft::on_trial(state, &input, context, &mut record);
    match draft.record_all(state, consent.facts) {
        Ok(()) => {
            item.release = consent.release;
            let trial = draft.trial.take().expect("the draft was made for a trial");
            let differences = differences(&trial, state, draft.events());
            trial.revert(state);
            item.token = Some(token(&command.order, last, draft.events(), &differences));
            item.servants = servants(state, draft.events());
            show(&mut item, draft.events(), differences);
        }
        Err(refusal) => {
            item.refusal = Some(refusal);
            draft.revert(state);
        }
    }
    item
}

fn empty(command: &Command) -> PlanItem {
    PlanItem {
        command: command.order.kind().to_owned(),
        token: None,
        refusal: None,
        release: None,
        events: Vec::new(),
        servants: BTreeMap::new(),
        differences: Vec::new(),
        events_left_out: 0,
        differences_left_out: 0,
    }
}

/// What differs after a trial, with names for instances to come and without times.
fn differences(trial: &Trial, state: &State, events: &[Event]) -> Vec<DifferenceItem> {
    let (before, after) = trial.sides(state);
    let (mut differences, names) = (difference::between(before, &after), names(events));
    // Instances to come stand in the order of their making: that of their ids is another each time.
    let order: BTreeMap<&str, usize> =
        placed(events).enumerate().map(|(index, id)| (names[&id].as_str(), index + 1)).collect();
    for difference in &mut differences {
        difference.fields.retain(|field| !TIMES.contains(&field.field.as_str()));
        if let Some(name) = names.get(&difference.name) {
            difference.name.clone_from(name);
        }
    }
    for things in differences.chunk_by_mut(|one, other| one.noun == other.noun) {
        things.sort_by_key(|thing| order.get(thing.name.as_str()).copied().unwrap_or(0));
    }
    differences
}

/// The token of what an order leads to.
fn token(order: &Order, last: EventNumber, events: &[Event], differences: &[DifferenceItem]) -> PlanToken {
    let mut hashers: BTreeMap<&str, (usize, blake3::Hasher)> = BTreeMap::new();
    for event in events {
        let (count, hasher) = hashers.entry(event.fact.kind()).or_default();
        *count += 1;
        digest_fact(hasher, &event.fact);
    }
    for difference in differences {
        let (count, hasher) = hashers.entry(DIFFERENCES).or_default();
        *count += 1;
        digest_difference(hasher, difference);
    }
    let parts = hashers.into_iter().map(|(kind, (count, hasher))| PlanPart {
        kind: kind.to_owned(),
        count,
        digest: short(&hasher),
    });
    let mut hasher = blake3::Hasher::new();
    hasher.update(order.kind().as_bytes());
    digest(&mut hasher, order);
    PlanToken { event: last, order: short(&hasher), parts: parts.collect() }
}

/// Hashes a fact as it would be under any other id.
fn digest_fact(hasher: &mut blake3::Hasher, fact: &Fact) {
    if let Fact::Instance(InstanceEvent::Placed(placed)) = fact {
        let mut placed = placed.clone();
        placed.instance = InstanceId(Uuid::nil());
        digest(hasher, &Fact::Instance(InstanceEvent::Placed(placed)));
    } else {
        digest(hasher, fact);
    }
}

/// Hashes what happens to a thing, and for what users make also how it is before and after. How an instance is doing and
/// how many of them a servant has beside those of the plan is nothing that a plan rests on.
fn digest_difference(hasher: &mut blake3::Hasher, difference: &DifferenceItem) {
    let doing = matches!(difference.noun.as_str(), "instance" | "servant");
    let fields = if doing { &[][..] } else { &difference.fields };
    let told = (&difference.noun, &difference.name, difference.change, fields);
    rmp_serde::encode::write_named(hasher, &told).expect("differences encode, and hashing cannot fail");
}

fn digest(hasher: &mut blake3::Hasher, value: &impl Kinded) {
    let mut serializer = Serializer::new(hasher).with_struct_map();
    value.serialize_data(&mut serializer).expect("events and orders encode, and hashing cannot fail");
}

fn short(hasher: &blake3::Hasher) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_be_bytes(bytes)
}

/// Whether what a command has led to is what was planned.
///
/// # Errors
/// The refusal that names what is other.
pub(crate) fn check(
    planned: &PlanToken,
    order: &Order,
    state: &State,
    trial: &Trial,
    events: &[Event],
) -> Result<(), Refusal> {
    let now = token(order, planned.event, events, &differences(trial, state, events));
    if now.order != planned.order {
        let rule = "this token belongs to another command, or to one with other fields";
        return Err(refusal(RefusalCode::Conflict, "plan", rule, "plan this command, and use its own token"));
    }
    let moved = moved(&planned.parts, &now.parts);
    if moved.is_empty() {
        return Ok(());
    }
    let rule = format!("the world has moved since event {}: {}", planned.event, moved.join("; "));
    Err(refusal(RefusalCode::Conflict, "plan", rule, "plan it again with --plan, and look at what is other"))
}

/// What is other, kind by kind.
fn moved(planned: &[PlanPart], now: &[PlanPart]) -> Vec<String> {
    let by_kind = |parts: &[PlanPart]| -> BTreeMap<String, (usize, u64)> {
        parts.iter().map(|part| (part.kind.clone(), (part.count, part.digest))).collect()
    };
    let (planned, now) = (by_kind(planned), by_kind(now));
    let kinds = planned.keys().chain(now.keys().filter(|kind| !planned.contains_key(*kind)));
    let tell = |kind: &String| {
        let (was, is) = (planned.get(kind).copied(), now.get(kind).copied());
        let (was_count, is_count) = (was.map_or(0, |part| part.0), is.map_or(0, |part| part.0));
        if was == is {
            None
        } else if kind == DIFFERENCES {
            Some("what would differ is no longer the same".to_owned())
        } else if was_count == is_count {
            Some(format!("{was_count} {kind} were planned, and would now be others"))
        } else {
            Some(format!("{was_count} {kind} were planned, and there would now be {is_count}"))
        }
    };
    kinds.filter_map(tell).collect()
}

/// Writes the events and differences into the plan, as many as a reply holds, with names for instances to come.
fn show(item: &mut PlanItem, events: &[Event], differences: Vec<DifferenceItem>) {
    let names = names(events);
    let mut budget = PLAN_LIST_BYTES;
    for event in events {
        let data = event.fact.serialize_data(serde_json::value::Serializer);
        let mut data = data.expect("an event has text keys and encodes as JSON");
        rename(&mut data, &names);
        let planned = PlannedEvent { kind: event.fact.kind().to_owned(), data };
        if !fits(&planned, &mut budget) {
            break;
        }
        item.events.push(planned);
    }
    let (mut budget, all) = (PLAN_LIST_BYTES, differences.len());
    for difference in differences {
        if !fits(&difference, &mut budget) {
            break;
        }
        item.differences.push(difference);
    }
    item.events_left_out = events.len() - item.events.len();
    item.differences_left_out = all - item.differences.len();
}

fn fits(value: &impl serde::Serialize, budget: &mut usize) -> bool {
    let text = serde_json::to_string(value).expect("what a plan shows encodes as JSON");
    let room = budget.checked_sub(text.len());
    *budget = room.unwrap_or(0);
    room.is_some()
}

/// The servants that get something to run, by name.
fn servants(state: &State, events: &[Event]) -> BTreeMap<ServantId, ServantName> {
    let mut named = BTreeMap::new();
    for event in events {
        if let Fact::Instance(InstanceEvent::Placed(placed)) = &event.fact
            && let Some(servant) = state.servants.get(&placed.servant)
        {
            named.insert(placed.servant, servant.facts.name.clone());
        }
    }
    named
}

/// Names for the instances that a plan would make: their ids would be others.
fn names(events: &[Event]) -> BTreeMap<String, String> {
    placed(events).enumerate().map(|(index, id)| (id, format!("new-{}", index + 1))).collect()
}

/// The ids of the instances that a plan would make, in order.
fn placed(events: &[Event]) -> impl Iterator<Item = String> {
    events.iter().filter_map(|event| match &event.fact {
        Fact::Instance(InstanceEvent::Placed(placed)) => Some(placed.instance.to_string()),
        Fact::Instance(_)
        | Fact::App(_)
        | Fact::Version(_)
        | Fact::Release(_)
        | Fact::Config(_)
        | Fact::Servant(_)
        | Fact::Command(_)
        | Fact::Alert(_)
        | Fact::Exec(_)
        | Fact::King(_) => None,
    })
}

fn rename(value: &mut Value, names: &BTreeMap<String, String>) {
    match value {
        Value::String(text) => {
            if let Some(name) = names.get(text) {
                text.clone_from(name);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, names)),
        Value::Object(map) => map.values_mut().for_each(|item| rename(item, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
