//! What belongs to one error: the line that tells of it, the lines around it, and the stack trace that follows.

use super::Alarm;
use super::limit::Limit;
use super::patterns::{Patterns, is_frame};
use events::Timestamp;
use events::limits::{ERROR_LINES, TEXT_BYTES};
use events::log::LogLine;
use events::subject::Output;

/// Longest line of a report, in bytes; what is longer is cut.
const LINE_BYTES: usize = 400;
/// Most bytes of the lines of a report: with everything else below what the King takes.
const LINES_BYTES: usize = TEXT_BYTES - 2 * 1024;
/// How long the lines after an error are waited for, in milliseconds.
const SETTLE_MS: u64 = 1000;
/// Lines of a stack trace that are told beyond the usual lines after an error.
const TRACE_LINES: usize = 40;

/// Watches the two streams of an instance.
pub struct Watch {
    patterns: Patterns,
    streams: [Stream; 2],
    limit: Limit,
    alarms: Vec<Alarm>,
}

#[derive(Default)]
struct Stream {
    /// The next line that was not looked at yet.
    next: u64,
    /// The last lines that were looked at.
    before: Vec<Vec<u8>>,
    open: Option<Open>,
}

/// An error whose lines are not all there yet.
struct Open {
    alarm: Alarm,
    /// Tells equal errors from others before all of its lines are there.
    key: u64,
    bytes: usize,
    /// How many more lines belong to it, and how many more of a stack trace.
    after: usize,
    trace: usize,
    /// Its headline is in a line that comes.
    is_headless: bool,
    since: Timestamp,
}

impl Watch {
    pub fn new(patterns: Patterns) -> Self {
        Self { patterns, streams: Default::default(), limit: Limit::new(), alarms: Vec::new() }
    }

    /// Looks at lines that were read; at each once, however often they are read.
    pub fn look(&mut self, output: Output, first: u64, lines: &[LogLine], now: Timestamp) {
        if !self.patterns.is_on() {
            return;
        }
        for (index, line) in lines.iter().enumerate() {
            let number = first + index as u64;
            if number >= self.streams[output as usize].next {
                self.line(output, number, line, &lines[..index], now);
            }
        }
        self.remember(output, first, lines);
    }

    /// Whether it has something to say or to wait for.
    pub fn is_waiting(&self) -> bool {
        self.streams.iter().any(|stream| stream.open.is_some()) || self.limit.has_waiting()
    }

    /// What is to be told now.
    pub fn alarms(&mut self, now: Timestamp) -> Vec<Alarm> {
        for output in Output::ALL {
            let open = &self.streams[output as usize].open;
            if open.as_ref().is_some_and(|open| now.since(open.since) >= SETTLE_MS) {
                self.close(output, now);
            }
        }
        while let Some(alarm) = self.limit.due(now) {
            self.alarms.push(alarm);
        }
        std::mem::take(&mut self.alarms)
    }

    /// What is to be told when nothing more comes.
    pub fn end(&mut self, now: Timestamp) -> Vec<Alarm> {
        Output::ALL.into_iter().for_each(|output| self.close(output, now));
        self.alarms(now)
    }

    fn line(&mut self, output: Output, number: u64, line: &LogLine, batch: &[LogLine], now: Timestamp) {
        let found = self.patterns.find(&line.text).map(str::to_owned);
        let stream = &mut self.streams[output as usize];
        if let Some(open) = &mut stream.open {
            if open.takes(&line.text, found.as_deref()) {
                return;
            }
            self.close(output, now);
        }
        match found {
            Some(pattern) => self.begin(output, number, line, batch, pattern, now),
            None if is_frame(&line.text) => self.begin_at_trace(output, number, line, batch, now),
            None => {}
        }
    }

    fn begin(
        &mut self,
        output: Output,
        number: u64,
        line: &LogLine,
        batch: &[LogLine],
        pattern: String,
        now: Timestamp,
    ) {
        let before = self.lines_before(output, batch);
        let headline = shown(&line.text);
        let is_headless = matches!(pattern.as_str(), "python-traceback" | "rust-panic");
        let (repeats, others, fingerprint) = (0, 0, 0);
        let pattern = shown(pattern.as_bytes());
        let alarm = Alarm {
            output,
            number,
            at: line.at,
            pattern,
            fingerprint,
            headline,
            lines: Vec::new(),
            repeats,
            others,
        };
        let mut open = Open {
            key: kind_of(&alarm.headline),
            alarm,
            bytes: 0,
            after: self.patterns.after,
            trace: TRACE_LINES,
            is_headless,
            since: now,
        };
        before.iter().for_each(|line| open.push(line));
        open.push(&line.text);
        self.streams[output as usize].open = Some(open);
        if self.patterns.after == 0 && !is_headless {
            self.close(output, now);
        }
    }

    /// A stack trace without a line before it that tells of an error is none, unless that line names an exception.
    fn begin_at_trace(
        &mut self,
        output: Output,
        number: u64,
        line: &LogLine,
        batch: &[LogLine],
        now: Timestamp,
    ) {
        let stream = &self.streams[output as usize];
        let last = batch.last().map(|line| line.text.clone()).or_else(|| stream.before.last().cloned());
        let Some(head) = last.filter(|last| self.patterns.is_exception(last)) else { return };
        let head = LogLine { text: head, ..line.clone() };
        let batch = &batch[..batch.len().saturating_sub(1)];
        self.begin(output, number.saturating_sub(1), &head, batch, "stack-trace".to_owned(), now);
        if let Some(open) = &mut self.streams[output as usize].open {
            open.takes(&line.text, None);
        }
    }

    fn lines_before(&self, output: Output, batch: &[LogLine]) -> Vec<Vec<u8>> {
        let stream = &self.streams[output as usize];
        let wanted = self.patterns.before;
        let from_batch = &batch[batch.len().saturating_sub(wanted)..];
        let more = wanted - from_batch.len();
        let carried = &stream.before[stream.before.len().saturating_sub(more)..];
        carried.iter().cloned().chain(from_batch.iter().map(|line| line.text.clone())).collect()
    }

    /// Keeps what the next batch may need.
    fn remember(&mut self, output: Output, first: u64, lines: &[LogLine]) {
        let stream = &mut self.streams[output as usize];
        stream.next = stream.next.max(first + lines.len() as u64);
        // One more than is told before an error: the head of a stack trace.
        let wanted = self.patterns.before + 1;
        let last = &lines[lines.len().saturating_sub(wanted)..];
        let cut = |line: &LogLine| line.text[..line.text.len().min(LINE_BYTES)].to_vec();
        stream.before.extend(last.iter().map(cut));
        let more = stream.before.len().saturating_sub(wanted);
        stream.before.drain(..more);
    }

    fn close(&mut self, output: Output, now: Timestamp) {
        if let Some(open) = self.streams[output as usize].open.take() {
            self.alarms.extend(self.limit.offer(open.done(), now));
        }
    }
}

impl Open {
    /// Takes a line that belongs to it.
    fn takes(&mut self, line: &[u8], found: Option<&str>) -> bool {
        let is_indented = line.first().is_some_and(u8::is_ascii_whitespace);
        if found.is_some_and(|pattern| pattern != "python-traceback") && !is_indented {
            let is_same = kind_of(&shown(line)) == self.key;
            if is_same {
                self.alarm.repeats += 1;
            }
            return is_same;
        }
        self.find_headline(line);
        let left = if is_indented || found.is_some() { &mut self.trace } else { &mut self.after };
        if *left == 0 {
            return false;
        }
        *left -= 1;
        self.push(line);
        true
    }

    /// Of a traceback, what went wrong stands in its last line; of a panic, in its second.
    fn find_headline(&mut self, line: &[u8]) {
        let is_body = line.first().is_some_and(u8::is_ascii_whitespace);
        if !self.is_headless || is_body || line.is_empty() {
            return;
        }
        self.is_headless = false;
        let text = shown(line);
        self.alarm.headline = match self.alarm.pattern.as_str() {
            "python-traceback" => text,
            _ if self.alarm.headline.ends_with(':') => cut(format!("{} {text}", self.alarm.headline)),
            _ => return,
        };
    }

    fn push(&mut self, line: &[u8]) {
        let text = shown(line);
        if self.alarm.lines.len() < ERROR_LINES && self.bytes + text.len() <= LINES_BYTES {
            self.bytes += text.len();
            self.alarm.lines.push(text);
        }
    }

    fn done(mut self) -> Alarm {
        self.alarm.fingerprint = kind_of(&self.alarm.headline);
        self.alarm
    }
}

/// A line as it may be shown anywhere: text without control characters, of bounded length.
fn shown(line: &[u8]) -> String {
    let line = &line[..line.len().min(LINE_BYTES)];
    let text = String::from_utf8_lossy(line);
    let tame = |letter: char| match letter {
        '\t' => ' ',
        letter if letter.is_control() => '\u{fffd}',
        letter => letter,
    };
    cut(text.trim_end().chars().map(tame).collect())
}

fn cut(mut text: String) -> String {
    if text.len() > LINE_BYTES {
        let end = (0..=LINE_BYTES).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
    }
    text
}

/// What is the same for errors that differ only in numbers and ids: FNV-1a of the text, with every run of hexadecimal
/// digits that holds a decimal one as a single mark.
fn kind_of(text: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut mix = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    for word in text.as_bytes().chunk_by(|one, other| one.is_ascii_hexdigit() == other.is_ascii_hexdigit()) {
        if word[0].is_ascii_hexdigit() && word.iter().any(u8::is_ascii_digit) {
            mix(b'#');
        } else {
            word.iter().for_each(|byte| mix(*byte));
        }
    }
    hash
}
