//! Reports about instances.
//!
//! A report about an instance that is gone, or that its sender does not run, is redundant: nothing rests on it.

use super::refuse::refusal;
use super::{Consent, Hearing, image};
use crate::schedule::free_ports;
use crate::state::{Instance, State};
use events::command::RestartInstance;
use events::event::{
    AppEmitted, Exit, InstanceBecameHealthy, InstanceBecameUnhealthy, InstanceCrashLooped, InstanceCrashed,
    InstanceErred, InstanceEvent, InstanceFailed, InstanceFinished, InstanceHalted, InstancePortsReplaced,
    InstanceRestartOrdered, InstanceStarted, InstanceSteadied, InstanceStopped, InstanceWorkersScaled,
};
use events::limits::{ERROR_LINES, TEXT_BYTES};
use events::query::InstancePhase;
use events::report::{Emitted, Erred, Exited, InstanceNews, PortTaken, Stage};
use events::{Fact, InstanceId, Refusal, RefusalCode, Report, ServantId};

pub(super) fn hear(state: &State, report: &Report, news: &InstanceNews) -> Result<Hearing, Refusal> {
    check_text(news)?;
    let id = news.instance();
    let Some(instance) = state.instances.get(&id) else { return Ok(Hearing::Redundant) };
    if instance.servant != ServantId(report.id.sender) {
        return Ok(Hearing::Redundant);
    }
    if let InstanceNews::Emitted(news) = news {
        return emitted(report, instance, news);
    }
    if instance.is_retired() {
        return Ok(match news {
            InstanceNews::Stopped(_) => fact(InstanceStopped { instance: id }).into(),
            InstanceNews::Erred(news) => erred(instance, news),
            InstanceNews::Started(_)
            | InstanceNews::Ready(_)
            | InstanceNews::Unhealthy(_)
            | InstanceNews::Exited(_)
            | InstanceNews::Looping(_)
            | InstanceNews::Steady(_)
            | InstanceNews::Failed(_)
            | InstanceNews::PortTaken(_)
            | InstanceNews::Emitted(_)
            | InstanceNews::Scaled(_) => Hearing::Redundant,
            // Others of its version may wait for it.
            InstanceNews::ImageBuilt(news) => image::built(state, instance, news),
        });
    }
    Ok(live(state, id, instance, news))
}

fn live(state: &State, id: InstanceId, instance: &Instance, news: &InstanceNews) -> Hearing {
    match news {
        InstanceNews::Started(news) => {
            fact(InstanceStarted { instance: id, pid: news.pid, slot: news.slot }).into()
        }
        InstanceNews::Ready(_) if instance.phase == InstancePhase::Healthy => Hearing::Redundant,
        InstanceNews::Ready(_) => fact(InstanceBecameHealthy { instance: id }).into(),
        InstanceNews::Unhealthy(news) => {
            let (reason, slot) = (news.reason.clone(), news.slot);
            fact(InstanceBecameUnhealthy { instance: id, reason, slot }).into()
        }
        // Nothing ends twice without having been started in between.
        InstanceNews::Exited(_) if instance.has_ended() => Hearing::Redundant,
        InstanceNews::Exited(news) => exited(id, news),
        InstanceNews::Looping(_) if instance.looping => Hearing::Redundant,
        InstanceNews::Looping(news) => {
            let (crashes, window_ms, slot) = (news.crashes, news.window_ms, news.slot);
            fact(InstanceCrashLooped { instance: id, crashes, window_ms, slot }).into()
        }
        InstanceNews::Steady(_) if instance.looping => fact(InstanceSteadied { instance: id }).into(),
        InstanceNews::Steady(_) => Hearing::Redundant,
        InstanceNews::Failed(news) => failed(id, news.stage, news.reason.clone()),
        InstanceNews::PortTaken(news) => port_taken(state, id, instance, news),
        InstanceNews::ImageBuilt(news) => image::built(state, instance, news),
        // Assigned and yet stopped: the servant ends with all that it runs. What is done stays done.
        InstanceNews::Stopped(_) if instance.is_finished() || instance.is_halted() => Hearing::Redundant,
        InstanceNews::Stopped(_) => fact(InstanceHalted { instance: id }).into(),
        InstanceNews::Emitted(_) => Hearing::Redundant,
        InstanceNews::Erred(news) => erred(instance, news),
        InstanceNews::Scaled(news) if instance.workers == Some(news.to) => Hearing::Redundant,
        InstanceNews::Scaled(news) => {
            fact(InstanceWorkersScaled { instance: id, from: news.from, to: news.to, cpu: news.cpu }).into()
        }
    }
}

/// What an app tells of itself is true whatever becomes of its instance.
fn emitted(report: &Report, instance: &Instance, news: &Emitted) -> Result<Hearing, Refusal> {
    news.fields.check().map_err(|error| {
        refusal(RefusalCode::Invalid, "fields", error.to_string(), "send fewer or smaller ones")
    })?;
    let fact = AppEmitted {
        app: instance.app.clone(),
        process: instance.process.clone(),
        instance: news.instance,
        servant: instance.servant,
        name: news.name.clone(),
        fields: news.fields.clone(),
        emitted_at: report.at,
        dropped: news.dropped,
    };
    Ok(Fact::App(fact.into()).into())
}

/// A servant that was killed may look at the same line again.
fn erred(instance: &Instance, news: &Erred) -> Hearing {
    if instance.erred.get(&news.output).is_some_and(|last| *last >= news.number) {
        return Hearing::Redundant;
    }
    fact(InstanceErred {
        instance: news.instance,
        output: news.output,
        number: news.number,
        read_at: news.at,
        pattern: news.pattern.clone(),
        fingerprint: news.fingerprint.clone(),
        headline: news.headline.clone(),
        lines: news.lines.clone(),
        repeats: news.repeats,
        others: news.others,
    })
    .into()
}

fn exited(id: InstanceId, news: &Exited) -> Hearing {
    let exit = match (news.code, news.signal) {
        (_, Some(signal)) => Exit::Signal(signal),
        (code, None) => Exit::Code(code.unwrap_or(-1)),
    };
    if news.restart_in_ms.is_none() && exit == Exit::Code(0) {
        return fact(InstanceFinished { instance: id, pid: news.pid }).into();
    }
    fact(InstanceCrashed {
        instance: id,
        pid: news.pid,
        exit,
        uptime_ms: news.uptime_ms,
        restart_in_ms: news.restart_in_ms,
        out_of_memory: news.out_of_memory,
        slot: news.slot,
    })
    .into()
}

fn failed(id: InstanceId, stage: Stage, reason: String) -> Hearing {
    fact(InstanceFailed { instance: id, stage, reason }).into()
}

/// The instance keeps its id and gets other ports; the taken one is not given out again until its servant registers anew.
fn port_taken(state: &State, id: InstanceId, instance: &Instance, news: &PortTaken) -> Hearing {
    if !instance.ports.values().any(|port| *port == news.port) {
        return Hearing::Redundant;
    }
    let Some(servant) = state.servants.get(&instance.servant) else { return Hearing::Redundant };
    match free_ports(servant, 1).first() {
        Some(&free) => {
            let mut ports = instance.ports.clone();
            ports.values_mut().filter(|port| **port == news.port).for_each(|port| *port = free);
            fact(InstancePortsReplaced { instance: id, taken: news.port, ports }).into()
        }
        None => {
            let range = servant.facts.ports;
            let reason =
                format!("port {} is taken and none of {}-{} is free", news.port, range.first, range.last);
            failed(id, Stage::Start, reason)
        }
    }
}

fn check_text(news: &InstanceNews) -> Result<(), Refusal> {
    let length = match news {
        InstanceNews::Unhealthy(news) => news.reason.len(),
        InstanceNews::Failed(news) => news.reason.len(),
        InstanceNews::Erred(news) => return check_error(news),
        InstanceNews::Started(_)
        | InstanceNews::Ready(_)
        | InstanceNews::Exited(_)
        | InstanceNews::Looping(_)
        | InstanceNews::Steady(_)
        | InstanceNews::PortTaken(_)
        | InstanceNews::Stopped(_)
        | InstanceNews::Emitted(_)
        | InstanceNews::Scaled(_) => 0,
        InstanceNews::ImageBuilt(news) => news.dockerfile.len(),
    };
    if length > TEXT_BYTES {
        let rule = format!("is {length} bytes long; at most {TEXT_BYTES}");
        return Err(refusal(RefusalCode::Invalid, "reason", rule, "cut it"));
    }
    Ok(())
}

fn check_error(news: &Erred) -> Result<(), Refusal> {
    let is_plain = |text: &String| !text.chars().any(char::is_control);
    let is_token = (1..=64).contains(&news.fingerprint.len())
        && news.fingerprint.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if !is_token || ![&news.pattern, &news.headline].into_iter().chain(&news.lines).all(is_plain) {
        let rule = "holds no control characters, and its fingerprint is 1 to 64 letters and digits";
        return Err(refusal(RefusalCode::Invalid, "lines", rule, "clean it"));
    }
    let short = [&news.pattern, &news.fingerprint, &news.headline];
    let bytes = short.into_iter().chain(&news.lines).map(|text| text.len()).sum::<usize>();
    if bytes > TEXT_BYTES || news.lines.len() > ERROR_LINES {
        let rule = format!(
            "has {} lines and {bytes} bytes; at most {ERROR_LINES} and {TEXT_BYTES}",
            news.lines.len()
        );
        return Err(refusal(RefusalCode::Invalid, "lines", rule, "cut it"));
    }
    Ok(())
}

pub(super) fn restart(state: &State, order: &RestartInstance) -> Result<Consent, Refusal> {
    match state.instances.get(&order.instance) {
        None => {
            let rule = format!("there is no instance {}", order.instance);
            Err(refusal(RefusalCode::Unknown, "instance", rule, "see `kingctl instance ls`"))
        }
        Some(instance) if instance.is_retired() => {
            let rule = format!("the instance {} is being stopped", order.instance);
            Err(refusal(RefusalCode::Conflict, "instance", rule, "restart one that shall run"))
        }
        Some(_) => Ok(fact(InstanceRestartOrdered { instance: order.instance }).into()),
    }
}

fn fact(event: impl Into<InstanceEvent>) -> Fact {
    Fact::Instance(event.into())
}
