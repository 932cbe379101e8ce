//! The spool: what an instance wrote, on disk until it has been shipped. One series of append-only segment files per
//! output stream; the holder writes them, the Servant reads, ships and deletes them. It is not synced: a killed process
//! loses nothing of it, because the page cache stays.

mod record;
mod write;
mod read;

pub use read::{Batch, SpoolReader};
pub use write::{SpoolLimits, SpoolWriter};

use events::subject::Output;
use std::io;
use std::path::{Path, PathBuf};

/// Longest line; what is longer becomes several.
pub const LINE_BYTES: usize = 64 * 1024;

/// A segment file and the number of its first line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Segment {
    pub first: u64,
    pub path: PathBuf,
}

fn segment_path(folder: &Path, output: Output, first: u64) -> PathBuf {
    folder.join(format!("{output}-{first:020}.spool"))
}

/// The segments of a stream, oldest first.
///
/// # Errors
/// When the folder cannot be read.
pub fn segments(folder: &Path, output: Output) -> io::Result<Vec<Segment>> {
    let prefix = format!("{output}-");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name
            .to_str()
            .and_then(|name| name.strip_prefix(&prefix)?.strip_suffix(".spool"))
            .and_then(|digits| digits.parse().ok());
        if let Some(first) = number {
            found.push(Segment { first, path: entry.path() });
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::Timestamp;

    const SMALL: SpoolLimits = SpoolLimits { segment_bytes: 200, spool_bytes: 1000 };

    fn texts(batch: &Batch) -> Vec<String> {
        batch.lines.iter().map(|line| String::from_utf8_lossy(&line.text).into_owned()).collect()
    }

    fn read_all(reader: &mut SpoolReader) -> (Vec<(u64, String)>, u64) {
        let (mut lines, mut lost) = (Vec::new(), 0);
        while let Some(batch) = reader.read(7, 1 << 20).unwrap() {
            lost += batch.lost;
            for (index, text) in texts(&batch).into_iter().enumerate() {
                lines.push((batch.first + index as u64, text));
            }
        }
        (lines, lost)
    }

    #[test]
    fn lines_come_back_numbered_across_segments_and_restarts() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = SpoolWriter::open(
            folder.path(),
            Output::Stdout,
            SpoolLimits { segment_bytes: 200, ..SpoolLimits::STANDARD },
        )
        .unwrap();
        for number in 1..=50 {
            writer.take(Timestamp(number), format!("line {number}\n").as_bytes());
            writer.flush();
        }
        drop(writer);
        let mut writer = SpoolWriter::open(folder.path(), Output::Stdout, SpoolLimits::STANDARD).unwrap();
        writer.take(Timestamp(51), b"line 51\nhalf");
        writer.finish(Timestamp(52));
        writer.flush();
        let mut reader = SpoolReader::open(folder.path(), Output::Stdout, 1);
        let (lines, lost) = read_all(&mut reader);
        assert_eq!(lost, 0);
        assert_eq!(lines.len(), 52);
        assert!(lines.iter().take(51).all(|(number, text)| *text == format!("line {number}")));
        assert_eq!(lines[51], (52, "half".to_owned()));
        let mut later = SpoolReader::open(folder.path(), Output::Stdout, 40);
        assert_eq!(read_all(&mut later).0.first().unwrap(), &(40, "line 40".to_owned()));
    }

    #[test]
    fn bytes_that_are_no_text_and_long_lines_survive() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = SpoolWriter::open(folder.path(), Output::Stderr, SpoolLimits::STANDARD).unwrap();
        let long = vec![0xff; LINE_BYTES + 10];
        writer.take(Timestamp(1), &long);
        writer.take(Timestamp(1), b"\n\0\xfe\n\n");
        writer.flush();
        let mut reader = SpoolReader::open(folder.path(), Output::Stderr, 1);
        let batch = reader.read(100, 1 << 20).unwrap().unwrap();
        let sizes: Vec<usize> = batch.lines.iter().map(|line| line.text.len()).collect();
        assert_eq!(sizes, [LINE_BYTES, 10, 2, 0]);
    }

    #[test]
    fn a_full_spool_drops_the_oldest_and_the_reader_counts_them() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = SpoolWriter::open(folder.path(), Output::Stdout, SMALL).unwrap();
        for number in 1..=200 {
            writer.take(Timestamp(number), format!("line {number}\n").as_bytes());
            writer.flush();
        }
        let mut reader = SpoolReader::open(folder.path(), Output::Stdout, 1);
        let (lines, lost) = read_all(&mut reader);
        assert!(lost > 0);
        assert_eq!(lost as usize + lines.len(), 200);
        assert_eq!(lines.last().unwrap(), &(200, "line 200".to_owned()));
        assert_eq!(lines[0].0, lost + 1);
    }

    #[test]
    fn a_torn_record_is_dropped_by_the_next_writer() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = SpoolWriter::open(folder.path(), Output::Stdout, SpoolLimits::STANDARD).unwrap();
        writer.take(Timestamp(1), b"one\ntwo\n");
        writer.flush();
        let path = segments(folder.path(), Output::Stdout).unwrap().remove(0).path;
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        let mut writer = SpoolWriter::open(folder.path(), Output::Stdout, SpoolLimits::STANDARD).unwrap();
        writer.take(Timestamp(2), b"again\n");
        writer.flush();
        let mut reader = SpoolReader::open(folder.path(), Output::Stdout, 1);
        assert_eq!(read_all(&mut reader).0, [(1, "one".to_owned()), (2, "again".to_owned())]);
    }

    #[test]
    fn what_is_shipped_is_deleted_but_for_the_open_segment() {
        let folder = tempfile::tempdir().unwrap();
        let limits = SpoolLimits { segment_bytes: 200, ..SpoolLimits::STANDARD };
        let mut writer = SpoolWriter::open(folder.path(), Output::Stdout, limits).unwrap();
        for number in 1..=50 {
            writer.take(Timestamp(number), format!("line {number}\n").as_bytes());
            writer.flush();
        }
        let mut reader = SpoolReader::open(folder.path(), Output::Stdout, 1);
        read_all(&mut reader);
        reader.forget_before(51).unwrap();
        assert_eq!(segments(folder.path(), Output::Stdout).unwrap().len(), 1);
        writer.take(Timestamp(51), b"line 51\n");
        writer.flush();
        assert_eq!(read_all(&mut reader).0, [(51, "line 51".to_owned())]);
    }
}
