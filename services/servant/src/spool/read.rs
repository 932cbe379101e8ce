//! The reading end, in the Servant: numbered lines in order, from any number on, while the holder goes on writing.

mod cut;
mod source;

use super::{Form, Segment, segments};
use cut::Cutter;
use events::log::{Gap, LogLine};
use events::subject::Output;
use source::{Piece, Source};
use std::io;
use std::path::{Path, PathBuf};

/// Consecutive lines, and what is missing before them.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The number of the first line.
    pub first: u64,
    /// Where it begins in the output, where that is known.
    pub position: Option<u64>,
    /// None when a gap is all there is.
    pub lines: Vec<LogLine>,
    pub gap: Option<Gap>,
    /// From where to go on when this is stored.
    pub end: Bookmark,
}

/// A place to go on from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bookmark {
    /// The number of the next line.
    pub next: u64,
    /// Where it begins in the output, where that is known.
    pub position: Option<u64>,
}

impl Bookmark {
    /// The first line.
    pub const START: Self = Self { next: 1, position: Some(0) };
}

/// How much one batch may hold.
#[derive(Clone, Copy, Debug)]
pub struct BatchLimits {
    pub lines: usize,
    pub bytes: usize,
}

/// Reads one stream's spool.
pub struct SpoolReader {
    folder: PathBuf,
    output: Output,
    cutter: Cutter,
    open: Option<Source>,
}

impl SpoolReader {
    /// Starts at a line.
    pub fn open(folder: &Path, output: Output, from: Bookmark) -> Self {
        Self { folder: folder.to_owned(), output, cutter: Cutter::new(from), open: None }
    }

    /// The next lines; none when there are no more yet.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn read(&mut self, limits: BatchLimits) -> io::Result<Option<Batch>> {
        let batch = self.read_next(limits)?;
        if let (None, Some(open)) = (&batch, &mut self.open) {
            // Most instances are silent most of the time, and there are many of them.
            open.release();
        }
        Ok(batch)
    }

    /// The begin of a line that nobody will end any more: once nothing else is left and nothing writes.
    pub fn rest(&mut self) -> Option<Batch> {
        self.cutter.rest()
    }

    /// Deletes the segments whose lines are all before this number, but never the last one.
    ///
    /// # Errors
    /// When a file cannot be deleted.
    pub fn forget_before(&self, number: u64) -> io::Result<()> {
        let segments = segments(&self.folder, self.output)?;
        for pair in segments.windows(2).filter(|pair| pair[1].first <= number) {
            match std::fs::remove_file(&pair[0].path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// The segments that are closed and not being read.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn waiting(&self) -> io::Result<Vec<Segment>> {
        let mut segments = segments(&self.folder, self.output)?;
        segments.pop();
        let current = self.open.as_ref().map_or(0, |open| open.first);
        segments.retain(|segment| segment.first > current);
        Ok(segments)
    }

    fn read_next(&mut self, limits: BatchLimits) -> io::Result<Option<Batch>> {
        loop {
            if self.open.is_none() && !self.open_first()? {
                return Ok(None);
            }
            if self.read_open(limits)? {
                return Ok(self.cutter.batch());
            }
            let Some(next) = self.successor()? else {
                return Ok(self.cutter.batch());
            };
            // Lines may have come between the last read and the look for a successor.
            if self.read_open(limits)? {
                return Ok(self.cutter.batch());
            }
            if let Some(source) = Source::open(&next)? {
                self.open = Some(source);
            }
        }
    }

    /// Reads on in the open segment; says whether the batch is full.
    fn read_open(&mut self, limits: BatchLimits) -> io::Result<bool> {
        let Some(open) = &mut self.open else { return Ok(false) };
        while !self.cutter.is_full(limits) {
            let taken = match open.next()? {
                Some(Piece::Frame(frame, bytes)) => self.cutter.frame(&frame, bytes, limits),
                Some(Piece::Record(number, at, text)) => self.cutter.record(number, at, text),
                None => return Ok(false),
            };
            open.advance(taken);
        }
        Ok(true)
    }

    /// Opens the segment in which the next line begins, or the first one after it.
    fn open_first(&mut self) -> io::Result<bool> {
        let segments = segments(&self.folder, self.output)?;
        let next = self.cutter.next();
        let holds = segments.iter().rposition(|segment| segment.first <= next).unwrap_or(0);
        let Some(segment) = segments.get(holds) else {
            return Ok(false);
        };
        self.open = Source::open(segment)?;
        // It may just have been packed or dropped: the next look shows how it stands.
        Ok(self.open.is_some())
    }

    fn successor(&self) -> io::Result<Option<Segment>> {
        let Some(open) = &self.open else { return Ok(None) };
        // A file that could not be written was removed, and another begun under its name.
        let least = if open.is_removed()? { open.first } else { open.first + 1 };
        let follows = |segment: &Segment| {
            segment.first > open.first || (segment.first >= least && segment.form == Form::Frames)
        };
        Ok(segments(&self.folder, self.output)?.into_iter().find(follows))
    }
}
