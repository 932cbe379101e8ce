//! Runs of arbitrary commands: who may run what where, and what is heard of it.

use super::refuse::{refusal, too_many};
use super::{Consent, Hearing};
use crate::state::{Servant, State};
use events::command::{CancelExec, ExecCommand, RequestExec};
use events::event::{ExecCancelled, ExecEnded, ExecEvent, ExecRequested, LeftOut};
use events::exec::{ExecEnd, ExecError, check_command};
use events::limits::{EXEC_REASON_BYTES, EXEC_SERVANTS, EXECS, EXECS_PER_SERVANT};
use events::report::{EXEC_CAPABILITY, EndedExec, ExecNews};
use events::{Fact, InstanceId, Refusal, RefusalCode, Report, Selector, ServantId, ServantName};
use std::collections::BTreeSet;

pub(super) fn decide(state: &State, order: &ExecCommand) -> Result<Consent, Refusal> {
    match order {
        ExecCommand::Request(order) => request(state, order),
        ExecCommand::Cancel(order) => cancel(state, order),
    }
}

fn request(state: &State, order: &RequestExec) -> Result<Consent, Refusal> {
    check_command(&order.command).map_err(invalid)?;
    order.stdio.check().map_err(invalid)?;
    order.limits.check().map_err(invalid)?;
    if state.execs.get(order.exec).is_some() {
        let rule = format!("there is a run {} already", order.exec);
        return Err(refusal(RefusalCode::Conflict, "exec", rule, "give every run a fresh id"));
    }
    let (servants, left_out) = targets(state, order)?;
    if !state.execs.has_room() {
        return Err(refusal(
            RefusalCode::LimitReached,
            "exec",
            format!("{EXECS} runs go on in the kingdom"),
            "wait until some have ended, or cancel one: kingctl exec ls",
        ));
    }
    let requested = ExecRequested {
        exec: order.exec,
        servants,
        selector: order.selector.clone(),
        instance: order.instance,
        left_out,
        command: order.command.clone(),
        stdio: order.stdio.clone(),
        limits: order.limits,
    };
    Ok(fact(Box::new(requested)).into())
}

fn invalid(error: ExecError) -> Refusal {
    refusal(RefusalCode::Invalid, error.field, error.rule, error.fix)
}

type Targets = (Vec<ServantId>, Vec<LeftOut>);

fn targets(state: &State, order: &RequestExec) -> Result<Targets, Refusal> {
    match (order.servants.as_slice(), &order.selector, order.instance) {
        ([_, ..], None, None) => named(state, &order.servants).map(|servants| (servants, Vec::new())),
        ([], Some(selector), None) => selected(state, selector),
        ([], None, Some(instance)) => on_instance(state, instance).map(|servant| (vec![servant], Vec::new())),
        ([_, ..], Some(_), _) | ([_, ..], _, Some(_)) | ([], Some(_), Some(_)) | ([], None, None) => {
            let rule = "exactly one of servants, selector and instance says where";
            Err(refusal(RefusalCode::Invalid, "servants", rule, "give one of them"))
        }
    }
}

fn named(state: &State, names: &[ServantName]) -> Result<Vec<ServantId>, Refusal> {
    if names.len() > EXEC_SERVANTS {
        return Err(too_many("servants", "servants of one run", EXEC_SERVANTS));
    }
    let mut servants = BTreeSet::new();
    for name in names {
        let Some((id, servant)) = state.servant_named(name) else {
            let rule = format!("there is no servant {name:?}");
            return Err(refusal(RefusalCode::Unknown, "servants", rule, "see `kingctl servant ls`"));
        };
        able(state, id, servant).map_err(|obstacle| obstacle.of("servants", servant))?;
        servants.insert(id);
    }
    Ok(servants.into_iter().collect())
}

/// Those that can; only when none can it is refused.
fn selected(state: &State, selector: &Selector) -> Result<Targets, Refusal> {
    let chosen: Vec<(ServantId, &Servant)> = state
        .servant_names
        .values()
        .filter_map(|id| state.servants.get(id).map(|servant| (*id, servant)))
        .filter(|(_, servant)| selector.chooses(&servant.facts.labels))
        .collect();
    if chosen.len() > EXEC_SERVANTS {
        return Err(too_many("selector", "servants of one run", EXEC_SERVANTS));
    }
    let (mut servants, mut left_out, mut last) = (Vec::new(), Vec::new(), None);
    for (id, servant) in &chosen {
        match able(state, *id, servant) {
            Ok(()) => servants.push(*id),
            Err(obstacle) => {
                left_out.push(LeftOut { servant: servant.facts.name.clone(), reason: obstacle.reason() });
                last = Some(obstacle.of("selector", servant));
            }
        }
    }
    match (servants.is_empty(), last) {
        (false, _) => Ok((servants, left_out)),
        (true, Some(refused)) => Err(refused),
        (true, None) => {
            let rule = format!("no servant has labels that fit {selector}");
            Err(refusal(RefusalCode::Unknown, "selector", rule, "see the labels with `kingctl servant ls`"))
        }
    }
}

fn on_instance(state: &State, id: InstanceId) -> Result<ServantId, Refusal> {
    let found = state.instances.get(&id);
    let found = found.and_then(|instance| Some((instance, state.servants.get(&instance.servant)?)));
    let Some((instance, servant)) = found else {
        let rule = format!("there is no instance {id}");
        return Err(refusal(RefusalCode::Unknown, "instance", rule, "see `kingctl instance ls`"));
    };
    if instance.is_retired() || instance.pid.is_none() {
        let rule = format!("the instance {id} is {} and has no process", instance.phase);
        return Err(refusal(
            RefusalCode::Conflict,
            "instance",
            rule,
            "choose one that runs: kingctl instance ls",
        ));
    }
    able(state, instance.servant, servant).map_err(|obstacle| obstacle.of("instance", servant))?;
    Ok(instance.servant)
}

/// Why a servant cannot run a command now.
enum Obstacle {
    Lost,
    SwitchedOff,
    Full,
}

fn able(state: &State, id: ServantId, servant: &Servant) -> Result<(), Obstacle> {
    if servant.lost {
        Err(Obstacle::Lost)
    } else if !servant.facts.capabilities.contains_key(EXEC_CAPABILITY) {
        Err(Obstacle::SwitchedOff)
    } else if state.execs.on(id).len() >= EXECS_PER_SERVANT {
        Err(Obstacle::Full)
    } else {
        Ok(())
    }
}

impl Obstacle {
    fn reason(&self) -> String {
        match self {
            Self::Lost => "is lost".into(),
            Self::SwitchedOff => "runs no commands".into(),
            Self::Full => format!("runs {EXECS_PER_SERVANT} commands already"),
        }
    }

    fn of(&self, field: &str, servant: &Servant) -> Refusal {
        let (code, fix) = match self {
            Self::Lost => (RefusalCode::Conflict, "wait until it is back, or name others"),
            Self::SwitchedOff => (RefusalCode::Conflict, "start it without --no-exec, or name others"),
            Self::Full => {
                (RefusalCode::LimitReached, "wait until some have ended, or cancel one: kingctl exec ls")
            }
        };
        refusal(code, field, format!("the servant {:?} {}", servant.facts.name, self.reason()), fix)
    }
}

fn cancel(state: &State, order: &CancelExec) -> Result<Consent, Refusal> {
    let Some(exec) = state.execs.get(order.exec) else {
        let rule = format!("no run {} is remembered", order.exec);
        return Err(refusal(RefusalCode::Unknown, "exec", rule, "see `kingctl exec ls`"));
    };
    if !exec.is_open() {
        let rule = format!("the run {} has ended everywhere", order.exec);
        return Err(refusal(RefusalCode::Conflict, "exec", rule, "there is nothing to cancel"));
    }
    if exec.cancelled_by.is_some() {
        let rule = format!("the run {} is cancelled already", order.exec);
        return Err(refusal(
            RefusalCode::Conflict,
            "exec",
            rule,
            "it ends within seconds where its servant lives",
        ));
    }
    Ok(fact(ExecCancelled { exec: order.exec }).into())
}

pub(super) fn hear(state: &State, report: &Report, news: &ExecNews) -> Result<Hearing, Refusal> {
    match news {
        ExecNews::Ended(news) => ended(state, report, news),
    }
}

/// A servant speaks for itself alone, and once.
fn ended(state: &State, report: &Report, news: &EndedExec) -> Result<Hearing, Refusal> {
    if let ExecEnd::NotStarted(reason) | ExecEnd::Lost(reason) = &news.outcome.end
        && reason.len() > EXEC_REASON_BYTES
    {
        let rule = format!("is {} bytes long; at most {EXEC_REASON_BYTES}", reason.len());
        return Err(refusal(RefusalCode::Invalid, "outcome.end", rule, "cut it"));
    }
    let servant = ServantId(report.id.sender);
    let is_open = state.execs.get(news.exec).is_some_and(|exec| exec.is_open_on(servant));
    Ok(if is_open {
        fact(ExecEnded { exec: news.exec, servant, outcome: news.outcome.clone() }).into()
    } else {
        Hearing::Redundant
    })
}

fn fact(event: impl Into<ExecEvent>) -> Fact {
    Fact::Exec(event.into())
}
