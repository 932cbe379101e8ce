//! One event as one line.

use crate::output::{Paint, Style, visible};
use events::event::{ExecEvent, InstanceEvent};
use events::{Event, Fact};
use serde_json::Value;

/// Longest value that a line for people shows.
const VALUE_CHARS: usize = 80;

/// The event as an object with its envelope.
pub fn json(event: &Event) -> Value {
    serde_json::to_value(event).expect("events have text keys and encode as JSON")
}

/// `    42  2026-11-20T10:47:00.123Z  instance.crashed  <id>  exit={"signal":9}  (servant:s1)`.
pub fn for_people(event: &Event, style: Style) -> String {
    let id = event.fact.subject_id();
    let details = details(&json(event)["data"], &id);
    format!(
        "{:>6}  {}  {}  {}{}{}\n",
        event.id,
        event.at,
        style.paint(paint(&event.fact), &format!("{:<24}", event.fact.kind())),
        visible(&id),
        visible(&details),
        style.paint(Paint::Faint, &format!("  ({})", event.actor)),
    )
}

fn details(data: &Value, id: &str) -> String {
    let Some(fields) = data.as_object() else { return String::new() };
    let said = fields.iter().filter(|(_, value)| !value.is_null() && value.as_str() != Some(id));
    said.map(|(key, value)| format!("  {key}={}", brief(value))).collect()
}

fn brief(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut short: String = text.chars().take(VALUE_CHARS).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// The colour of an event.
pub fn paint(fact: &Fact) -> Paint {
    match fact {
        Fact::Instance(event) => match event {
            InstanceEvent::Crashed(_)
            | InstanceEvent::CrashLooped(_)
            | InstanceEvent::Failed(_)
            | InstanceEvent::Erred(_)
            | InstanceEvent::BecameUnhealthy(_) => Paint::Bad,
            InstanceEvent::BecameHealthy(_) | InstanceEvent::Steadied(_) => Paint::Good,
            InstanceEvent::Placed(_)
            | InstanceEvent::Started(_)
            | InstanceEvent::Finished(_)
            | InstanceEvent::PortsReplaced(_)
            | InstanceEvent::Halted(_)
            | InstanceEvent::RestartOrdered(_)
            | InstanceEvent::WorkersScaled(_)
            | InstanceEvent::Retired(_)
            | InstanceEvent::Stopped(_) => Paint::None,
        },
        Fact::App(_) | Fact::Version(_) | Fact::Release(_) => Paint::Strong,
        Fact::Exec(ExecEvent::Ended(event)) if !event.outcome.end.is_success() => Paint::Bad,
        Fact::Exec(_)
        | Fact::Config(_)
        | Fact::Servant(_)
        | Fact::Command(_)
        | Fact::Alert(_)
        | Fact::King(_) => Paint::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::event::{Cause, Exit, InstanceCrashed};
    use events::{Actor, DomainName, Timestamp};

    #[test]
    fn a_crash_is_one_line() {
        let instance = "019a1c2e-6f0b-7c11-8f4e-3a5d1c9b7e10".parse().expect("an id");
        let crashed = InstanceCrashed {
            instance,
            pid: 7,
            exit: Exit::Signal(9),
            uptime_ms: 1500,
            restart_in_ms: Some(0),
            out_of_memory: None,
            slot: None,
        };
        let event = Event {
            id: 42,
            at: Timestamp(0),
            actor: Actor::king(),
            cause: Cause::Tick,
            domain: DomainName::default_domain(),
            fact: InstanceEvent::from(crashed).into(),
        };
        let wanted = "    42  1970-01-01T00:00:00.000Z  instance.crashed          019a1c2e-6f0b-7c11-8f4e-3a5d1c9b7e10  \
                      exit={\"signal\":9}  pid=7  restart_in_ms=0  uptime_ms=1500  (king)\n";
        assert_eq!(for_people(&event, Style::Plain), wanted);
    }
}
