//! Lines on their way to people, pipes and programs.

use super::entry::{Entry, What, gap_text};
use crate::cli::Globals;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{Format, Paint, Style};
use anyhow::anyhow;
use events::query::{InstanceItem, Question};
use events::subject::Output;
use events::{InstanceId, ProcessName};
use std::collections::BTreeMap;
use std::io::{BufWriter, IsTerminal, Stdout, Write};

/// What stands before each line.
pub enum Prefix {
    None,
    Instance,
}

pub struct Printer {
    format: Format,
    style: Style,
    prefix: Prefix,
    names: Names,
    out: BufWriter<Stdout>,
    bytes: Bytes,
}

/// How the bytes of a line go out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Bytes {
    /// As the app wrote them.
    Raw,
    /// What would steer a terminal is shown instead.
    Inert,
}

impl Printer {
    pub fn new(globals: &Globals, prefix: Prefix) -> Self {
        let out = std::io::stdout();
        let bytes = if out.is_terminal() { Bytes::Inert } else { Bytes::Raw };
        Self {
            format: globals.output,
            style: Style::of_stdout(globals),
            prefix,
            names: Names::default(),
            out: BufWriter::with_capacity(64 * 1024, out),
            bytes,
        }
    }

    /// Prints one; it is seen after [`Printer::flush`].
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub async fn print(&mut self, client: &Client, entry: &Entry) -> Result<(), Failure> {
        if self.format == Format::Json {
            serde_json::to_writer(&mut self.out, entry).map_err(|error| match error.io_error_kind() {
                Some(kind) => Failure::from(std::io::Error::from(kind)),
                None => Failure::Failed(anyhow!(error)),
            })?;
            self.out.write_all(b"\n")?;
            return Ok(());
        }
        if let (Format::Table, Prefix::Instance) = (self.format, &self.prefix) {
            let name = self.names.of(client, entry).await;
            let mark = match entry.origin.output {
                Output::Stdout => '|',
                Output::Stderr => '!',
            };
            let prefix = self.style.hue(hue(entry.origin.instance), &format!("{name} {mark}"));
            write!(self.out, "{prefix} ")?;
        }
        match &entry.what {
            What::Line(line) if self.bytes == Bytes::Raw => self.out.write_all(&line.text)?,
            What::Line(line) => self.out.write_all(inert(&line.text).as_bytes())?,
            What::Gap(gap) => {
                let text = gap_text(entry.number, gap);
                self.out.write_all(self.style.paint(Paint::Bad, &text).as_bytes())?;
            }
        }
        self.out.write_all(b"\n")?;
        Ok(())
    }

    /// Lets everything be seen.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.out.flush()?)
    }
}

/// The same for an instance every time.
fn hue(instance: InstanceId) -> usize {
    usize::from(instance.0.as_bytes()[15])
}

/// The bytes of a line as they may go to a terminal: what would steer it, or turn the direction of text, is shown.
pub fn inert(text: &[u8]) -> String {
    // The end of a line in the manner of Windows steers nothing.
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    let mut shown = String::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                '\t' => shown.push('\t'),
                '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}' => {
                    shown.extend(letter.escape_unicode());
                }
                letter if letter.is_ascii_control() => {
                    shown.push_str(&format!("\\x{:02x}", u32::from(letter)));
                }
                letter if letter.is_control() => shown.extend(letter.escape_unicode()),
                letter => shown.push(letter),
            }
        }
        for byte in chunk.invalid() {
            shown.push_str(&format!("\\x{byte:02x}"));
        }
    }
    shown
}

/// The process types of instances that did not tell it with their output: asked for when a new one shows up.
#[derive(Debug, Default)]
struct Names {
    processes: BTreeMap<InstanceId, Option<ProcessName>>,
}

impl Names {
    /// `web/7e10`: the process type and the end of the id.
    async fn of(&mut self, client: &Client, entry: &Entry) -> String {
        let origin = &entry.origin;
        let process = match &origin.process {
            Some(process) => Some(process.clone()),
            None => self.asked(client, entry).await,
        };
        let id = origin.instance.to_string();
        let process = process.map_or_else(|| "gone".to_owned(), |process| process.to_string());
        format!("{process}/{}", &id[id.len() - 4..])
    }

    async fn asked(&mut self, client: &Client, entry: &Entry) -> Option<ProcessName> {
        let instance = entry.origin.instance;
        if !self.processes.contains_key(&instance) {
            let question = Question { app: Some(entry.origin.app.clone()), ..Question::default() };
            if let Ok(found) = client.query::<InstanceItem>("instance.ls", &question).await {
                self.processes.extend(found.into_iter().map(|item| (item.instance, Some(item.process))));
            }
            // One that is gone stays without its process type.
            self.processes.entry(instance).or_insert(None);
        }
        self.processes.get(&instance).cloned().flatten()
    }
}
