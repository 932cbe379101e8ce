//! Commands and reports about servants.

use super::refuse::{refusal, too_many};
use super::{Consent, Hearing};
use crate::state::State;
use events::command::RemoveServant;
use events::event::{
    ServantChanged, ServantDiskChanged, ServantDiskCleaned, ServantEvent, ServantJoined, ServantLost,
    ServantRemoved, ServantReturned,
};
use events::limits::{CAPABILITIES, ELECTION_GRACE_MS, LABELS, REMOVED_NAME_BYTES, REMOVED_NAMED, SERVANTS};
use events::report::{CleanDisk, MeasureDisk, RegisterServant, ServantNews};
use events::{Fact, Refusal, RefusalCode, Report, ServantId, Timestamp};

/// The lowest port that may be given out: those below belong to the system.
const LOWEST_PORT: u16 = 1024;

pub(super) fn hear(
    state: &State,
    report: &Report,
    news: &ServantNews,
    at: Timestamp,
) -> Result<Hearing, Refusal> {
    match news {
        ServantNews::Register(facts) => register(state, report, facts),
        // Its Foreman says it again when the view does not show it.
        ServantNews::Lose(_) if in_grace(state, at) => Ok(Hearing::Redundant),
        ServantNews::Lose(news) => Ok(lose(state, report, news.servant, news.silent_ms)),
        ServantNews::Return(news) => Ok(returned(state, report, news.servant)),
        ServantNews::MeasureDisk(news) => measure_disk(state, report, news),
        ServantNews::CleanDisk(news) => clean_disk(state, report, news),
    }
}

fn register(state: &State, report: &Report, facts: &RegisterServant) -> Result<Hearing, Refusal> {
    check_facts(report, facts)?;
    if let Some(holder) = state.servant_names.get(&facts.name).filter(|holder| **holder != facts.servant) {
        let rule = format!("the name {:?} is held by the servant {holder}", facts.name);
        let fix = "start this servant with another --name, or remove the other with `kingctl servant remove`";
        return Err(refusal(RefusalCode::Conflict, "name", rule, fix));
    }
    let Some(known) = state.servants.get(&facts.servant) else {
        if state.servants.len() >= SERVANTS {
            return Err(too_many("servant", "servants", SERVANTS));
        }
        return Ok(fact(ServantJoined { domain: report.domain.clone(), facts: facts.clone() }).into());
    };
    let mut facts_out = Vec::new();
    if known.facts != *facts || known.domain != report.domain {
        facts_out.push(fact(ServantChanged { domain: report.domain.clone(), facts: facts.clone() }));
    }
    if known.lost {
        facts_out.push(fact(ServantReturned { servant: facts.servant, name: facts.name.clone() }));
    }
    Ok(if facts_out.is_empty() { Hearing::Redundant } else { Hearing::News(facts_out) })
}

/// A servant speaks for itself alone.
fn speaker(report: &Report, servant: ServantId) -> Result<ServantId, Refusal> {
    if report.id.sender != servant.0 {
        let rule = format!("{} cannot speak for the servant {servant}", report.id.sender);
        return Err(refusal(RefusalCode::Invalid, "servant", rule, "report under the id of the sender"));
    }
    Ok(servant)
}

fn check_facts(report: &Report, facts: &RegisterServant) -> Result<(), Refusal> {
    speaker(report, facts.servant)?;
    let ports = facts.ports;
    if ports.first < LOWEST_PORT || ports.first > ports.last {
        let rule = format!("{}-{} is no range of ports from {LOWEST_PORT} to 65535", ports.first, ports.last);
        return Err(refusal(
            RefusalCode::Invalid,
            "ports",
            rule,
            "start the servant with --ports FIRST-LAST",
        ));
    }
    let long = facts.capabilities.iter().any(|(tool, version)| tool.len() > 63 || version.len() > 128);
    if facts.capabilities.len() > CAPABILITIES || long || facts.boot.len() > 128 {
        let rule = format!("at most {CAPABILITIES} tools, names of 63 and versions of 128 bytes");
        return Err(refusal(RefusalCode::Invalid, "capabilities", rule, "report fewer or shorter ones"));
    }
    if facts.labels.len() > LABELS {
        return Err(too_many("labels", "labels of a servant", LABELS));
    }
    Ok(())
}

/// Whether the King was elected so lately that what it hears may have waited for it, and be no more true.
fn in_grace(state: &State, at: Timestamp) -> bool {
    state.elected_at.is_some_and(|elected| at.0 < elected.0 + ELECTION_GRACE_MS)
}

/// Only the Foreman of its domain knows whether a servant is heard.
fn lose(state: &State, report: &Report, id: ServantId, silent_ms: u64) -> Hearing {
    match state.servants.get(&id) {
        Some(servant) if !servant.lost && servant.domain == report.domain => {
            fact(ServantLost { servant: id, name: servant.facts.name.clone(), silent_ms }).into()
        }
        Some(_) | None => Hearing::Redundant,
    }
}

fn returned(state: &State, report: &Report, id: ServantId) -> Hearing {
    match state.servants.get(&id) {
        Some(servant) if servant.lost && servant.domain == report.domain => {
            fact(ServantReturned { servant: id, name: servant.facts.name.clone() }).into()
        }
        Some(_) | None => Hearing::Redundant,
    }
}

/// Only another level is news: how much is free changes all the time. A servant begins with room.
fn measure_disk(state: &State, report: &Report, news: &MeasureDisk) -> Result<Hearing, Refusal> {
    let disk = news.disk;
    if disk.used_percent > 100 {
        let rule = format!("is {}; at most 100", disk.used_percent);
        return Err(refusal(RefusalCode::Invalid, "disk.used_percent", rule, "measure again"));
    }
    let servant = speaker(report, news.servant)?;
    Ok(match state.servants.get(&servant) {
        Some(known) if known.disk.map(|before| before.level).unwrap_or_default() != disk.level => {
            fact(ServantDiskChanged { servant, name: known.facts.name.clone(), disk }).into()
        }
        Some(_) | None => Hearing::Redundant,
    })
}

fn clean_disk(state: &State, report: &Report, news: &CleanDisk) -> Result<Hearing, Refusal> {
    let removed = &news.cleaned.removed;
    if removed.len() > REMOVED_NAMED || removed.iter().any(|it| it.name.len() > REMOVED_NAME_BYTES) {
        let rule = format!("at most {REMOVED_NAMED} things, names of {REMOVED_NAME_BYTES} bytes");
        return Err(refusal(RefusalCode::Invalid, "cleaned.removed", rule, "name fewer or shorter ones"));
    }
    let servant = speaker(report, news.servant)?;
    Ok(match state.servants.get(&servant) {
        Some(known) => {
            let (name, cleaned) = (known.facts.name.clone(), news.cleaned.clone());
            fact(ServantDiskCleaned { servant, name, cleaned }).into()
        }
        None => Hearing::Redundant,
    })
}

pub(super) fn remove(state: &State, order: &RemoveServant) -> Result<Consent, Refusal> {
    let Some((id, servant)) = state.servant_named(&order.servant) else {
        let rule = format!("there is no servant {:?}", order.servant);
        return Err(refusal(RefusalCode::Unknown, "servant", rule, "see `kingctl servant ls`"));
    };
    if !servant.lost {
        let rule = format!("the servant {:?} is alive and would come back at once", order.servant);
        return Err(refusal(
            RefusalCode::Conflict,
            "servant",
            rule,
            "stop it first; it counts as lost after 3 s",
        ));
    }
    Ok(fact(ServantRemoved { servant: id, name: order.servant.clone() }).into())
}

fn fact(event: impl Into<ServantEvent>) -> Fact {
    Fact::Servant(event.into())
}
