//! Where the output of runs goes: as it is, when there is one; line by line with the servant before it, when there are
//! several; as objects for programs. It is written by a thread of its own: a terminal that stands still must not keep the
//! conversation with the servants from going on.

use crate::output::{Format, Paint, Style};
use events::ServantName;
use events::subject::Output;
use std::collections::BTreeMap;
use std::io::{self, Write};
use tokio::sync::mpsc;

/// Longest line that is kept until its end comes.
const LINE_BYTES: usize = 64 * 1024;

/// A piece of output, from the servant with this place in the list.
pub struct Piece {
    pub peer: usize,
    pub output: Output,
    pub bytes: Vec<u8>,
}

/// How output is written.
pub enum Shape {
    /// As it came.
    Plain,
    /// Lines of these servants.
    Lines { servants: Vec<ServantName>, format: Format, styles: [Style; 2] },
}

/// What the screen says back.
pub enum Written {
    /// One piece of this servant.
    Piece(usize),
    /// Nobody reads any more.
    Closed,
}

/// Begins to write. At most `most` pieces wait.
pub fn begin(shape: Shape, most: usize) -> (mpsc::Sender<Piece>, mpsc::Receiver<Written>) {
    let (pieces, mut waiting) = mpsc::channel::<Piece>(most);
    let (done, written) = mpsc::channel(most + 1);
    std::thread::spawn(move || {
        let mut screen = Screen { shape, partial: BTreeMap::new() };
        while let Some(piece) = waiting.blocking_recv() {
            let peer = piece.peer;
            let said = match screen.write(&piece) {
                Ok(()) => Written::Piece(peer),
                Err(_) => Written::Closed,
            };
            if done.blocking_send(said).is_err() {
                return;
            }
        }
        if screen.finish().is_err() {
            let _ = done.blocking_send(Written::Closed);
        }
    });
    (pieces, written)
}

struct Screen {
    shape: Shape,
    /// Lines whose end has not come yet.
    partial: BTreeMap<(usize, Output), Vec<u8>>,
}

impl Screen {
    fn write(&mut self, piece: &Piece) -> io::Result<()> {
        match self.shape {
            Shape::Plain => put(piece.output, &piece.bytes),
            Shape::Lines { .. } => {
                let key = (piece.peer, piece.output);
                let mut text = self.partial.remove(&key).unwrap_or_default();
                text.extend_from_slice(&piece.bytes);
                let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
                let rest = text.split_off(whole);
                self.lines(key, &text)?;
                if rest.len() > LINE_BYTES {
                    return self.lines(key, &rest);
                }
                self.partial.insert(key, rest);
                Ok(())
            }
        }
    }

    /// What had no end is written all the same.
    fn finish(&mut self) -> io::Result<()> {
        for (key, rest) in std::mem::take(&mut self.partial) {
            self.lines(key, &rest)?;
        }
        Ok(())
    }

    fn lines(&self, (peer, output): (usize, Output), text: &[u8]) -> io::Result<()> {
        let Shape::Lines { servants, format, styles } = &self.shape else { return Ok(()) };
        let width = servants.iter().map(|servant| servant.as_str().len()).max().unwrap_or_default();
        let mut shown = Vec::with_capacity(text.len());
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            match format {
                Format::Json => {
                    let object = serde_json::json!({
                        "servant": servants[peer], "stream": output, "line": String::from_utf8_lossy(line)
                    });
                    shown.extend_from_slice(object.to_string().as_bytes());
                }
                Format::Table | Format::Name => {
                    let paint = match output {
                        Output::Stdout => Paint::Good,
                        Output::Stderr => Paint::Bad,
                    };
                    let head = format!("{:<width$} | ", servants[peer]);
                    shown.extend_from_slice(styles[output as usize].paint(paint, &head).as_bytes());
                    shown.extend_from_slice(line);
                }
            }
            shown.push(b'\n');
        }
        // Objects of both streams are one stream: they say which.
        put(if *format == Format::Json { Output::Stdout } else { output }, &shown)
    }
}

fn put(output: Output, bytes: &[u8]) -> io::Result<()> {
    match output {
        Output::Stdout => {
            let mut stdout = io::stdout().lock();
            stdout.write_all(bytes)?;
            stdout.flush()
        }
        Output::Stderr => io::stderr().lock().write_all(bytes),
    }
}
