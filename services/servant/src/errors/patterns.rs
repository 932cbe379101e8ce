//! Which lines tell of an error: what panics, uncaught exceptions and loggers write by themselves, and what an app says
//! in its manifest. Most lines are neither, so a quick look for a few words comes before every regular expression.

use aho_corasick::AhoCorasick;
use events::limits::ERROR_PATTERN_SIZE;
use events::manifest::Errors;
use regex::bytes::{Regex, RegexSet, RegexSetBuilder};
use std::sync::{Arc, LazyLock};

/// The usual patterns by their names.
const USUAL: [(&str, &str); 6] = [
    ("rust-panic", r"(?-u)^thread '.*' (?:\(\d+\) )?panicked at "),
    ("go-panic", r"(?-u)^(?:panic: |fatal error: )"),
    ("python-traceback", r"(?-u)^\s*Traceback \(most recent call last\):"),
    ("java-exception", r#"(?-u)^Exception in thread ""#),
    ("error-word", WORD),
    ("json-level", LEVEL),
];
/// A word by itself: `ERROR: x`, `[FATAL]`, `level=error`; not `NO_ERROR`, `ERRORS`, `/var/ERROR/x`.
const WORD: &str = r#"(?-u)(?:^|[\s\[(<{|:;,"'*])(?:ERROR|FATAL|CRITICAL)(?:$|[\s\])>}|:;,"'*!?.])|\b(?i:level|lvl|severity)="?(?i:error|fatal|critical|crit|panic|emerg|alert)\b"#;
/// The level of a line of JSON: its name, or a number as pino and bunyan write it.
const LEVEL: &str = r#"(?-u)"(?:level|levelname|lvl|severity|log\.level)"\s*:\s*(?:"(?i:error|fatal|critical|crit|panic|emerg|emergency|alert)"|(?:[5-9]\d|\d{3,})\s*[,}])"#;
const JSON_LEVEL: usize = 5;

/// Every line that a usual pattern finds has one of these, in any case.
const WORDS: [&str; 11] = [
    "panic",
    "fatal",
    "traceback",
    "exception",
    "error",
    "critical",
    "severity",
    "\"level",
    "level=",
    "lvl",
    "log.level",
];

struct Usual {
    words: AhoCorasick,
    set: RegexSet,
    has_level: Regex,
    exception: Regex,
}

static USUAL_PATTERNS: LazyLock<Usual> = LazyLock::new(|| Usual {
    words: AhoCorasick::builder().ascii_case_insensitive(true).build(WORDS).expect("the words are few"),
    set: RegexSet::new(USUAL.map(|(_, pattern)| pattern)).expect("the usual patterns are right"),
    has_level: Regex::new(r#"(?-u)"(?:level|levelname|lvl|severity|log\.level)"\s*:"#).expect("it is right"),
    exception: Regex::new(
        r"(?-u)(?:^|[\s.\[(:'])[A-Za-z_$][\w$]*(?:Error|Exception|Throwable)\b|^Error\b|^Uncaught ",
    )
    .expect("it is right"),
});

/// What is looked for in the output of an instance. Clones share it.
#[derive(Clone)]
pub struct Patterns {
    /// None where the output is not looked at.
    own: Option<Arc<Own>>,
    pub before: usize,
    pub after: usize,
}

/// What the app says.
struct Own {
    names: Vec<String>,
    patterns: RegexSet,
    ignore: RegexSet,
}

impl Patterns {
    /// Compiles what an app says. A pattern that the King would have refused is left out.
    pub fn new(errors: Option<&Errors>) -> Self {
        let usual = Errors::default();
        let errors = errors.unwrap_or(&usual);
        let own = errors.is_on().then(|| {
            Arc::new(Own {
                names: errors.patterns.clone(),
                patterns: set(&errors.patterns),
                ignore: set(&errors.ignore),
            })
        });
        Self { own, before: errors.lines_before(), after: errors.lines_after() }
    }

    /// Whether the output is looked at.
    pub fn is_on(&self) -> bool {
        self.own.is_some()
    }

    /// The name of the first pattern that a line fits.
    pub fn find(&self, line: &[u8]) -> Option<&str> {
        let own = self.own.as_ref()?;
        let found = own_pattern(own, line).or_else(|| usual_pattern(line))?;
        (own.ignore.is_empty() || !own.ignore.is_match(line)).then_some(found)
    }

    /// Whether a line names an exception, and so may be the head of a stack trace.
    pub fn is_exception(&self, line: &[u8]) -> bool {
        let ignored = |own: &Arc<Own>| !own.ignore.is_empty() && own.ignore.is_match(line);
        USUAL_PATTERNS.exception.is_match(line) && !self.own.as_ref().is_none_or(ignored)
    }
}

fn own_pattern<'a>(own: &'a Own, line: &[u8]) -> Option<&'a str> {
    if own.patterns.is_empty() {
        return None;
    }
    let first = own.patterns.matches(line).into_iter().next()?;
    own.names.get(first).map(String::as_str)
}

fn usual_pattern(line: &[u8]) -> Option<&'static str> {
    let usual = &*USUAL_PATTERNS;
    if !usual.words.is_match(line) {
        return None;
    }
    let mut found = usual.set.matches(line).into_iter();
    // A line of JSON that has a level is what that says, whatever words are in its message.
    if line.trim_ascii_start().starts_with(b"{") && usual.has_level.is_match(line) {
        return found.find(|index| *index == JSON_LEVEL).map(|index| USUAL[index].0);
    }
    found.next().map(|index| USUAL[index].0)
}

/// Whether a line is one of a stack trace, as Java and Node write them: `    at f (file:1:2)`.
pub fn is_frame(line: &[u8]) -> bool {
    let rest = line.trim_ascii_start();
    rest.len() < line.len() && rest.starts_with(b"at ")
}

fn set(patterns: &[String]) -> RegexSet {
    let build = |patterns: &[String]| {
        RegexSetBuilder::new(patterns).size_limit(ERROR_PATTERN_SIZE * patterns.len().max(1) * 2).build()
    };
    build(patterns).unwrap_or_else(|error| {
        tracing::error!(%error, "the patterns of errors of an app are left out; they should have been refused");
        RegexSet::empty()
    })
}
