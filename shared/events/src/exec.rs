//! Runs of arbitrary commands on servants: the shapes that commands, events, reports and views share, and what travels
//! between a servant and whoever watches a run. Output is never stored: it goes over the subjects of
//! [`crate::subject::exec_out`] and [`crate::subject::exec_in`] as numbered items, within a window.

use crate::limits::{
    EXEC_ARGUMENT_BYTES, EXEC_ARGUMENTS, EXEC_OUTPUT_BYTES, EXEC_TIME_MS, TERMINAL_BYTES, TERMINAL_CELLS,
};
use crate::subject::Output;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How long a run may take when nothing else is said, in milliseconds.
pub const DEFAULT_TIME_MS: u64 = 10 * 60_000;
/// How much output a run may have on each servant when nothing else is said, in bytes.
pub const DEFAULT_OUTPUT_BYTES: u64 = 64 << 20;

/// What a run is connected to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stdio {
    /// Nobody watches: its input is empty, its output is counted and thrown away.
    Discard,
    /// Its input is empty, its output goes to whoever asked for it.
    #[default]
    Output,
    /// Its input comes from there too.
    Input,
    /// It has a terminal of its own there.
    Terminal(Terminal),
}

/// A terminal as a run finds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terminal {
    pub size: TerminalSize,
    /// The value of `TERM`.
    pub term: String,
}

/// How large a terminal is, in cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TerminalSize {
    pub rows: u16,
    pub columns: u16,
}

/// Up to where a run may go; beyond it is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// How long it may take, in milliseconds.
    #[serde(default = "default_time_ms")]
    pub time_ms: u64,
    /// How much output it may have on each servant, in bytes of stdout and stderr together.
    #[serde(default = "default_output_bytes")]
    pub output_bytes: u64,
}

fn default_time_ms() -> u64 {
    DEFAULT_TIME_MS
}

fn default_output_bytes() -> u64 {
    DEFAULT_OUTPUT_BYTES
}

impl Default for Limits {
    fn default() -> Self {
        Self { time_ms: DEFAULT_TIME_MS, output_bytes: DEFAULT_OUTPUT_BYTES }
    }
}

/// Why a run cannot be asked for like this: the field, the rule and the fix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecError {
    pub field: &'static str,
    pub rule: String,
    pub fix: &'static str,
}

fn wrong(field: &'static str, rule: impl Into<String>, fix: &'static str) -> Result<(), ExecError> {
    Err(ExecError { field, rule: rule.into(), fix })
}

/// Whether a command can be run: a program and its arguments, without a shell between.
///
/// # Errors
/// When there is none, it is too long, or it holds what no argument can.
pub fn check_command(command: &[String]) -> Result<(), ExecError> {
    let bytes: usize = command.iter().map(|argument| argument.len() + 1).sum();
    if command.first().is_none_or(String::is_empty) {
        return wrong("command", "names no program", "give a program and its arguments as a list");
    }
    if command.len() > EXEC_ARGUMENTS || bytes > EXEC_ARGUMENT_BYTES {
        let rule = format!("has more than {EXEC_ARGUMENTS} arguments or {EXEC_ARGUMENT_BYTES} bytes of them");
        return wrong("command", rule, "send what is long as input: kingctl exec --stdin");
    }
    if command.iter().any(|argument| argument.contains('\0')) {
        return wrong("command", "holds a NUL character, which no argument can", "leave it out");
    }
    Ok(())
}

impl Limits {
    /// Whether they lie within those of the kingdom.
    ///
    /// # Errors
    /// When one does not.
    pub fn check(&self) -> Result<(), ExecError> {
        if !(1..=EXEC_TIME_MS).contains(&self.time_ms) {
            let rule = format!("is {} ms; from 1 to {EXEC_TIME_MS}", self.time_ms);
            return wrong("limits.time_ms", rule, "what shall run for longer is an app: push and deploy it");
        }
        if self.output_bytes > EXEC_OUTPUT_BYTES {
            let rule = format!("is {} bytes; at most {EXEC_OUTPUT_BYTES}", self.output_bytes);
            return wrong("limits.output_bytes", rule, "write it to a file on the servant");
        }
        Ok(())
    }
}

impl Stdio {
    /// Whether a terminal is one.
    ///
    /// # Errors
    /// When its size or its kind is none.
    pub fn check(&self) -> Result<(), ExecError> {
        let terminal = match self {
            Self::Terminal(terminal) => terminal,
            Self::Discard | Self::Output | Self::Input => return Ok(()),
        };
        terminal.size.check()?;
        let term = terminal.term.as_bytes();
        let inside = |byte: &u8| byte.is_ascii_alphanumeric() || b".+-_".contains(byte);
        if term.is_empty() || term.len() > TERMINAL_BYTES || !term.iter().all(inside) {
            let rule = format!("is not 1 to {TERMINAL_BYTES} letters, digits and '.', '+', '-', '_'");
            return wrong("stdio.terminal.term", rule, "send the value of TERM, for example xterm-256color");
        }
        Ok(())
    }

    /// Whether somebody watches.
    pub fn is_watched(&self) -> bool {
        match self {
            Self::Discard => false,
            Self::Output | Self::Input | Self::Terminal(_) => true,
        }
    }

    /// Whether it has input.
    pub fn has_input(&self) -> bool {
        match self {
            Self::Discard | Self::Output => false,
            Self::Input | Self::Terminal(_) => true,
        }
    }
}

impl TerminalSize {
    /// Whether a terminal can be so large.
    ///
    /// # Errors
    /// When it cannot.
    pub fn check(self) -> Result<(), ExecError> {
        let fits = |cells: u16| (1..=TERMINAL_CELLS).contains(&cells);
        if fits(self.rows) && fits(self.columns) {
            return Ok(());
        }
        let rule = format!("is {} by {}; from 1 to {TERMINAL_CELLS} each", self.rows, self.columns);
        wrong("stdio.terminal.size", rule, "send the size of your terminal")
    }
}

/// How a run ended on a servant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExecEnd {
    /// By itself, with this code.
    Code(i32),
    /// By this signal, which was not the servant's.
    Signal(i32),
    /// It could not be started.
    NotStarted(String),
    /// Its time was over: it was killed.
    TimedOut,
    /// It was cancelled: it was killed, or not even started.
    Cancelled,
    /// It had more output than it may: it was killed.
    OutputExceeded,
    /// Whoever had its terminal was gone: it was killed.
    HungUp,
    /// Its servant went away under it, so nobody saw its end; what was left of it was killed.
    Lost(String),
}

impl ExecEnd {
    /// Whether it did what it was told, by its own word.
    pub fn is_success(&self) -> bool {
        *self == Self::Code(0)
    }

    /// What a shell would exit with.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Code(code) => u8::try_from(*code).unwrap_or(u8::MAX),
            Self::Signal(signal) => u8::try_from(128 + signal.clamp(&0, &127)).unwrap_or(u8::MAX),
            Self::NotStarted(_) => 126,
            Self::TimedOut => 124,
            Self::Cancelled => 130,
            Self::OutputExceeded => 125,
            Self::HungUp => 129,
            Self::Lost(_) => 125,
        }
    }
}

impl fmt::Display for ExecEnd {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(formatter, "exit code {code}"),
            Self::Signal(signal) => write!(formatter, "signal {signal}"),
            Self::NotStarted(reason) => write!(formatter, "not started: {reason}"),
            Self::TimedOut => formatter.write_str("time is over"),
            Self::Cancelled => formatter.write_str("cancelled"),
            Self::OutputExceeded => formatter.write_str("too much output"),
            Self::HungUp => formatter.write_str("hung up"),
            Self::Lost(reason) => write!(formatter, "lost: {reason}"),
        }
    }
}

/// How a run went on a servant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecOutcome {
    pub end: ExecEnd,
    /// From its start to its end, in milliseconds.
    pub duration_ms: u64,
    /// What it wrote to stdout and stderr together, in bytes.
    pub output_bytes: u64,
    /// How many bytes of that nobody got: it was beyond its limit, or nobody watched any more.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub discarded_bytes: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// One message between a servant and whoever watches: at most one item, and how far the items of the other side came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packet<T> {
    /// So many items of the other side have arrived: they need not be sent again.
    pub heard: u64,
    /// So many of them were used up: there is room for as many more.
    pub taken: u64,
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    pub item: Option<Item<T>>,
}

/// An item with its number, from 1 in each direction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item<T> {
    pub number: u64,
    pub content: T,
}

/// What a servant says of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FromRun {
    Output(Output, Bytes),
    /// The last item: all output came before it.
    Ended(ExecOutcome),
}

/// What whoever watches says to a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ToRun {
    Input(Bytes),
    /// No more input comes.
    EndOfInput,
    Resize(TerminalSize),
    /// Whoever watched goes away, and the run shall go on.
    Detach,
}

/// Bytes as they came: not necessarily UTF-8.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bytes(#[serde(with = "crate::wire::bytes")] pub Vec<u8>);
