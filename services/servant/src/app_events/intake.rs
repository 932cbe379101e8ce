//! What comes of the lines of one instance: events within their rate, series within their bound, and exact counts of all
//! that is dropped. Pure: the time comes from outside.

use super::bucket::Bucket;
use super::line::{Line, split};
use events::limits::{APP_EVENTS, APP_LINES, SERIES_PER_INSTANCE};
use events::metric::{Series, SeriesKind, Tags};
use events::report::Emitted;
use events::{InstanceId, SeriesName};
use std::collections::BTreeMap;

/// What an instance has told.
pub struct Intake {
    instance: InstanceId,
    lines: Bucket,
    events: Bucket,
    series: BTreeMap<Key, Figure>,
    counts: Counts,
    /// Those of `counts` that were told in the log of the servant.
    told: Counts,
    /// Events that were dropped since the last that was taken.
    dropped: u64,
    last_bad: Option<String>,
}

/// By what a series is known.
type Key = (SeriesName, Tags, SeriesKind);

#[derive(Clone, Copy, Debug)]
struct Figure {
    value: f64,
    has_changed: bool,
}

/// What was taken and what was not, in lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub taken: u64,
    /// Could not be read.
    pub bad: u64,
    /// Came too fast, or found no room.
    pub dropped: u64,
    /// Lost by the app itself before it could send them, by its own word.
    pub unsent: u64,
}

impl Counts {
    /// Lines of which nothing came.
    pub fn lost(&self) -> u64 {
        self.bad.saturating_add(self.dropped).saturating_add(self.unsent)
    }
}

impl Intake {
    /// Nothing was told yet.
    pub fn new(instance: InstanceId) -> Self {
        Self {
            instance,
            lines: Bucket::new(APP_LINES),
            events: Bucket::new(APP_EVENTS),
            series: BTreeMap::new(),
            counts: Counts::default(),
            told: Counts::default(),
            dropped: 0,
            last_bad: None,
        }
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Takes whole lines. What is an event and within its rate comes out; `of_servant` is the rate of all together.
    pub fn take(&mut self, now_ms: u64, bytes: &[u8], of_servant: &mut Bucket) -> Vec<Emitted> {
        let mut emitted = Vec::new();
        for text in split(bytes) {
            // Not even looked at, but for what tells of others that were lost: so a flood costs little.
            if !self.lines.take(now_ms) && !tells_of_loss(text) {
                self.counts.dropped += 1;
                continue;
            }
            match Line::parse(text) {
                Ok(Line::Event { name, fields }) => {
                    if !(self.events.has(now_ms) && of_servant.take(now_ms) && self.events.take(now_ms)) {
                        self.drop_events(1);
                        continue;
                    }
                    self.counts.taken += 1;
                    let dropped = std::mem::take(&mut self.dropped);
                    emitted.push(Emitted { instance: self.instance, name, fields, dropped });
                }
                Ok(Line::Figure { name, tags, kind, value }) => self.note((name, tags, kind), value),
                Ok(Line::Lost(count)) => {
                    self.counts.taken += 1;
                    self.counts.unsent = self.counts.unsent.saturating_add(count);
                }
                Err(error) => self.refuse(error.to_string()),
            }
        }
        emitted
    }

    /// A line that says nothing.
    pub fn refuse(&mut self, reason: String) {
        self.counts.bad += 1;
        self.last_bad = Some(reason);
    }

    /// Events that were read, and came to nothing.
    pub fn drop_events(&mut self, count: u64) {
        self.counts.dropped += count;
        self.dropped += count;
    }

    /// An event that was taken could not be kept after all.
    pub fn give_back(&mut self, emitted: &Emitted) {
        self.counts.taken -= 1;
        self.counts.dropped += 1;
        self.dropped += emitted.dropped + 1;
    }

    fn note(&mut self, key: Key, value: f64) {
        let is_counter = key.2 == SeriesKind::Counter;
        if self.series.len() >= SERIES_PER_INSTANCE && !self.series.contains_key(&key) {
            self.counts.dropped += 1;
            return;
        }
        self.counts.taken += 1;
        let figure = self.series.entry(key).or_insert(Figure { value: 0.0, has_changed: true });
        figure.value = if is_counter { (figure.value + value).min(f64::MAX) } else { value };
        figure.has_changed = true;
    }

    /// The series that changed since they were told, or all of them, but at most so many; they are told with this.
    pub fn series(&mut self, which: Which, most: usize) -> Vec<Series> {
        let wanted =
            self.series.iter_mut().filter(|(_, figure)| which == Which::All || figure.has_changed).take(most);
        let tell = |((name, tags, kind), figure): (&Key, &mut Figure)| {
            figure.has_changed = false;
            let (name, tags) = (name.clone(), tags.clone());
            Series { instance: self.instance, name, tags, kind: *kind, value: figure.value }
        };
        wanted.map(tell).collect()
    }

    /// What was lost since this was asked before, and the last line that was bad; none when nothing was.
    pub fn news(&mut self) -> Option<(Counts, Option<String>)> {
        let (now, before) = (self.counts, std::mem::replace(&mut self.told, self.counts));
        let news = Counts {
            taken: now.taken.saturating_sub(before.taken),
            bad: now.bad.saturating_sub(before.bad),
            dropped: now.dropped.saturating_sub(before.dropped),
            unsent: now.unsent.saturating_sub(before.unsent),
        };
        (news.lost() > 0).then(|| (news, self.last_bad.take()))
    }
}

/// Whether a line, by its looks, tells how many were lost before it.
fn tells_of_loss(text: &[u8]) -> bool {
    text.len() <= LOSS_BYTES && text.trim_ascii_start().starts_with(b"{\"lost\"")
}

/// Longest line that may tell of a loss when there are too many lines.
const LOSS_BYTES: usize = 64;

/// Which series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    Changed,
    All,
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::limits::APP_EVENTS_OF_SERVANT;
    use proptest::prelude::*;
    use uuid::Uuid;

    fn intake() -> (Intake, Bucket) {
        (Intake::new(InstanceId(Uuid::from_u128(1))), Bucket::new(APP_EVENTS_OF_SERVANT))
    }

    #[test]
    fn a_flood_is_bounded_and_every_line_of_it_is_counted() {
        let (mut intake, mut all) = intake();
        let flood = "{\"event\":\"a\"}\n".repeat(10_000);
        let emitted = intake.take(5, flood.as_bytes(), &mut all);
        assert_eq!((emitted.len() as u64, emitted[0].dropped), (APP_EVENTS.1, 0));
        let counts = intake.counts();
        assert_eq!((counts.taken, counts.lost()), (APP_EVENTS.1, 10_000 - APP_EVENTS.1));
        // The next one that is taken tells how many events before it were not; lines were not even looked at.
        let next = intake.take(1005, b"{\"event\":\"b\"}", &mut all);
        assert_eq!(next[0].dropped, APP_LINES.1 - APP_EVENTS.1);
        assert_eq!(intake.take(1105, b"{\"event\":\"c\"}", &mut all)[0].dropped, 0);
    }

    #[test]
    fn what_tells_of_a_loss_is_heard_in_a_flood() {
        let (mut intake, mut all) = intake();
        let flood = "{\"event\":\"a\"}\n".repeat(10_000) + "{\"lost\":500}";
        let emitted = intake.take(5, flood.as_bytes(), &mut all);
        assert_eq!(emitted.len() as u64 + intake.counts().lost(), 10_500);
    }

    #[test]
    fn an_event_that_could_not_be_kept_is_counted_with_those_before_it() {
        let (mut intake, mut all) = intake();
        let taken = intake.take(1, b"{\"event\":\"a\"}\n{\"event\":\"b\"}", &mut all);
        taken.iter().for_each(|emitted| intake.give_back(emitted));
        assert_eq!(intake.counts(), Counts { taken: 0, bad: 0, dropped: 2, unsent: 0 });
        assert_eq!(intake.take(2, b"{\"event\":\"c\"}", &mut all)[0].dropped, 2);
    }

    #[test]
    fn counters_add_up_gauges_are_set_and_both_are_bounded() {
        let (mut intake, mut all) = intake();
        intake.take(1, b"{\"counter\":\"a\"}\n{\"counter\":\"a\",\"add\":2}\n{\"gauge\":\"a\",\"value\":9}\n{\"gauge\":\"a\",\"value\":4}", &mut all);
        let values: Vec<_> = intake
            .series(Which::Changed, usize::MAX)
            .into_iter()
            .map(|series| (series.kind, series.value))
            .collect();
        assert_eq!(values, [(SeriesKind::Gauge, 4.0), (SeriesKind::Counter, 3.0)]);
        assert!(intake.series(Which::Changed, usize::MAX).is_empty());
        assert_eq!(intake.series(Which::All, usize::MAX).len(), 2);
        let many: String = (0..100).map(|at| format!("{{\"gauge\":\"g{at}\",\"value\":1}}\n")).collect();
        intake.take(2, many.as_bytes(), &mut all);
        assert_eq!(intake.series(Which::All, usize::MAX).len(), SERIES_PER_INSTANCE);
        assert_eq!(intake.counts().dropped, 100 + 2 - SERIES_PER_INSTANCE as u64);
        intake.take(3, b"{\"counter\":\"a\",\"add\":1e308}\n{\"counter\":\"a\",\"add\":1e308}", &mut all);
        assert!(intake.series(Which::Changed, usize::MAX)[0].value.is_finite());
    }

    #[test]
    fn bad_lines_and_the_losses_of_the_app_are_told_once() {
        let (mut intake, mut all) = intake();
        assert_eq!(intake.news(), None);
        intake.take(1, b"nothing\n{\"lost\":3}\n{\"lost\":4}", &mut all);
        let (counts, last) = intake.news().unwrap();
        assert_eq!((counts.bad, counts.unsent, counts.lost()), (1, 7, 8));
        assert!(last.unwrap().contains("no JSON"));
        assert_eq!(intake.news(), None);
    }

    proptest! {
        #[test]
        fn every_line_is_taken_or_lost(bytes in proptest::collection::vec(any::<u8>(), 0..3000), pause in 0u64..100) {
            let (mut intake, mut all) = intake();
            let _ = intake.take(pause, &bytes, &mut all);
            let counts = intake.counts();
            prop_assert_eq!(counts.taken + counts.bad + counts.dropped, split(&bytes).count() as u64);
        }
    }
}
