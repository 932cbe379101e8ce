//! Whole lines for a spool that several processes write to: what one has begun is held until its end has come, so that
//! no other's bytes get in between. A process that has the spool to itself is passed through as it is.

use crate::spool::{LINE_BYTES, SpoolWriter};
use events::Timestamp;

/// Whether others write to the same spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Company {
    Alone,
    Shared,
}

/// The lines of one output of one process.
#[derive(Debug, Default)]
pub struct Lines {
    /// A line whose end has not come yet, at most [`LINE_BYTES`].
    begun: Vec<u8>,
}

impl Lines {
    /// Passes on what can be.
    pub fn pass(&mut self, bytes: &[u8], company: Company, spool: &mut SpoolWriter, at: Timestamp) {
        let whole = match company {
            Company::Alone => bytes.len(),
            Company::Shared => bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1),
        };
        let (now, later) = bytes.split_at(whole);
        if !now.is_empty() {
            self.release(spool, at);
            spool.take(at, now);
        }
        self.hold(later, spool, at);
    }

    /// Passes on a last line that has no end.
    pub fn finish(&mut self, spool: &mut SpoolWriter, at: Timestamp) {
        self.release(spool, at);
        spool.finish(at);
    }

    fn release(&mut self, spool: &mut SpoolWriter, at: Timestamp) {
        if !self.begun.is_empty() {
            spool.take(at, &self.begun);
            self.begun = Vec::new();
        }
    }

    /// A line that is too long becomes several, as in any spool.
    fn hold(&mut self, mut bytes: &[u8], spool: &mut SpoolWriter, at: Timestamp) {
        while self.begun.len() + bytes.len() > LINE_BYTES {
            let (now, later) = bytes.split_at(LINE_BYTES - self.begun.len());
            self.begun.extend_from_slice(now);
            self.release(spool, at);
            spool.take(at, b"\n");
            bytes = later;
        }
        self.begun.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::{BatchLimits, Bookmark, SpoolLimits, SpoolReader};
    use events::subject::Output;

    #[test]
    fn lines_of_several_processes_are_never_joined() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = SpoolWriter::open(folder.path(), Output::Stdout, SpoolLimits::STANDARD).unwrap();
        let (mut one, mut two, at) = (Lines::default(), Lines::default(), Timestamp(1));
        one.pass(b"first ", Company::Shared, &mut spool, at);
        two.pass(b"second\nthi", Company::Shared, &mut spool, at);
        one.pass(b"line\n", Company::Shared, &mut spool, at);
        one.pass(&vec![b'x'; LINE_BYTES + 1], Company::Shared, &mut spool, at);
        two.pass(b"rd", Company::Shared, &mut spool, at);
        two.finish(&mut spool, at);
        one.pass(b"y\n", Company::Alone, &mut spool, at);
        spool.flush();
        let mut reader = SpoolReader::open(folder.path(), Output::Stdout, Bookmark::START);
        let limits = BatchLimits { lines: 100, bytes: 1 << 20 };
        let batch = reader.read(limits).unwrap().unwrap();
        let texts: Vec<String> =
            batch.lines.iter().map(|line| String::from_utf8_lossy(&line.text).into_owned()).collect();
        assert_eq!(texts[..2], ["second", "first line"]);
        assert_eq!((texts[2].len(), texts[3].as_str(), texts[4].as_str()), (LINE_BYTES, "third", "xy"));
    }
}
