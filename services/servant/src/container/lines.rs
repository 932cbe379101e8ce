//! From the entries of the engine's log to lines, each once: pure. An entry has a moment; the place that was reached is the
//! moment of the last entry that ended a line, and how many entries of that very moment were taken.

use super::moment::Instant;
use crate::spool::LINE_BYTES;
use serde::{Deserialize, Serialize};

/// The last entry that was taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    pub at: Instant,
    /// How many of its moment were taken.
    pub seen: u32,
}

/// How far one stream of a container has come, as it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// None before the first line.
    pub mark: Option<Mark>,
    /// The number of the next line in the spool.
    pub line: u64,
}

impl Default for Place {
    fn default() -> Self {
        Self { mark: None, line: 1 }
    }
}

/// A whole line, without its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub at: Instant,
    pub text: Vec<u8>,
}

/// What stands in the place of output that the engine had thrown away before it was read.
pub const GAP: &str = "[king: output is missing here: the engine had dropped it before it was read]";

/// Cuts the entries of one stream into lines, leaving out what was taken before.
pub struct Cutter {
    /// Where the last reading ended, until that entry is passed.
    resume: Option<Mark>,
    passed: u32,
    /// Lines behind that entry that are in the spool already.
    known: u64,
    mark: Option<Mark>,
    partial: Vec<u8>,
    place: Place,
    next: u64,
}

impl Cutter {
    /// Goes on from a place; `next` is the number of the next line that the spool takes: a Servant that was killed may have
    /// spooled more than it had noted.
    pub fn new(place: Place, next: u64) -> Self {
        Self {
            resume: place.mark,
            passed: 0,
            known: next.saturating_sub(place.line),
            mark: place.mark,
            partial: Vec::new(),
            place,
            next: place.line,
        }
    }

    /// Where reading would go on now.
    pub fn place(&self) -> Place {
        self.place
    }

    /// The entries are read again, from the place on.
    pub fn again(&mut self) {
        let next = self.next;
        *self = Self::new(self.place, next);
    }

    /// One entry: its moment and its bytes. What it completes is added to the lines.
    pub fn take(&mut self, at: Instant, bytes: &[u8], lines: &mut Vec<Line>) {
        if self.was_taken(at, lines) {
            return;
        }
        self.mark = Some(match self.mark {
            Some(mark) if mark.at == at => Mark { at, seen: mark.seen + 1 },
            Some(_) | None => Mark { at, seen: 1 },
        });
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.extend(at, &rest[..end], lines);
            self.end(at, lines);
            rest = &rest[end + 1..];
        }
        self.extend(at, rest, lines);
        if self.partial.is_empty() {
            self.place = Place { mark: self.mark, line: self.next };
        }
    }

    /// Nothing more comes: what is left is a line.
    pub fn finish(&mut self, lines: &mut Vec<Line>) {
        if !self.partial.is_empty() {
            let at = self.mark.unwrap_or_default().at;
            self.end(at, lines);
        }
        self.place = Place { mark: self.mark, line: self.next };
    }

    fn was_taken(&mut self, at: Instant, lines: &mut Vec<Line>) -> bool {
        let Some(resume) = self.resume else {
            return false;
        };
        if at == resume.at && self.passed < resume.seen {
            self.passed += 1;
            if self.passed == resume.seen {
                self.resume = None;
            }
            return true;
        }
        if at < resume.at {
            return true;
        }
        self.resume = None;
        if self.passed == 0 {
            self.emit(Line { at, text: GAP.into() }, lines);
        }
        false
    }

    fn extend(&mut self, at: Instant, mut bytes: &[u8], lines: &mut Vec<Line>) {
        while self.partial.len() + bytes.len() > LINE_BYTES {
            let (now, later) = bytes.split_at(LINE_BYTES - self.partial.len());
            self.partial.extend_from_slice(now);
            self.end(at, lines);
            bytes = later;
        }
        self.partial.extend_from_slice(bytes);
    }

    fn end(&mut self, at: Instant, lines: &mut Vec<Line>) {
        let text = std::mem::take(&mut self.partial);
        self.emit(Line { at, text }, lines);
    }

    fn emit(&mut self, line: Line, lines: &mut Vec<Line>) {
        self.next += 1;
        match self.known {
            0 => lines.push(line),
            _ => self.known -= 1,
        }
    }
}

/// The moment and the bytes of an entry; none if it has no moment.
pub fn entry(message: &[u8]) -> Option<(Instant, &[u8])> {
    let space = message.iter().position(|byte| *byte == b' ')?;
    let at = Instant::parse(std::str::from_utf8(&message[..space]).ok()?)?;
    Some((at, &message[space + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(nanos: u32) -> Instant {
        Instant { seconds: 7, nanos }
    }

    fn texts(lines: &[Line]) -> Vec<String> {
        lines.iter().map(|line| String::from_utf8_lossy(&line.text).into_owned()).collect()
    }

    #[test]
    fn entries_are_cut_into_lines_and_long_ones_into_several() {
        let (mut cutter, mut lines) = (Cutter::new(Place::default(), 1), Vec::new());
        cutter.take(at(1), b"one\n", &mut lines);
        cutter.take(at(2), b"half ", &mut lines);
        assert_eq!(cutter.place().mark, Some(Mark { at: at(1), seen: 1 }), "half a line is no place");
        cutter.take(at(3), b"and half\n", &mut lines);
        cutter.take(at(3), &vec![b'x'; LINE_BYTES + 1], &mut lines);
        cutter.take(at(3), b"\n", &mut lines);
        cutter.take(at(4), b"end", &mut lines);
        cutter.finish(&mut lines);
        assert_eq!(texts(&lines)[..2], ["one", "half and half"]);
        assert_eq!(texts(&lines)[3..], ["x", "end"]);
        assert_eq!(cutter.place(), Place { mark: Some(Mark { at: at(4), seen: 1 }), line: 6 });
    }

    #[test]
    fn what_the_engine_dropped_is_said() {
        let place = Place { mark: Some(Mark { at: at(1), seen: 1 }), line: 2 };
        let (mut cutter, mut lines) = (Cutter::new(place, 2), Vec::new());
        cutter.take(at(9), b"late\n", &mut lines);
        cutter.take(at(10), b"later\n", &mut lines);
        assert_eq!(texts(&lines), [GAP, "late", "later"]);
    }

    #[test]
    fn a_clock_that_goes_back_loses_nothing_while_it_is_read() {
        let (mut cutter, mut lines) = (Cutter::new(Place::default(), 1), Vec::new());
        for moment in [5, 6, 2, 3, 6] {
            cutter.take(at(moment), format!("{moment}\n").as_bytes(), &mut lines);
        }
        assert_eq!(texts(&lines), ["5", "6", "2", "3", "6"]);
    }

    proptest! {
        /// However often the reading is cut, and whatever of what was spooled was noted, each line comes once.
        #[test]
        fn every_line_comes_once(
            moments in prop::collection::vec(0..4u32, 1..40),
            breaks in prop::collection::vec((0..40usize, any::<bool>()), 0..8),
        ) {
            let mut now = 0;
            let entries: Vec<(Instant, String)> = moments.iter().enumerate().map(|(number, step)| {
                now += step;
                // Some are parts of a line.
                let end = if number % 3 == 1 { "" } else { "\n" };
                (at(now), format!("{number}{end}"))
            }).collect();
            let whole: Vec<String> =
                entries.iter().map(|(_, text)| text.as_str()).collect::<String>().lines().map(str::to_owned).collect();
            let mut spool: Vec<Line> = Vec::new();
            let mut place = Place::default();
            for (stop, is_noted) in breaks.into_iter().chain([(entries.len(), true)]) {
                let mut cutter = Cutter::new(place, spool.len() as u64 + 1);
                for (at, text) in entries.iter().take(stop) {
                    cutter.take(*at, text.as_bytes(), &mut spool);
                }
                if is_noted {
                    place = cutter.place();
                }
            }
            let mut cutter = Cutter::new(place, spool.len() as u64 + 1);
            for (at, text) in &entries {
                cutter.take(*at, text.as_bytes(), &mut spool);
            }
            cutter.finish(&mut spool);
            prop_assert_eq!(texts(&spool), whole);
        }
    }
}
