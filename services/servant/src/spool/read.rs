//! The reading end, in the Servant: numbered lines in order, from any number on, while the holder goes on writing.

use super::{Segment, record, segments};
use events::log::LogLine;
use events::subject::Output;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// How much is read from a file at once.
const CHUNK_BYTES: usize = 512 * 1024;

/// Consecutive lines.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The number of the first line.
    pub first: u64,
    pub lines: Vec<LogLine>,
    /// How many lines before the first are gone.
    pub lost: u64,
}

/// Reads one stream's spool.
pub struct SpoolReader {
    folder: PathBuf,
    output: Output,
    /// The number of the next line to give out.
    next: u64,
    open: Option<Open>,
    buffer: Vec<u8>,
}

struct Open {
    file: File,
    first: u64,
    /// The next record: its place in the file and its number.
    offset: u64,
    number: u64,
}

impl SpoolReader {
    /// Starts at a line.
    pub fn open(folder: &Path, output: Output, next: u64) -> Self {
        Self { folder: folder.to_owned(), output, next, open: None, buffer: Vec::new() }
    }

    /// The next lines; none when there are no more yet.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn read(&mut self, most_lines: usize, most_bytes: usize) -> io::Result<Option<Batch>> {
        let batch = self.read_next(most_lines, most_bytes)?;
        if batch.is_none() {
            // Most instances are silent most of the time, and there are many of them.
            self.buffer = Vec::new();
        }
        Ok(batch)
    }

    fn read_next(&mut self, most_lines: usize, most_bytes: usize) -> io::Result<Option<Batch>> {
        loop {
            if self.open.is_none() && !self.open_segment()? {
                return Ok(None);
            }
            if let Some(batch) = self.read_open(most_lines, most_bytes)? {
                return Ok(Some(batch));
            }
            if !self.has_successor()? {
                return Ok(None);
            }
            // Lines may have come between the last read and the look for a successor.
            if let Some(batch) = self.read_open(most_lines, most_bytes)? {
                return Ok(Some(batch));
            }
            self.open = None;
        }
    }

    /// Deletes the segments whose lines are all before this number, but never the last one.
    ///
    /// # Errors
    /// When a file cannot be deleted.
    pub fn forget_before(&self, number: u64) -> io::Result<()> {
        let segments = segments(&self.folder, self.output)?;
        for pair in segments.windows(2) {
            if pair[1].first <= number {
                match std::fs::remove_file(&pair[0].path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Opens the segment that holds the next line, or the first one after it.
    fn open_segment(&mut self) -> io::Result<bool> {
        let segments = segments(&self.folder, self.output)?;
        let holds = segments.iter().rposition(|segment| segment.first <= self.next);
        // A segment that ends before the next line has been read to its end: then its successor is due.
        let due = match holds {
            Some(index) if self.is_used_up(&segments[index])? => segments.get(index + 1),
            Some(index) => segments.get(index),
            None => segments.first(),
        };
        let Some(segment) = due else {
            return Ok(false);
        };
        let file = match File::open(&segment.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            other => other?,
        };
        self.open = Some(Open { file, first: segment.first, offset: 0, number: segment.first });
        Ok(true)
    }

    fn is_used_up(&self, segment: &Segment) -> io::Result<bool> {
        let last = segments(&self.folder, self.output)?.last().map(|last| last.first);
        if last == Some(segment.first) {
            return Ok(false);
        }
        let bytes = match std::fs::read(&segment.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
            other => other?,
        };
        let (mut offset, mut number) = (0, segment.first);
        while let Some((_, _, length)) = record::decode(&bytes[offset..]) {
            offset += length;
            number += 1;
        }
        Ok(number <= self.next)
    }

    fn has_successor(&self) -> io::Result<bool> {
        let Some(open) = &self.open else {
            return Ok(false);
        };
        Ok(segments(&self.folder, self.output)?.iter().any(|segment| segment.first > open.first))
    }

    fn read_open(&mut self, most_lines: usize, most_bytes: usize) -> io::Result<Option<Batch>> {
        let Some(open) = &mut self.open else {
            return Ok(None);
        };
        let mut batch = Batch { first: self.next, lines: Vec::new(), lost: 0 };
        let mut bytes = 0;
        self.buffer.resize(CHUNK_BYTES, 0);
        loop {
            let length = open.file.read_at(&mut self.buffer, open.offset)?;
            let mut rest = &self.buffer[..length];
            let before = open.offset;
            while let Some((at, text, size)) = record::decode(rest) {
                if batch.lines.len() >= most_lines
                    || (bytes + text.len() > most_bytes && !batch.lines.is_empty())
                {
                    return Ok(Some(batch));
                }
                if open.number >= self.next {
                    if batch.lines.is_empty() {
                        batch.first = open.number;
                        batch.lost = open.number - self.next;
                    }
                    bytes += text.len();
                    batch.lines.push(LogLine { at, text: text.to_vec() });
                    self.next = open.number + 1;
                }
                open.offset += size as u64;
                open.number += 1;
                rest = &rest[size..];
            }
            if open.offset == before {
                return Ok((!batch.lines.is_empty()).then_some(batch));
            }
        }
    }
}
