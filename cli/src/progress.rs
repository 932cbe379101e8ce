//! Progress on stderr: one live line on a terminal, else a plain line for each change.

use crate::cli::Globals;
use crate::output::{Format, visible};
use std::io::{IsTerminal, Write};

/// Shows how something goes. What cannot be shown is not worth a failure.
#[derive(Debug)]
pub struct Progress {
    shape: Shape,
    last: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Live,
    Lines,
}

impl Progress {
    /// Progress on this process's stderr.
    pub fn new(globals: &Globals) -> Self {
        let live = std::io::stderr().is_terminal() && globals.output != Format::Json;
        Self { shape: if live { Shape::Live } else { Shape::Lines }, last: String::new() }
    }

    /// Shows this, if it is new.
    pub fn show(&mut self, text: &str) {
        if text == self.last {
            return;
        }
        let text_shown = visible(text);
        // A closed stderr must not end the work that it tells of.
        let _ = match self.shape {
            Shape::Live => write!(std::io::stderr(), "\r\x1b[K{}", fitting(&text_shown)),
            Shape::Lines => writeln!(std::io::stderr(), "{text_shown}"),
        };
        text.clone_into(&mut self.last);
    }

    /// What was shown last.
    pub fn last(&self) -> &str {
        &self.last
    }

    /// Ends the live line, so that what follows starts on its own.
    pub fn clear(&mut self) {
        if self.shape == Shape::Live && !self.last.is_empty() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
        self.last.clear();
    }
}

/// As much of a text as fits into one line of the terminal: a line that wraps could not be taken back.
fn fitting(text: &str) -> String {
    let columns = rustix::termios::tcgetwinsize(std::io::stderr()).map_or(0, |size| size.ws_col);
    let most = if columns == 0 { usize::from(u16::MAX) } else { usize::from(columns).saturating_sub(1) };
    text.chars().take(most).collect()
}
