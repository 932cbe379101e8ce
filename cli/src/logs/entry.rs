//! What there is to show: a line, or a gap where lines are missing.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use events::log::{Gap, LogLine};
use events::subject::Output;
use events::{AppName, InstanceId, ProcessName, Timestamp};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use std::rc::Rc;

/// Whose output it is.
#[derive(Debug, PartialEq)]
pub struct Origin {
    pub app: AppName,
    pub instance: InstanceId,
    pub output: Output,
    /// None in what older servants stored.
    pub process: Option<ProcessName>,
}

/// A line or a gap, with all that is known of it.
#[derive(Debug, PartialEq)]
pub struct Entry {
    pub origin: Rc<Origin>,
    /// When it was read from the process; of a gap, when the line after it was.
    pub at: Timestamp,
    /// Its number in that stream, from 1; of a gap, that of the first line that is missing.
    pub number: u64,
    pub what: What,
}

#[derive(Debug, PartialEq)]
pub enum What {
    Line(LogLine),
    Gap(Gap),
}

impl Entry {
    /// The text of a line.
    pub fn text(&self) -> Option<&[u8]> {
        match &self.what {
            What::Line(line) => Some(&line.text),
            What::Gap(_) => None,
        }
    }
}

impl Serialize for Entry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("at", &self.at)?;
        map.serialize_entry("app", &self.origin.app)?;
        map.serialize_entry("instance", &self.origin.instance)?;
        if let Some(process) = &self.origin.process {
            map.serialize_entry("process", process)?;
        }
        map.serialize_entry("output", &self.origin.output)?;
        map.serialize_entry("number", &self.number)?;
        match &self.what {
            What::Line(line) => {
                match std::str::from_utf8(&line.text) {
                    Ok(text) => map.serialize_entry("text", text)?,
                    Err(_) => map.serialize_entry("base64", &STANDARD.encode(&line.text))?,
                }
                if line.continued {
                    map.serialize_entry("continued", &true)?;
                }
                if line.open {
                    map.serialize_entry("open", &true)?;
                }
            }
            What::Gap(gap) => map.serialize_entry("gap", gap)?,
        }
        map.end()
    }
}

/// A gap in words.
pub fn gap_text(number: u64, gap: &Gap) -> String {
    let bytes = gap.bytes.map_or(String::new(), |bytes| format!(" ({bytes} bytes)"));
    let last = number + gap.lines.saturating_sub(1);
    let (lines, numbers) = match gap.lines {
        1 => ("line is", format!("number {number}")),
        _ => ("lines are", format!("numbers {number} to {last}")),
    };
    format!("[king: {} {lines} missing here{bytes}, {numbers}: {}]", gap.lines, gap.reason)
}
