//! Results on stdout: a table for people, JSON for programs, or names alone for shells.

use crate::cli::Globals;
use crate::failure::Failure;
use crate::table::{Cell, Table};
use clap::ValueEnum;
use serde::Serialize;
use std::io::{IsTerminal, Write};

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table for people.
    Table,
    /// A list of objects with stable keys; for streams one object a line.
    Json,
    /// Names or ids alone, one a line.
    Name,
}

/// When colour is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    Always,
    Never,
}

/// Whether to colour what goes to a stream; never the only signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    Plain,
    Colored,
}

impl Style {
    /// The style of stdout.
    pub fn of_stdout(globals: &Globals) -> Self {
        Self::choose(globals, std::io::stdout().is_terminal())
    }

    /// The styles of stdout and of stderr.
    pub fn of_both(globals: &Globals) -> [Self; 2] {
        [Self::of_stdout(globals), Self::choose(globals, std::io::stderr().is_terminal())]
    }

    fn choose(globals: &Globals, terminal: bool) -> Self {
        let forbidden = globals.no_color.as_deref().is_some_and(|value| !value.is_empty());
        match globals.color {
            Color::Always => Self::Colored,
            Color::Never => Self::Plain,
            Color::Auto if terminal && !forbidden => Self::Colored,
            Color::Auto => Self::Plain,
        }
    }

    /// The text in this colour, or as it is.
    pub fn paint(self, paint: Paint, text: &str) -> String {
        let code = match (self, paint) {
            (Self::Plain, _) | (_, Paint::None) => return text.to_owned(),
            (Self::Colored, Paint::Good) => "32",
            (Self::Colored, Paint::Busy) => "33",
            (Self::Colored, Paint::Bad) => "31",
            (Self::Colored, Paint::Faint) => "2",
            (Self::Colored, Paint::Strong) => "1",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// The text in one of a few colours that mean nothing but tell things apart, or as it is.
    pub fn hue(self, index: usize, text: &str) -> String {
        const HUES: [u8; 6] = [36, 32, 33, 35, 34, 96];
        match self {
            Self::Plain => text.to_owned(),
            Self::Colored => format!("\x1b[{}m{text}\x1b[0m", HUES[index % HUES.len()]),
        }
    }
}

/// What a colour means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    None,
    Good,
    Busy,
    Bad,
    Faint,
    Strong,
}

/// What stands in a list.
pub trait Item: Serialize {
    /// The heads of the columns.
    const COLUMNS: &'static [&'static str];

    /// The cells, one for each column.
    fn cells(&self) -> Vec<Cell>;

    /// What `-o name` prints.
    fn name(&self) -> String;
}

/// Prints a list in the wanted format.
///
/// # Errors
/// When stdout cannot be written.
pub fn list<T: Item>(globals: &Globals, items: &[T]) -> Result<(), Failure> {
    let text = match globals.output {
        Format::Table => table(Style::of_stdout(globals), items),
        Format::Json => json(items),
        Format::Name => items.iter().map(|item| item.name() + "\n").collect(),
    };
    print(&text)
}

/// A list as a table.
pub fn table<T: Item>(style: Style, items: &[T]) -> String {
    let mut table = Table::new(T::COLUMNS);
    items.iter().for_each(|item| table.push(item.cells()));
    table.render(style)
}

/// A list of objects, indented.
pub fn json<T: Serialize>(items: &[T]) -> String {
    let text = serde_json::to_string_pretty(items);
    text.expect("the kingdom's shapes have text keys and encode as JSON") + "\n"
}

/// Writes to stdout. A reader that went away (`| head`) is an end, not an error.
///
/// # Errors
/// When stdout cannot be written.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()?;
    Ok(())
}

/// Text of unknown origin as it may go to a terminal: control characters are shown, not obeyed.
pub fn visible(text: &str) -> String {
    text.chars()
        .flat_map(|letter| if letter.is_control() { letter.escape_default().collect() } else { vec![letter] })
        .collect()
}
