//! The writing end, in the holder: bytes go to disk as they came, with one header and one call for each read of the
//! pipe, and nothing is kept in memory. It never fails and never waits for a reader: a full disk or a full spool costs
//! lines, and the headers tell how many.

use super::frame::{FRAME_BYTES, Frame, HEADER, Mark, Place};
use super::{Form, Segment, record, segment_path, segments};
use events::Timestamp;
use events::subject::Output;
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::os::unix::fs::FileExt;
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

/// Appends what comes, and counts it.
pub struct SpoolWriter {
    folder: PathBuf,
    output: Output,
    limits: SpoolLimits,
    /// Where the next byte stands.
    place: Place,
    file: Option<File>,
    written: u64,
    /// The last write failed.
    is_failing: bool,
    has_news: bool,
}

impl SpoolWriter {
    /// Continues after what is there. A line that was left without an end ends here.
    ///
    /// # Errors
    /// When the folder or the last segment cannot be read or mended.
    pub fn open(folder: &Path, output: Output, limits: SpoolLimits) -> io::Result<Self> {
        let mut writer = Self {
            folder: folder.to_owned(),
            output,
            limits,
            place: end_of_all(&segments(folder, output)?)?,
            file: None,
            written: 0,
            is_failing: false,
            has_news: false,
        };
        writer.finish(Timestamp(0));
        Ok(writer)
    }

    /// The number of the line that the next byte belongs to.
    pub fn next_line(&self) -> u64 {
        self.place.line
    }

    /// Takes bytes as they came from the pipe. What cannot be written is lost, and counted.
    pub fn take(&mut self, at: Timestamp, bytes: &[u8]) {
        for bytes in bytes.chunks(FRAME_BYTES) {
            self.append(at, bytes, Mark::Open);
        }
    }

    /// Ends a line that has no newline: nothing more will come of it.
    pub fn finish(&mut self, at: Timestamp) {
        if self.place.column > 0 || self.is_failing {
            self.append(at, b"", Mark::LineEnds);
        }
    }

    /// Whether anything came since it was asked the last time.
    pub fn flush(&mut self) -> bool {
        std::mem::take(&mut self.has_news)
    }

    #[cfg(test)]
    pub fn is_failing(&self) -> bool {
        self.is_failing
    }

    fn append(&mut self, at: Timestamp, bytes: &[u8], mark: Mark) {
        let frame =
            Frame { place: self.place, at, length: bytes.len(), mark, is_after_failure: self.is_failing };
        match self.write(&frame.encode(), bytes) {
            Ok(()) => self.is_failing = false,
            Err(error) => self.fail(&error),
        }
        self.place = frame.end(bytes);
        self.has_news = true;
    }

    /// Said once, to `holder.log`, until writing works again.
    fn fail(&mut self, error: &io::Error) {
        self.file = None;
        if !std::mem::replace(&mut self.is_failing, true) {
            // On a full disk there is nobody to tell.
            let _ = writeln!(io::stderr(), "lines of {} are lost: {error}", self.output);
        }
    }

    fn write(&mut self, header: &[u8; HEADER], bytes: &[u8]) -> io::Result<()> {
        if self.written >= self.limits.segment_bytes {
            self.file = None;
        }
        if self.file.is_none() {
            self.begin_segment()?;
        }
        let file = self.file.as_mut().expect("begun just now");
        if let Err(error) = write_all(file, &mut [IoSlice::new(header), IoSlice::new(bytes)]) {
            // What is half written must not be taken for a frame, and a full disk not be littered with empty files.
            match self.written {
                0 => std::fs::remove_file(self.path())?,
                written => file.set_len(written)?,
            }
            return Err(error);
        }
        self.written += (HEADER + bytes.len()) as u64;
        Ok(())
    }

    fn begin_segment(&mut self) -> io::Result<()> {
        self.drop_oldest()?;
        let file = OpenOptions::new().append(true).create(true).open(self.path())?;
        self.written = file.metadata()?.len();
        self.file = Some(file);
        Ok(())
    }

    /// The segment that begins here.
    fn path(&self) -> PathBuf {
        segment_path(&self.folder, self.output, self.place.first())
    }

    fn drop_oldest(&self) -> io::Result<()> {
        let mut segments = segments(&self.folder, self.output)?;
        // The newest stays in any case: it tells where the output goes on.
        let newest = segments.pop();
        let kept = newest.map_or(0, |segment| segment.path.metadata().map_or(0, |meta| meta.len()));
        let sizes: Vec<u64> =
            segments.iter().map(|segment| segment.path.metadata().map_or(0, |meta| meta.len())).collect();
        let mut total: u64 = sizes.iter().sum::<u64>() + kept;
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

fn write_all(file: &mut File, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
    while !slices.is_empty() {
        match file.write_vectored(slices) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(length) => IoSlice::advance_slices(&mut slices, length),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn remove(segment: &Segment) -> io::Result<()> {
    match std::fs::remove_file(&segment.path) {
        // The Servant has shipped and deleted it meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Where the output stands after all that is there. A segment may be empty when the disk was full.
pub fn end_of_all(segments: &[Segment]) -> io::Result<Place> {
    for segment in segments.iter().rev() {
        let end = match segment.form {
            Form::Frames => mend(segment)?,
            Form::Records => Some(Place { line: record::mend(segment)?, ..Place::START }),
            // Only what has a successor is packed; without it, only the number is known.
            Form::Packed => None,
        };
        if let Some(end) = end {
            return Ok(end);
        }
    }
    Ok(segments.last().map_or(Place::START, |last| Place { line: last.first, ..Place::START }))
}

/// Cuts a torn frame off a segment; gives the place after the last whole one.
fn mend(segment: &Segment) -> io::Result<Option<Place>> {
    let file = OpenOptions::new().read(true).write(true).open(&segment.path)?;
    let length = file.metadata()?.len();
    let (mut offset, mut last) = (0, None);
    let mut header = [0; HEADER];
    while offset + HEADER as u64 <= length {
        file.read_exact_at(&mut header, offset)?;
        let Some(frame) = Frame::decode(&header) else { break };
        let end = offset + (HEADER + frame.length) as u64;
        if end > length {
            break;
        }
        last = Some((frame, offset));
        offset = end;
    }
    if offset < length {
        file.set_len(offset)?;
    }
    let Some((frame, offset)) = last else { return Ok(None) };
    let mut bytes = vec![0; frame.length];
    file.read_exact_at(&mut bytes, offset + HEADER as u64)?;
    Ok(Some(frame.end(&bytes)))
}
