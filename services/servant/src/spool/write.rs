//! The writing end, in the holder. It never fails and never waits for a reader: a full disk or a full spool costs
//! lines, which the numbering shows as a gap.

use super::{LINE_BYTES, Segment, record, segment_path, segments};
use events::Timestamp;
use events::subject::Output;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// How large the spool of one stream may become.
#[derive(Clone, Copy, Debug)]
pub struct SpoolLimits {
    /// A new segment is begun beyond this.
    pub segment_bytes: u64,
    /// The oldest segment is dropped beyond this.
    pub spool_bytes: u64,
}

impl SpoolLimits {
    /// 4 MB segments, 128 MB per stream: 256 MB per instance.
    pub const STANDARD: Self = Self { segment_bytes: 4 << 20, spool_bytes: 128 << 20 };
}

/// Cuts bytes into lines and appends them.
pub struct SpoolWriter {
    folder: PathBuf,
    output: Output,
    limits: SpoolLimits,
    /// The number of the next line that is taken.
    next: u64,
    file: Option<File>,
    written: u64,
    /// The last write failed.
    is_failing: bool,
    /// The begin of a line whose end has not come yet.
    partial: Vec<u8>,
    /// Whole records that are not written yet, and the number of the first.
    pending: Vec<u8>,
    pending_first: u64,
}

impl SpoolWriter {
    /// Continues after the last whole line that is there.
    ///
    /// # Errors
    /// When the folder or the last segment cannot be read or mended.
    pub fn open(folder: &Path, output: Output, limits: SpoolLimits) -> io::Result<Self> {
        let next = match segments(folder, output)?.pop() {
            Some(last) => mend(&last)?,
            None => 1,
        };
        Ok(Self {
            folder: folder.to_owned(),
            output,
            limits,
            next,
            file: None,
            written: 0,
            is_failing: false,
            partial: Vec::new(),
            pending: Vec::new(),
            pending_first: next,
        })
    }

    /// Takes bytes as they came from the pipe.
    pub fn take(&mut self, at: Timestamp, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.extend(at, &rest[..end]);
            self.end_line(at);
            rest = &rest[end + 1..];
        }
        self.extend(at, rest);
    }

    /// Ends a line that has no newline: nothing more will come.
    pub fn finish(&mut self, at: Timestamp) {
        if !self.partial.is_empty() {
            self.end_line(at);
        }
    }

    /// Writes what was taken; says whether there was anything. What cannot be written is lost, and its numbers with it.
    pub fn flush(&mut self) -> bool {
        if self.pending.is_empty() {
            return false;
        }
        let result = self.write_pending();
        self.pending.clear();
        self.pending_first = self.next;
        match result {
            Ok(()) => self.is_failing = false,
            Err(error) => self.fail(&error),
        }
        true
    }

    /// Said once, to `holder.log`, until writing works again.
    fn fail(&mut self, error: &io::Error) {
        self.file = None;
        if !std::mem::replace(&mut self.is_failing, true) {
            // On a full disk there is nobody to tell.
            let _ = writeln!(io::stderr(), "lines of {} are lost: {error}", self.output);
        }
    }

    fn extend(&mut self, at: Timestamp, mut bytes: &[u8]) {
        while self.partial.len() + bytes.len() > LINE_BYTES {
            let (now, later) = bytes.split_at(LINE_BYTES - self.partial.len());
            self.partial.extend_from_slice(now);
            self.end_line(at);
            bytes = later;
        }
        self.partial.extend_from_slice(bytes);
    }

    fn end_line(&mut self, at: Timestamp) {
        record::encode(&mut self.pending, at, &self.partial);
        self.partial.clear();
        self.next += 1;
    }

    fn write_pending(&mut self) -> io::Result<()> {
        if self.written >= self.limits.segment_bytes {
            self.file = None;
        }
        if self.file.is_none() {
            self.begin_segment()?;
        }
        let file = self.file.as_mut().expect("begun just now");
        if let Err(error) = file.write_all(&self.pending) {
            // What is half written must not be taken for lines.
            file.set_len(self.written)?;
            return Err(error);
        }
        self.written += self.pending.len() as u64;
        Ok(())
    }

    fn begin_segment(&mut self) -> io::Result<()> {
        self.drop_oldest()?;
        let path = segment_path(&self.folder, self.output, self.pending_first);
        self.file = Some(OpenOptions::new().append(true).create(true).open(path)?);
        self.written = 0;
        Ok(())
    }

    fn drop_oldest(&self) -> io::Result<()> {
        let segments = segments(&self.folder, self.output)?;
        let sizes: Vec<u64> =
            segments.iter().map(|segment| segment.path.metadata().map_or(0, |meta| meta.len())).collect();
        let mut total: u64 = sizes.iter().sum();
        for (segment, size) in segments.iter().zip(sizes) {
            if total + self.limits.segment_bytes <= self.limits.spool_bytes {
                break;
            }
            remove(segment)?;
            total -= size;
        }
        Ok(())
    }
}

fn remove(segment: &Segment) -> io::Result<()> {
    match std::fs::remove_file(&segment.path) {
        // The Servant has shipped and deleted it meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Cuts a torn record off the last segment; gives the number of the line after it.
fn mend(last: &Segment) -> io::Result<u64> {
    let bytes = std::fs::read(&last.path)?;
    let (mut offset, mut next) = (0, last.first);
    while let Some((_, _, length)) = record::decode(&bytes[offset..]) {
        offset += length;
        next += 1;
    }
    if offset < bytes.len() {
        OpenOptions::new().write(true).open(&last.path)?.set_len(offset as u64)?;
    }
    Ok(next)
}
