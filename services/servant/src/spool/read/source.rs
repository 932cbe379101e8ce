//! One segment as it is read: plain or packed, in frames or in the records of older spools.

use crate::spool::frame::{FRAME_BYTES, Frame, HEADER};
use crate::spool::{Form, Segment, pack, record};
use events::Timestamp;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

/// How much is read from a file at once: more than any frame or record.
const CHUNK_BYTES: usize = 256 * 1024;
const _: () = assert!(CHUNK_BYTES >= FRAME_BYTES + HEADER);

pub struct Source {
    pub first: u64,
    form: Form,
    /// None once everything is in the buffer.
    file: Option<File>,
    /// Where the end of the buffer is in the file.
    offset: u64,
    buffer: Vec<u8>,
    /// How much of the buffer is used up.
    used: usize,
    /// Of a segment of records, the number of the next.
    number: u64,
    /// How many bytes of the frame at hand were taken already.
    inside: usize,
}

/// What stands next in a segment.
pub enum Piece<'a> {
    /// The frame, and those of its bytes that were not taken yet.
    Frame(Frame, &'a [u8]),
    Record(u64, Timestamp, &'a [u8]),
}

/// How much of a piece was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// So many bytes of its rest: it is looked at again.
    Part(usize),
    All,
}

impl Source {
    /// Opens a segment; none when it is gone.
    pub fn open(segment: &Segment) -> io::Result<Option<Self>> {
        let opened = match segment.form {
            Form::Packed => unpacked(segment).map(|bytes| (None, bytes)),
            Form::Frames | Form::Records => File::open(&segment.path).map(|file| (Some(file), Vec::new())),
        };
        let (file, buffer) = match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let (first, form) = (segment.first, segment.form);
        Ok(Some(Self { first, form, file, offset: 0, buffer, used: 0, number: first, inside: 0 }))
    }

    /// What stands next, if it is whole.
    pub fn next(&mut self) -> io::Result<Option<Piece<'_>>> {
        if self.length().is_none() && (!self.fill()? || self.length().is_none()) {
            return Ok(None);
        }
        let bytes = &self.buffer[self.used..];
        Ok(match self.form {
            Form::Frames | Form::Packed => Frame::decode(bytes)
                .map(|frame| Piece::Frame(frame, &bytes[HEADER + self.inside..HEADER + frame.length])),
            Form::Records => record::decode(bytes).map(|(at, text, _)| Piece::Record(self.number, at, text)),
        })
    }

    /// Goes on behind what was taken.
    pub fn advance(&mut self, taken: Taken) {
        match taken {
            Taken::Part(bytes) => self.inside += bytes,
            Taken::All => {
                self.used += self.length().expect("it was whole when it was looked at");
                self.number += 1;
                self.inside = 0;
            }
        }
    }

    /// Whether the file has no name any more.
    pub fn is_removed(&self) -> io::Result<bool> {
        self.file.as_ref().map_or(Ok(false), |file| Ok(file.metadata()?.nlink() == 0))
    }

    /// Gives back the memory of what can be read again.
    pub fn release(&mut self) {
        if self.file.is_some() {
            self.offset -= (self.buffer.len() - self.used) as u64;
            self.buffer = Vec::new();
            self.used = 0;
        }
    }

    /// The length of what stands next, if it is whole.
    fn length(&self) -> Option<usize> {
        let bytes = &self.buffer[self.used..];
        let length = match self.form {
            Form::Frames | Form::Packed => HEADER + Frame::decode(bytes)?.length,
            Form::Records => record::decode(bytes)?.2,
        };
        (bytes.len() >= length).then_some(length)
    }

    /// Reads on; says whether there was anything.
    fn fill(&mut self) -> io::Result<bool> {
        let Some(file) = &self.file else { return Ok(false) };
        self.buffer.drain(..self.used);
        self.used = 0;
        let held = self.buffer.len();
        self.buffer.resize(CHUNK_BYTES.max(held), 0);
        let length = file.read_at(&mut self.buffer[held..], self.offset)?;
        self.buffer.truncate(held + length);
        self.offset += length as u64;
        Ok(length > 0)
    }
}

/// A damaged segment is passed over: its lines are missing, and what follows tells how many.
fn unpacked(segment: &Segment) -> io::Result<Vec<u8>> {
    match pack::unpack(&segment.path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::error!(path = %segment.path.display(), %error, "a packed segment of a spool is damaged");
            Ok(Vec::new())
        }
        other => other,
    }
}
