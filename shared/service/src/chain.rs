//! An error with all its causes in one line: for log lines and for people.

use std::error::Error;
use std::fmt::Write;

/// `what failed: why: and why that`.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        write!(text, ": {error}").expect("writing to a text cannot fail");
        cause = error.source();
    }
    text
}
