//! Export: events for other tools, as JSON lines or as CSV (RFC 4180) that no spreadsheet takes for a formula.

use events::{Cause, Event};

/// The head of the CSV.
pub const CSV_HEAD: &str = "number,time,actor,cause,domain,kind,about,data\r\n";

/// An event as one line of JSON.
pub fn json_line(event: &Event) -> String {
    serde_json::to_string(event).expect("events have text keys and encode as JSON") + "\n"
}

/// An event as one record of CSV.
pub fn csv_record(event: &Event) -> String {
    let value = serde_json::to_value(event).expect("events have text keys and encode as JSON");
    let cells = [
        event.id.to_string(),
        event.at.to_string(),
        event.actor.to_string(),
        cause(&event.cause),
        event.domain.to_string(),
        event.fact.kind().to_owned(),
        event.fact.subject_id(),
        value["data"].to_string(),
    ];
    cells.map(|cell| csv_cell(&cell)).join(",") + "\r\n"
}

/// What led to an event, in a word: `command:<id>`, `report:<sender>/<epoch>/<number>`, `tick`, `election`.
pub fn cause(cause: &Cause) -> String {
    match cause {
        Cause::Command(id) => format!("command:{id}"),
        Cause::Report(id) => format!("report:{id}"),
        Cause::Tick => "tick".to_owned(),
        Cause::Election => "election".to_owned(),
    }
}

/// A cell: quoted where needed, and with an apostrophe before what a spreadsheet would run (OWASP, "CSV injection").
fn csv_cell(text: &str) -> String {
    let runs = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    let text = if runs { format!("'{text}") } else { text.to_owned() };
    if text.contains(['"', ',', '\r', '\n', '\'']) {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::event::{CommandAccepted, CommandEvent};
    use events::{Actor, DomainName, Fact, Timestamp};

    fn event(actor: &str) -> Event {
        let accepted = CommandAccepted {
            id: "=1+1".parse().expect("an id"),
            command: "app.create".into(),
            release: None,
        };
        Event {
            id: 7,
            at: Timestamp(0),
            actor: actor.parse().unwrap_or_else(|_| Actor::anonymous()),
            cause: Cause::Command("=1+1".parse().expect("an id")),
            domain: DomainName::default_domain(),
            fact: Fact::Command(CommandEvent::Accepted(accepted)),
        }
    }

    #[test]
    fn no_cell_is_a_formula() {
        for bad in ["=cmd|'/C calc'!A0", "+1", "-1", "@SUM(A1)", "\tx", "\r=1", "\n=1"] {
            let cell = csv_cell(bad);
            assert!(cell.starts_with("\"'") || cell.starts_with('\''), "{cell}");
        }
        assert_eq!(csv_cell("a,\"b\""), "\"a,\"\"b\"\"\"");
        assert_eq!(csv_cell("2026-11-20T10:47:00.123Z"), "2026-11-20T10:47:00.123Z");
    }

    #[test]
    fn a_record_has_a_cell_for_each_head() {
        let record = csv_record(&event("=HYPERLINK(1)"));
        let wanted = "7,1970-01-01T00:00:00.000Z,\"'=HYPERLINK(1)\",command:=1+1,default,command.accepted,\"'=1+1\",\
                      \"{\"\"command\"\":\"\"app.create\"\",\"\"id\"\":\"\"=1+1\"\"}\"\r\n";
        assert_eq!(record, wanted);
        assert_eq!(CSV_HEAD.trim_end().split(',').count(), 8);
    }
}
