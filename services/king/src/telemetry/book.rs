//! The book of telemetry: frames in, the newest figures and a bounded past out. Pure but for the moments that it is given.

use super::history::History;
use events::metric::{Frame, InstanceFigures, Series, SeriesKind, Tags, Top};
use events::{InstanceId, SeriesName, ServantId, limits};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

/// How long a silent servant is remembered.
pub const FORGOTTEN: Duration = Duration::from_secs(10 * 60);
/// Most instances that are remembered.
const INSTANCES: usize = 50_000;

/// Everything that is known.
#[derive(Default)]
pub struct Book {
    servants: BTreeMap<ServantId, ServantRecord>,
    instances: HashMap<InstanceId, InstanceRecord>,
}

/// What is known of a servant.
pub struct ServantRecord {
    /// The newest; its `top` is the last that any frame had.
    pub frame: Frame,
    pub heard: Instant,
    /// Frames of the lives that were followed which never came.
    pub missed: u64,
    pub history: History,
}

/// What is known of an instance.
pub struct InstanceRecord {
    pub servant: ServantId,
    pub figures: InstanceFigures,
    pub heard: Instant,
    pub history: History,
    pub series: BTreeMap<SeriesKey, f64>,
}

/// By what a series is known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SeriesKey {
    pub name: SeriesName,
    pub tags: Tags,
    pub kind: SeriesKind,
}

impl Book {
    /// All servants.
    pub fn servants(&self) -> impl Iterator<Item = &ServantRecord> {
        self.servants.values()
    }

    /// A servant.
    pub fn servant(&self, id: ServantId) -> Option<&ServantRecord> {
        self.servants.get(&id)
    }

    /// An instance.
    pub fn instance(&self, id: InstanceId) -> Option<&InstanceRecord> {
        self.instances.get(&id)
    }

    /// Takes a frame that was heard at this moment. One that is older than what is known, or known, changes nothing.
    pub fn take(&mut self, frame: Frame, heard: Instant) {
        let servant = frame.servant;
        let mut gone: Vec<InstanceId> = Vec::new();
        let is_full = self.servants.len() >= limits::SERVANTS;
        match self.servants.get_mut(&servant) {
            Some(known) if (frame.life, frame.number) <= (known.frame.life, known.frame.number) => return,
            Some(known) => {
                known.missed += missing(&known.frame, &frame);
                if known.frame.instances.ids != frame.instances.ids {
                    let now: HashSet<_> = frame.instances.ids.iter().collect();
                    gone.extend(known.frame.instances.ids.iter().filter(|id| !now.contains(id)));
                }
            }
            None if is_full => return,
            None => {}
        }
        for id in gone {
            // It may have been told of by another servant since.
            if self.instances.get(&id).is_some_and(|record| record.servant == servant) {
                self.instances.remove(&id);
            }
        }
        self.note_instances(&frame, heard);
        self.note_servant(frame, heard);
    }

    fn note_servant(&mut self, mut frame: Frame, heard: Instant) {
        frame.series = Vec::new();
        let (at, host) = (frame.at, &frame.host);
        let (cpu, memory) = (u32::from(host.cpu), host.memory_kib.saturating_sub(host.available_kib));
        match self.servants.get_mut(&frame.servant) {
            Some(record) => {
                let top = frame.top.take().or_else(|| record.frame.top.take());
                record.frame = Frame { top, ..frame };
                record.heard = heard;
                record.history.push(at, cpu, memory);
            }
            None => {
                let mut history = History::default();
                history.push(at, cpu, memory);
                let record = ServantRecord { heard, missed: 0, history, frame };
                self.servants.insert(record.frame.servant, record);
            }
        }
    }

    fn note_instances(&mut self, frame: &Frame, heard: Instant) {
        for figures in frame.instances.rows() {
            let is_full = self.instances.len() >= INSTANCES;
            if is_full && !self.instances.contains_key(&figures.instance) {
                continue;
            }
            let record = self.instances.entry(figures.instance).or_insert_with(|| InstanceRecord {
                servant: frame.servant,
                figures,
                heard,
                history: History::default(),
                series: BTreeMap::new(),
            });
            (record.servant, record.figures, record.heard) = (frame.servant, figures, heard);
            record.history.push(frame.at, figures.cpu, u64::from(figures.memory_kib));
        }
        for series in &frame.series {
            if let Some(record) = self.instances.get_mut(&series.instance) {
                record.note(series);
            }
        }
    }

    /// Forgets who is silent for long.
    pub fn sweep(&mut self, now: Instant) {
        let is_fresh = |heard: Instant| now.saturating_duration_since(heard) < FORGOTTEN;
        self.servants.retain(|_, record| is_fresh(record.heard));
        self.instances.retain(|_, record| is_fresh(record.heard));
    }
}

impl ServantRecord {
    /// The processes that take the most.
    pub fn top(&self) -> Top {
        self.frame.top.clone().unwrap_or_default()
    }
}

impl InstanceRecord {
    fn note(&mut self, series: &Series) {
        let key = SeriesKey { name: series.name.clone(), tags: series.tags.clone(), kind: series.kind };
        if self.series.len() < limits::SERIES_PER_INSTANCE || self.series.contains_key(&key) {
            self.series.insert(key, series.value);
        }
    }
}

/// How many frames are missing between two of a servant.
fn missing(known: &Frame, next: &Frame) -> u64 {
    let before = if known.life == next.life { known.number } else { 0 };
    next.number.saturating_sub(before + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::Timestamp;
    use events::metric::{Host, Instances, ProcessFigures, SCHEMA};
    use proptest::prelude::*;
    use uuid::Uuid;

    fn servant() -> ServantId {
        ServantId(Uuid::from_u128(7))
    }

    fn instance(number: u128) -> InstanceId {
        InstanceId(Uuid::from_u128(number))
    }

    fn frame(life: u64, number: u64, ids: &[u128]) -> Frame {
        let mut instances = Instances::default();
        for id in ids {
            instances.push(InstanceFigures {
                instance: instance(*id),
                cpu: 10,
                memory_kib: 100,
                descriptors: 3,
                processes: 1,
                threads: 1,
                restarts: 0,
                lost: 0,
            });
        }
        Frame {
            schema: SCHEMA,
            servant: servant(),
            name: "one".parse().unwrap(),
            domain: "default".parse().unwrap(),
            life: Timestamp(life),
            number,
            at: Timestamp(number * 1000),
            interval_ms: 1000,
            dropped: 0,
            cost_us: 1,
            host: Host { cpu: 500, memory_kib: 10, available_kib: 4, ..Host::default() },
            instances,
            left_out: 0,
            top: None,
            series: Vec::new(),
        }
    }

    fn take(book: &mut Book, frame: Frame, at: Instant) {
        book.take(frame, at);
    }

    #[test]
    fn gaps_are_counted_and_repeats_and_older_lives_change_nothing() {
        let (mut book, now) = (Book::default(), Instant::now());
        for (life, number) in [(1, 5), (1, 6), (1, 6), (1, 9), (1, 7), (2, 1), (1, 10), (2, 4)] {
            take(&mut book, frame(life, number, &[]), now);
        }
        let record = book.servant(servant()).unwrap();
        assert_eq!((record.missed, record.frame.life, record.frame.number), (4, Timestamp(2), 4));
    }

    #[test]
    fn what_comes_now_and_then_stays_until_it_comes_anew() {
        let (mut book, now) = (Book::default(), Instant::now());
        let process = ProcessFigures { pid: 1, name: "x".into(), cpu: 1, memory_kib: 1, instance: None };
        let top = Top { by_cpu: vec![process], by_memory: Vec::new() };
        take(&mut book, Frame { top: Some(top.clone()), ..frame(1, 1, &[]) }, now);
        take(&mut book, frame(1, 2, &[]), now);
        assert_eq!(book.servant(servant()).unwrap().top(), top);
    }

    #[test]
    fn an_instance_is_gone_with_the_frame_that_does_not_tell_of_it() {
        let (mut book, now) = (Book::default(), Instant::now());
        let later = now + Duration::from_secs(1);
        take(&mut book, frame(1, 1, &[1, 2]), now);
        take(&mut book, frame(1, 2, &[2, 3]), later);
        assert!(book.instance(instance(1)).is_none());
        assert!(book.instance(instance(2)).is_some() && book.instance(instance(3)).is_some());
        book.sweep(later + FORGOTTEN);
        assert!(book.servants().next().is_none() && book.instance(instance(2)).is_none());
    }

    #[test]
    fn series_are_kept_up_to_a_bound() {
        let (mut book, now) = (Book::default(), Instant::now());
        let series = |name: usize, value: f64| Series {
            instance: instance(1),
            name: format!("s{name}").parse().unwrap(),
            tags: Tags::new(),
            kind: SeriesKind::Gauge,
            value,
        };
        let first = (0..100).map(|name| series(name, 1.0)).collect();
        take(&mut book, Frame { series: first, ..frame(1, 1, &[1]) }, now);
        take(&mut book, Frame { series: vec![series(3, 2.5)], ..frame(1, 2, &[1]) }, now);
        let record = book.instance(instance(1)).unwrap();
        assert_eq!(record.series.len(), limits::SERIES_PER_INSTANCE);
        let third = record.series.iter().find(|(key, _)| key.name.as_str() == "s3").unwrap();
        assert_eq!(*third.1, 2.5);
    }

    proptest! {
        #[test]
        fn frames_in_order_with_holes_miss_exactly_the_holes(
            steps in proptest::collection::vec(1u64..5, 1..50),
        ) {
            let (mut book, now, mut number) = (Book::default(), Instant::now(), 0);
            for step in &steps {
                number += step;
                take(&mut book, frame(1, number, &[]), now);
            }
            let holes: u64 = steps[1..].iter().map(|step| step - 1).sum();
            prop_assert_eq!(book.servant(servant()).unwrap().missed, holes);
        }
    }
}
