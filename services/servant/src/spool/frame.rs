//! A frame on disk: a header of 40 bytes, then bytes exactly as they came from the pipe. Cutting them into lines is the
//! reader's work; the header says where in the output they stand, so that every loss has exact counts.
//!
//! Header, little-endian: magic (4), length of the bytes with two flags (4), time in milliseconds (8), line (8),
//! column (8), position (8).

use super::LINE_BYTES;
use events::Timestamp;

/// Bytes of a header.
pub const HEADER: usize = 40;
/// Most bytes in one frame.
pub const FRAME_BYTES: usize = LINE_BYTES;

const MAGIC: u32 = u32::from_le_bytes(*b"KSF2");
const LINE_ENDS: u32 = 1 << 31;
const AFTER_FAILURE: u32 = 1 << 30;
const LENGTH: u32 = AFTER_FAILURE - 1;

/// A place in the output of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The number of the line that the next byte belongs to, from 1; of a long line, of its first piece.
    pub line: u64,
    /// How many bytes of that line come before.
    pub column: u64,
    /// How many bytes of the whole output come before.
    pub position: u64,
}

impl Place {
    pub const START: Self = Self { line: 1, column: 0, position: 0 };

    /// Where the output stands after these bytes.
    pub fn after(self, bytes: &[u8]) -> Self {
        bytes.chunks(FRAME_BYTES).fold(self, Self::after_few)
    }

    /// The same for at most as many bytes as a line may have. So each line but the first, of which some may have come
    /// before, is one piece: newlines are counted, which is far quicker than to find them.
    fn after_few(self, bytes: &[u8]) -> Self {
        let position = self.position + bytes.len() as u64;
        let Some(end) = memchr::memchr(b'\n', bytes) else {
            return Self { column: self.column + bytes.len() as u64, position, ..self };
        };
        let rest = &bytes[end + 1..];
        let begun = memchr::memrchr(b'\n', rest).map_or(rest.len(), |end| rest.len() - end - 1);
        let more = memchr::memchr_iter(b'\n', rest).count() as u64;
        let line = self.line + pieces(self.column + end as u64) + more;
        Self { line, column: begun as u64, position }
    }

    /// Where it stands when the line ends here without a newline.
    pub fn line_ended(self) -> Self {
        match self.column {
            0 => self,
            column => Self { line: self.line + pieces(column), column: 0, ..self },
        }
    }

    /// The number of the first line, or piece of one, that begins here or later.
    pub fn first(self) -> u64 {
        self.line + self.column.div_ceil(LINE_BYTES as u64)
    }
}

/// How many pieces a line becomes.
fn pieces(length: u64) -> u64 {
    length.div_ceil(LINE_BYTES as u64).max(1)
}

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Where its bytes begin.
    pub place: Place,
    pub at: Timestamp,
    pub length: usize,
    pub mark: Mark,
    /// What came before could not be written.
    pub is_after_failure: bool,
}

/// What becomes of the line at the end of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// It goes on, unless the bytes end with a newline.
    Open,
    /// It ends: nothing more comes of the process that wrote it.
    LineEnds,
}

impl Frame {
    pub fn encode(&self) -> [u8; HEADER] {
        let mut word = u32::try_from(self.length).expect("frames are short");
        if self.mark == Mark::LineEnds {
            word |= LINE_ENDS;
        }
        if self.is_after_failure {
            word |= AFTER_FAILURE;
        }
        let mut header = [0; HEADER];
        header[..4].copy_from_slice(&MAGIC.to_le_bytes());
        header[4..8].copy_from_slice(&word.to_le_bytes());
        let numbers = [self.at.0, self.place.line, self.place.column, self.place.position];
        for (slot, number) in header[8..].chunks_exact_mut(8).zip(numbers) {
            slot.copy_from_slice(&number.to_le_bytes());
        }
        header
    }

    /// The header at the begin of these bytes; none while it is not whole, or when it is no header.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let header = bytes.get(..HEADER)?;
        let word = |at: usize| Some(u32::from_le_bytes(header.get(at..at + 4)?.try_into().ok()?));
        let number = |at: usize| Some(u64::from_le_bytes(header.get(at..at + 8)?.try_into().ok()?));
        if word(0)? != MAGIC {
            return None;
        }
        let length = (word(4)? & LENGTH) as usize;
        (length <= FRAME_BYTES).then_some(Self {
            place: Place { line: number(16)?, column: number(24)?, position: number(32)? },
            at: Timestamp(number(8)?),
            length,
            mark: if word(4)? & LINE_ENDS == 0 { Mark::Open } else { Mark::LineEnds },
            is_after_failure: word(4)? & AFTER_FAILURE != 0,
        })
    }

    /// Where the output stands after this frame with these bytes.
    pub fn end(&self, bytes: &[u8]) -> Place {
        let place = self.place.after(bytes);
        match self.mark {
            Mark::Open => place,
            Mark::LineEnds => place.line_ended(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As the format says it: byte by byte.
    fn slowly(mut place: Place, bytes: &[u8]) -> Place {
        for byte in bytes {
            place.position += 1;
            if *byte == b'\n' {
                place = Place { line: place.line + pieces(place.column), column: 0, ..place };
            } else {
                place.column += 1;
            }
        }
        place
    }

    proptest! {
        #[test]
        fn bytes_are_counted_alike_however_they_come(
            column in prop_oneof![Just(0), 1..200_000_u64],
            lengths in proptest::collection::vec(prop_oneof![0..300_usize, 65_000..132_000_usize], 0..6),
            ends in any::<bool>(),
            cut in 0..400_000_usize,
        ) {
            let place = Place { line: 7, column, position: 1_000 };
            let lines: Vec<Vec<u8>> = lengths.iter().map(|length| vec![b'x'; *length]).collect();
            let mut bytes = lines.join(&b'\n');
            if ends {
                bytes.push(b'\n');
            }
            let wanted = slowly(place, &bytes);
            prop_assert_eq!(place.after(&bytes), wanted);
            let (first, second) = bytes.split_at(cut.min(bytes.len()));
            prop_assert_eq!(place.after(first).after(second), wanted);
        }
    }
}
