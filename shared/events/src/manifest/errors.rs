//! Which lines of the output of an app tell that something went wrong, beyond those that anybody would take for it.

use super::{ManifestError, broken};
use crate::limits::{ERROR_CONTEXT_LINES, ERROR_PATTERN_BYTES, ERROR_PATTERN_SIZE, ERROR_PATTERNS};
use regex::bytes::RegexBuilder;
use serde::{Deserialize, Serialize};

/// Lines before and after an error that are told with it, when nothing says how many.
const USUAL_CONTEXT: u32 = 5;

/// What an app, or a process type, says of errors in its output.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Errors {
    /// Regular expressions of further lines that are errors.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patterns: Vec<String>,
    /// Regular expressions of lines that are none, whatever else they look like.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<String>,
    /// Its output is not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub off: Option<bool>,
    /// How many lines before an error are told with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u32>,
    /// How many lines after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u32>,
}

impl Errors {
    /// What holds for a process type: what it says itself, and what its app says beside that.
    pub fn of(app: Option<&Self>, process: Option<&Self>) -> Option<Self> {
        let (app, process) = match (app, process) {
            (Some(app), Some(process)) => (app, process),
            (Some(one), None) | (None, Some(one)) => return Some(one.clone()),
            (None, None) => return None,
        };
        Some(Self {
            patterns: [app.patterns.as_slice(), &process.patterns].concat(),
            ignore: [app.ignore.as_slice(), &process.ignore].concat(),
            off: process.off.or(app.off),
            before: process.before.or(app.before),
            after: process.after.or(app.after),
        })
    }

    /// Whether the output is looked at.
    pub fn is_on(&self) -> bool {
        self.off != Some(true)
    }

    /// Lines before an error.
    pub fn lines_before(&self) -> usize {
        self.before.unwrap_or(USUAL_CONTEXT) as usize
    }

    /// Lines after it.
    pub fn lines_after(&self) -> usize {
        self.after.unwrap_or(USUAL_CONTEXT) as usize
    }

    pub(super) fn check(&self, at: &str) -> Result<(), ManifestError> {
        for (field, patterns) in [("patterns", &self.patterns), ("ignore", &self.ignore)] {
            if patterns.len() > ERROR_PATTERNS {
                let rule = format!("has {}; at most {ERROR_PATTERNS}", patterns.len());
                return broken(format!("{at}.{field}"), rule);
            }
            for (index, pattern) in patterns.iter().enumerate() {
                if let Some(rule) = rule_broken(pattern) {
                    return broken(format!("{at}.{field}.{index}"), rule);
                }
            }
        }
        for (field, lines) in [("before", self.before), ("after", self.after)] {
            if let Some(lines) = lines.filter(|lines| *lines > ERROR_CONTEXT_LINES) {
                return broken(format!("{at}.{field}"), format!("is {lines}; at most {ERROR_CONTEXT_LINES}"));
            }
        }
        Ok(())
    }
}

/// What is wrong with a pattern, which looks at bytes and takes bounded room.
fn rule_broken(pattern: &str) -> Option<String> {
    if pattern.is_empty() || pattern.len() > ERROR_PATTERN_BYTES {
        return Some(format!("is {} bytes long; from 1 to {ERROR_PATTERN_BYTES}", pattern.len()));
    }
    let compiled = RegexBuilder::new(pattern).size_limit(ERROR_PATTERN_SIZE).build();
    compiled.err().map(|error| match error {
        regex::Error::CompiledTooBig(_) => {
            "is a regular expression that needs too much memory; make it simpler".to_owned()
        }
        // The parser draws a picture of the place; its last line says what is wrong.
        other => {
            let text = other.to_string();
            let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            format!("is no regular expression: {reason}")
        }
    })
}
