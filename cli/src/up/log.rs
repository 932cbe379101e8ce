//! The log file of one program: the program writes it by itself, `kingctl up` reads along and shows warnings.

use super::say;
use crate::failure::Failure;
use crate::output::visible;
use anyhow::Context;
use service::Shutdown;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::sleep;

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Most that is read at one look; the rest is shown later or, if a program floods its log, not at all.
const MOST_PER_LOOK: u64 = 256 * 1024;
/// Most warnings that one look shows.
const MOST_LINES: usize = 20;
/// From this size on the file is moved to `<name>.old` and starts empty.
const LARGEST: u64 = 32 * 1024 * 1024;
/// How many lines an explanation shows.
const LAST_LINES: usize = 10;

/// A log file that is followed until it is stopped.
#[derive(Clone, Debug)]
pub struct Log {
    name: String,
    path: PathBuf,
    end: Shutdown,
}

impl Log {
    /// Follows a log file from its present end on.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn follow(name: &str, path: &Path) -> Result<Self, Failure> {
        let from = Self::open_for_append(path)?.metadata()?.len();
        let log = Self { name: name.to_owned(), path: path.to_owned(), end: Shutdown::by_hand() };
        tokio::spawn(log.clone().read_along(from));
        Ok(log)
    }

    /// The file as a program writes it: only ever at its end.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open_for_append(path: &Path) -> Result<File, Failure> {
        let opened = OpenOptions::new().create(true).append(true).open(path);
        opened
            .with_context(|| format!("could not open the log file {}", path.display()))
            .map_err(Failure::from)
    }

    /// Stops reading along.
    pub fn stop(&self) {
        self.end.request();
    }

    /// The last lines, indented.
    pub fn last_lines(&self) -> String {
        let text = File::open(&self.path).and_then(|mut file| {
            let length = file.metadata()?.len();
            read_from(&mut file, length.saturating_sub(16 * 1024))
        });
        match text {
            Ok(text) => {
                let lines: Vec<_> = text.lines().collect();
                let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
                last.iter().map(|line| format!("  {}\n", visible(line))).collect()
            }
            Err(error) => format!("  (cannot be read: {error})\n"),
        }
    }

    async fn read_along(self, mut offset: u64) {
        loop {
            tokio::select! {
                () = sleep(LOOK_EVERY) => {}
                () = self.end.requested() => return,
            }
            offset = match self.look(offset) {
                Ok(offset) => offset,
                Err(error) => {
                    say(&format!("{}: its log cannot be read: {error}\n", self.name));
                    return;
                }
            };
        }
    }

    /// Shows the warnings among what is new; returns where it stopped.
    fn look(&self, offset: u64) -> io::Result<u64> {
        let mut file = OpenOptions::new().read(true).write(true).open(&self.path)?;
        let length = file.metadata()?.len();
        if length == offset {
            return Ok(offset);
        }
        let skipped = length.saturating_sub(offset) > MOST_PER_LOOK;
        let from = if length < offset || skipped { length.saturating_sub(MOST_PER_LOOK) } else { offset };
        let text = read_from(&mut file, from)?;
        // A line that is not whole yet is read at the next look.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        self.show(&text[..whole]);
        let next = from + whole as u64;
        if next < LARGEST {
            return Ok(next);
        }
        std::fs::copy(&self.path, self.path.with_extension("old"))?;
        file.set_len(0)?;
        Ok(0)
    }

    fn show(&self, text: &str) {
        let warnings: Vec<_> = text.lines().filter(|line| is_warning(line)).collect();
        for line in warnings.iter().take(MOST_LINES) {
            say(&format!("{} | {}\n", self.name, visible(line)));
        }
        if warnings.len() > MOST_LINES {
            say(&format!(
                "{} | {} more in {}\n",
                self.name,
                warnings.len() - MOST_LINES,
                self.path.display()
            ));
        }
    }
}

fn read_from(file: &mut File, offset: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(offset))?;
    file.take(MOST_PER_LOOK * 2).read_to_end(&mut bytes)?;
    // Byte by byte the same length, so that offsets stay true.
    Ok(bytes.iter().map(|&byte| if byte.is_ascii() { char::from(byte) } else { '?' }).collect())
}

fn is_warning(line: &str) -> bool {
    const SIGNS: &[&str] = &[
        " WARN ",
        " ERROR ",
        "\"level\":\"WARN\"",
        "\"level\":\"ERROR\"",
        "[WRN]",
        "[ERR]",
        "[FTL]",
        "panicked at",
    ];
    /// About the passwords in a file that only its owner can read.
    const KNOWN: &str = "Plaintext passwords detected";
    SIGNS.iter().any(|sign| line.contains(sign)) && !line.contains(KNOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_of_every_program_are_known() {
        for line in [
            "2026-11-20T10:47:00Z  WARN king: the view lags",
            "{\"level\":\"ERROR\",\"message\":\"x\"}",
            "[7] 2026/11/20 10:47:00.000000 [FTL] cannot listen",
            "thread 'main' panicked at src/main.rs:1:1",
        ] {
            assert!(is_warning(line), "{line}");
        }
        assert!(!is_warning("2026-11-20T10:47:00Z  INFO king: starting"));
    }

    #[tokio::test]
    async fn only_whole_lines_count_as_read() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("king.log");
        std::fs::write(&path, "one\ntw").expect("written");
        let log = Log { name: "king".into(), path: path.clone(), end: Shutdown::by_hand() };
        assert_eq!(log.look(0).expect("readable"), 4);
        std::fs::write(&path, "one\ntwo\n").expect("written");
        assert_eq!(log.look(4).expect("readable"), 8);
        assert_eq!(log.last_lines(), "  one\n  two\n");
    }
}
