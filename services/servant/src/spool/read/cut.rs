//! Cutting frames into numbered lines, as a machine without files. It sees every loss as a jump between two frames, and
//! counts it exactly: a line of which a part is lost counts as lost whole.

use super::source::Taken;
use super::{Batch, BatchLimits, Bookmark};
use crate::spool::LINE_BYTES;
use crate::spool::frame::{Frame, Mark, Place};
use events::Timestamp;
use events::log::{Gap, GapReason, LogLine};

pub struct Cutter {
    /// The next line to give out.
    next: Bookmark,
    /// Where the next byte stands; none before the first frame.
    place: Option<Place>,
    /// The line, or piece of one, that is being put together.
    piece: Piece,
    reason: GapReason,
    batch: Vec<LogLine>,
    first: Bookmark,
    gap: Option<Gap>,
    bytes: usize,
    /// What comes next belongs to another batch: it does not follow.
    is_cut_off: bool,
}

/// A piece of a line in the making.
struct Piece {
    number: u64,
    position: u64,
    at: Timestamp,
    text: Vec<u8>,
    /// It goes on with the piece before.
    is_continued: bool,
    /// Its beginning is lost, so it is left out.
    is_torn: bool,
}

impl Piece {
    fn new(number: u64, position: u64) -> Self {
        Self {
            number,
            position,
            at: Timestamp::default(),
            text: Vec::new(),
            is_continued: false,
            is_torn: false,
        }
    }
}

impl Cutter {
    pub fn new(from: Bookmark) -> Self {
        Self {
            next: from,
            place: None,
            piece: Piece::new(from.next, from.position.unwrap_or_default()),
            reason: GapReason::SpoolFull,
            batch: Vec::new(),
            first: from,
            gap: None,
            bytes: 0,
            is_cut_off: false,
        }
    }

    /// The number of the next line to give out.
    pub fn next(&self) -> u64 {
        self.next.next
    }

    pub fn is_full(&self, limits: BatchLimits) -> bool {
        self.is_cut_off
            || self.has_gap_alone()
            || self.batch.len() >= limits.lines
            || self.bytes >= limits.bytes
    }

    /// What was put together since the last time.
    pub fn batch(&mut self) -> Option<Batch> {
        self.is_cut_off = false;
        if self.batch.is_empty() && self.gap.is_none() {
            return None;
        }
        self.bytes = 0;
        Some(Batch {
            first: self.first.next,
            position: self.first.position,
            lines: std::mem::take(&mut self.batch),
            gap: self.gap.take(),
            end: self.next,
        })
    }

    /// The line in the making, if nobody will end it.
    pub fn rest(&mut self) -> Option<Batch> {
        let place = self.place?.line_ended();
        if !self.piece.text.is_empty() && !self.piece.is_torn {
            self.give(place.line, place.position, Ending::Open);
        }
        self.tell_what_is_missing(place);
        self.batch()
    }

    /// Takes a frame, of which `bytes` are not taken yet.
    pub fn frame(&mut self, frame: &Frame, bytes: &[u8], limits: BatchLimits) -> Taken {
        let is_begun = bytes.len() < frame.length;
        if !is_begun && self.place != Some(frame.place) && !self.jump(frame) {
            // What is before the jump goes first.
            return Taken::Part(0);
        }
        let mut taken = 0;
        while taken < bytes.len() {
            if self.is_full(limits) {
                return Taken::Part(taken);
            }
            taken += self.cut(frame.at, &bytes[taken..]);
        }
        if frame.mark == Mark::LineEnds {
            self.end_line();
        }
        Taken::All
    }

    /// Takes a record of an older spool.
    pub fn record(&mut self, number: u64, at: Timestamp, text: &[u8]) -> Taken {
        if number < self.next.next {
            return Taken::All;
        }
        if number > self.next.next && !self.batch.is_empty() {
            self.is_cut_off = true;
            return Taken::Part(0);
        }
        // Older spools counted no bytes.
        self.next.position = None;
        self.piece = Piece { at, text: text.to_vec(), ..Piece::new(number, 0) };
        self.give(number + 1, 0, Ending::Newline);
        self.next.position = None;
        self.first.position = None;
        Taken::All
    }

    /// Goes on at a frame that does not follow the last one; not while there are lines from before it.
    fn jump(&mut self, frame: &Frame) -> bool {
        if !self.batch.is_empty() {
            self.is_cut_off = true;
            return false;
        }
        self.reason = if frame.is_after_failure { GapReason::WriteFailed } else { GapReason::SpoolFull };
        let place = frame.place;
        self.place = Some(place);
        let within = place.column % LINE_BYTES as u64;
        self.piece = Piece::new(place.line + place.column / LINE_BYTES as u64, place.position);
        self.piece.is_torn = within > 0;
        self.piece.is_continued = place.column > 0;
        true
    }

    /// Takes bytes up to the end of a piece, or all; says how many.
    fn cut(&mut self, at: Timestamp, bytes: &[u8]) -> usize {
        let mut place = self.place.expect("a frame has told");
        if self.filled(place) == 0 {
            self.piece.at = at;
            self.piece.position = place.position;
        }
        let room = LINE_BYTES - self.filled(place);
        let window = &bytes[..bytes.len().min(room + 1)];
        let (length, ending) = match memchr::memchr(b'\n', window) {
            Some(length) => (length, Some(Ending::Newline)),
            None if bytes.len() > room => (room, Some(Ending::Open)),
            None => (bytes.len(), None),
        };
        if !self.piece.is_torn && self.piece.number >= self.next.next {
            self.piece.text.extend_from_slice(&bytes[..length]);
        }
        let end = length + usize::from(ending == Some(Ending::Newline));
        place.column += length as u64;
        place.position += end as u64;
        match ending {
            Some(Ending::Newline) => {
                place.line = self.piece.number + u64::from(!self.is_bare_newline(place));
                place.column = 0;
                self.give(place.line, place.position, Ending::Newline);
            }
            Some(Ending::Open) => self.give(self.piece.number + 1, place.position, Ending::Open),
            None => {}
        }
        self.place = Some(place);
        end
    }

    /// How many bytes the piece at this place has already.
    fn filled(&self, place: Place) -> usize {
        let before = self.begun_at(place);
        usize::try_from(place.column - before).expect("a piece is short")
    }

    /// The column at which the piece in the making begins.
    fn begun_at(&self, place: Place) -> u64 {
        (self.piece.number - place.line) * LINE_BYTES as u64
    }

    /// A line that ended exactly where its last piece did, seen after a jump to there: the newline begins no piece.
    fn is_bare_newline(&self, place: Place) -> bool {
        place.column > 0 && place.column == self.begun_at(place)
    }

    fn end_line(&mut self) {
        let Some(place) = self.place else { return };
        if place.column > 0 && !self.is_bare_newline(place) {
            self.give(self.piece.number + 1, place.position, Ending::Open);
        }
        let place = Place { line: self.piece.number, column: 0, ..place };
        self.piece = Piece::new(place.line, place.position);
        self.place = Some(place);
        // Nothing may follow for long.
        self.tell_what_is_missing(place);
    }

    /// Tells of lines that are missing right before this place, the begin of a line, without waiting for that line.
    fn tell_what_is_missing(&mut self, place: Place) {
        if self.batch.is_empty() && place.line > self.next.next {
            self.tell_gap(place.line, place.position);
            self.next = Bookmark { next: place.line, position: Some(place.position) };
        }
    }

    /// Gives out the piece, and begins the next one, which has this number and position.
    fn give(&mut self, number: u64, position: u64, ending: Ending) {
        let next = Piece { is_continued: ending == Ending::Open, ..Piece::new(number, position) };
        let piece = std::mem::replace(&mut self.piece, next);
        if piece.is_torn || piece.number < self.next.next || piece.number == number {
            return;
        }
        if self.batch.is_empty() {
            self.tell_gap(piece.number, piece.position);
        }
        self.bytes += piece.text.len() + LINE_OVERHEAD;
        self.batch.push(LogLine {
            at: piece.at,
            text: piece.text,
            continued: piece.is_continued,
            open: ending == Ending::Open,
        });
        self.next = Bookmark { next: number, position: Some(position) };
    }

    /// The batch begins here: what is missing before it?
    fn tell_gap(&mut self, number: u64, position: u64) {
        self.first = Bookmark { next: number, position: Some(position) };
        let lines = number - self.next.next;
        if lines > 0 {
            let bytes = self.next.position.map(|from| position.saturating_sub(from));
            self.gap = Some(Gap { lines, bytes, reason: self.reason });
        }
        self.reason = GapReason::SpoolFull;
    }

    fn has_gap_alone(&self) -> bool {
        self.gap.is_some() && self.batch.is_empty()
    }
}

/// What a line costs in a message beside its text.
const LINE_OVERHEAD: usize = 24;

/// How a piece ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Newline,
    /// Its line goes on, or was left without an end.
    Open,
}
