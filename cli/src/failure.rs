//! Why a command was not done, and the exit code that says so to scripts.

use crate::output::Format;
use events::{Refusal, RefusalCode};
use std::process::ExitCode;

/// A failure with its exit code. The codes stand in `kingctl --help`.
#[derive(Debug)]
pub enum Failure {
    /// A King said no.
    Refused(Refusal),
    /// What was named does not exist.
    NotFound(String),
    /// Something else happened meanwhile.
    Conflict(String),
    /// A value on the command line makes no sense.
    Usage(String),
    /// Waiting ran out of time; what was asked for goes on.
    WaitTimedOut(String),
    /// It succeeded on some servants and not on others.
    PartlyDone(String),
    /// What ran has ended like this; everything is said already.
    Exit(u8),
    /// Anything else.
    Failed(anyhow::Error),
    /// The reader of our output went away: the end, and nothing to complain about.
    OutputClosed,
}

impl Failure {
    /// What the process exits with.
    pub fn code(&self) -> u8 {
        match self {
            Self::Refused(refusal) => match refusal.code {
                RefusalCode::Invalid => 2,
                RefusalCode::Unknown => 3,
                RefusalCode::Conflict => 4,
                RefusalCode::Unreadable | RefusalCode::LimitReached | RefusalCode::Unavailable => 1,
            },
            Self::NotFound(_) => 3,
            Self::Conflict(_) => 4,
            Self::Usage(_) => 2,
            Self::WaitTimedOut(_) => 6,
            Self::PartlyDone(_) => 7,
            Self::Exit(code) => *code,
            Self::Failed(_) => 1,
            Self::OutputClosed => 0,
        }
    }

    /// Says on stderr what happened, as an object when results are objects too.
    pub fn report(&self, format: Format) -> ExitCode {
        if !matches!(self, Self::OutputClosed | Self::Exit(_)) {
            match format {
                Format::Json => eprintln!("{}", self.to_json()),
                Format::Table | Format::Name => eprintln!("error: {}", self.message()),
            }
        }
        ExitCode::from(self.code())
    }

    fn message(&self) -> String {
        match self {
            Self::Refused(refusal) => {
                format!("{}: {}\n  try: {}", refusal.field, refusal.rule, refusal.fix)
            }
            Self::NotFound(text)
            | Self::Conflict(text)
            | Self::Usage(text)
            | Self::WaitTimedOut(text)
            | Self::PartlyDone(text) => text.clone(),
            Self::Failed(error) => format!("{error:#}"),
            Self::OutputClosed | Self::Exit(_) => String::new(),
        }
    }

    fn to_json(&self) -> String {
        let (refusal, message) = match self {
            Self::Refused(refusal) => (Some(refusal), refusal.to_string()),
            Self::NotFound(_)
            | Self::Conflict(_)
            | Self::Usage(_)
            | Self::WaitTimedOut(_)
            | Self::PartlyDone(_)
            | Self::Exit(_)
            | Self::Failed(_)
            | Self::OutputClosed => (None, self.message()),
        };
        serde_json::json!({ "error": message, "exit_code": self.code(), "refusal": refusal }).to_string()
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        let closed = |error: &std::io::Error| error.kind() == std::io::ErrorKind::BrokenPipe;
        match error.downcast_ref::<std::io::Error>() {
            Some(source) if closed(source) => Self::OutputClosed,
            Some(_) | None => Self::Failed(error),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::from(anyhow::Error::from(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: RefusalCode) -> Failure {
        Failure::Refused(Refusal {
            code,
            field: "app".into(),
            rule: "unknown app \"x\"".into(),
            fix: "push it first".into(),
        })
    }

    #[test]
    fn refusals_have_the_documented_exit_codes() {
        let codes = [
            (RefusalCode::Unreadable, 1),
            (RefusalCode::Invalid, 2),
            (RefusalCode::Unknown, 3),
            (RefusalCode::Conflict, 4),
            (RefusalCode::LimitReached, 1),
            (RefusalCode::Unavailable, 1),
        ];
        for (code, exit) in codes {
            assert_eq!(refused(code).code(), exit, "{code:?}");
        }
        assert_eq!(Failure::WaitTimedOut(String::new()).code(), 6);
    }

    #[test]
    fn a_refusal_says_field_rule_and_fix() {
        let message = refused(RefusalCode::Unknown).message();
        assert_eq!(message, "app: unknown app \"x\"\n  try: push it first");
        assert!(refused(RefusalCode::Unknown).to_json().contains("\"exit_code\":3"));
    }
}
