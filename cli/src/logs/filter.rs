//! Which lines are wanted. Gaps are shown wherever they may hold such lines.

use super::entry::Entry;
use events::{ProcessName, Timestamp};
use regex::bytes::Regex;

#[derive(Debug, Default)]
pub struct Filter {
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    pub grep: Option<Regex>,
    pub process: Option<ProcessName>,
}

impl Filter {
    pub fn takes(&self, entry: &Entry) -> bool {
        let is_of = |wanted: &ProcessName| entry.origin.process.as_ref().is_none_or(|of| of == wanted);
        self.since.is_none_or(|since| entry.at >= since)
            && self.until.is_none_or(|until| entry.at < until)
            && self.process.as_ref().is_none_or(is_of)
            && self.grep.as_ref().is_none_or(|grep| entry.text().is_none_or(|text| grep.is_match(text)))
    }
}
