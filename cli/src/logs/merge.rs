//! Merging the output of several instances by time. Lines of one stream never change their order, whatever the clock of
//! their host did.

use super::entry::{Entry, What};
use events::subject::Output;
use events::{InstanceId, Timestamp};
use std::collections::{HashMap, VecDeque};
use std::time::Duration;
use tokio::time::Instant;

/// How long a line that was just stored is held back for those of other instances that are older.
const HOLD: Duration = Duration::from_millis(200);
/// Most lines that are held at a time; beyond, the older half goes out as it is.
const HELD: usize = 500_000;

/// Lines on their way out.
#[derive(Default)]
pub struct Merger {
    held: VecDeque<Held>,
    latest: HashMap<(InstanceId, Output), Timestamp>,
    sorted: bool,
}

struct Held {
    /// Its time, or that of the line before it in its stream, if that is later.
    at: Timestamp,
    came: Instant,
    entry: Entry,
}

impl Merger {
    /// Takes what was read, in the order in which it is stored.
    pub fn add(&mut self, entries: impl IntoIterator<Item = Entry>) {
        let came = Instant::now();
        for entry in entries {
            let latest = self.latest.entry((entry.origin.instance, entry.origin.output)).or_default();
            *latest = entry.at.max(*latest);
            self.held.push_back(Held { at: *latest, came, entry });
        }
        self.sorted = false;
    }

    /// How many lines are held.
    pub fn lines(&self) -> usize {
        self.held.iter().filter(|held| matches!(held.entry.what, What::Line(_))).count()
    }

    /// When the first must go out.
    pub fn due(&self) -> Option<Instant> {
        self.held.iter().map(|held| held.came + HOLD).min()
    }

    /// Whether it holds as much as it may.
    pub fn is_full(&self) -> bool {
        self.held.len() >= HELD
    }

    /// The older half, by time.
    pub fn take_half(&mut self) -> Vec<Entry> {
        self.sort();
        self.held.drain(..self.held.len() / 2).map(|held| held.entry).collect()
    }

    /// Everything, by time.
    pub fn take_all(&mut self) -> Vec<Entry> {
        self.sort();
        self.held.drain(..).map(|held| held.entry).collect()
    }

    /// What was held long enough, and what is older than that, by time.
    pub fn take_due(&mut self) -> Vec<Entry> {
        self.sort();
        let now = Instant::now();
        let last_due = self.held.iter().rposition(|held| held.came + HOLD <= now);
        let due = last_due.map_or(0, |last| last + 1).max(self.held.len().saturating_sub(HELD));
        self.held.drain(..due).map(|held| held.entry).collect()
    }

    /// Keeps the last so many lines, and the gaps among them.
    pub fn keep_last(&mut self, lines: usize) {
        self.sort();
        let mut more = self.lines().saturating_sub(lines);
        while more > 0 || (lines == 0 && !self.held.is_empty()) {
            match self.held.pop_front() {
                Some(Held { entry: Entry { what: What::Line(_), .. }, .. }) => more = more.saturating_sub(1),
                Some(_) => {}
                None => return,
            }
        }
    }

    fn sort(&mut self) {
        if !self.sorted {
            self.held.make_contiguous().sort_by_key(|held| held.at);
            self.sorted = true;
        }
    }
}
