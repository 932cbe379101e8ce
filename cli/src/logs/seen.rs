//! Which lines were read: a batch that was sent again brings nothing new, and a number that is left out is a gap.

use super::entry::{Entry, Origin, What};
use bus::logs::LogEntry;
use events::InstanceId;
use events::log::{Gap, GapReason, LogBatch};
use events::subject::{self, Output};
use std::collections::HashMap;
use std::rc::Rc;

/// Where the reading began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// With the oldest that is stored: what is missing before that is told.
    Oldest,
    /// Somewhere: what came before is of no interest.
    Midway,
}

/// What was read of every stream.
#[derive(Debug)]
pub struct Seen {
    begin: Begin,
    streams: HashMap<(InstanceId, Output), Place>,
}

/// Where the next line of a stream begins.
#[derive(Clone, Copy, Debug)]
struct Place {
    next: u64,
    /// In bytes of its output, where that is known.
    position: Option<u64>,
}

impl Seen {
    pub fn new(begin: Begin) -> Self {
        Self { begin, streams: HashMap::new() }
    }

    /// What is new in a batch.
    pub fn fresh(&mut self, entry: LogEntry) -> Vec<Entry> {
        let Some((_, app, instance, output)) = subject::parse_log(&entry.subject) else { return Vec::new() };
        let batch = entry.batch;
        let place = self.streams.entry((instance, output)).or_insert_with(|| first_place(self.begin, &batch));
        if batch.next() < place.next || (batch.next() == place.next && batch.gap.is_none()) {
            return Vec::new();
        }
        let origin = Rc::new(Origin { app, instance, output, process: batch.process.clone() });
        let at = batch.lines.first().map_or_else(service::clock::now, |line| line.at);
        let gap = |(number, gap)| Entry { origin: origin.clone(), at, number, what: What::Gap(gap) };
        let mut fresh: Vec<Entry> = gaps(*place, &batch).into_iter().map(gap).collect();
        let (begin, bytes) = (place.next, batch.lines.iter().map(|line| line.bytes()).sum::<u64>());
        *place = Place { next: batch.next(), position: batch.position.map(|position| position + bytes) };
        let lines = (batch.first..).zip(batch.lines).skip_while(|(number, _)| *number < begin);
        fresh.extend(lines.map(|(number, line)| Entry {
            origin: origin.clone(),
            at: line.at,
            number,
            what: What::Line(line),
        }));
        fresh
    }
}

fn first_place(begin: Begin, batch: &LogBatch) -> Place {
    match begin {
        Begin::Oldest => Place { next: 1, position: batch.position.map(|_| 0) },
        Begin::Midway => {
            let told = batch.gap.as_ref().map_or(0, |gap| gap.lines);
            Place { next: batch.first.saturating_sub(told), position: None }
        }
    }
}

/// What is missing between a place and a batch: what the batch itself tells of, and what should have come before that.
fn gaps(place: Place, batch: &LogBatch) -> Vec<(u64, Gap)> {
    let missing = batch.first.saturating_sub(place.next);
    let told = batch.gap.clone().filter(|_| missing > 0);
    let told_lines = told.as_ref().map_or(0, |gap| gap.lines.min(missing));
    let mut gaps = Vec::new();
    if missing > told_lines {
        let known = place.position.zip(batch.position).filter(|_| told.is_none());
        let bytes = known.map(|(from, to)| to.saturating_sub(from));
        let gap = Gap { lines: missing - told_lines, bytes, reason: GapReason::NotStored };
        gaps.push((place.next, gap));
    }
    if let Some(told) = told {
        gaps.push((batch.first - told_lines, Gap { lines: told_lines, ..told }));
    }
    gaps
}
