//! How many workers an instance shall have: more when they are busy, fewer when the rest would be well below that. A
//! pure machine: what they use of the CPU goes in, a count comes out.
//!
//! It adds workers quickly and takes them away slowly, one at a time, and only if those that stay would use less than
//! [`CALM_PERCENT`] of what makes it add one. So a constant load never makes it go to and fro.

use super::Moment;
use std::collections::VecDeque;

/// How busy those that stay may be when one is taken away, in percent of what makes it add one.
const CALM_PERCENT: u64 = 70;
/// Most looks that are remembered.
const LOOKS: usize = 1024;

/// How long the load is looked at before anything is done; after each change it is looked at anew.
#[derive(Clone, Copy, Debug)]
pub struct Windows {
    pub grow_ms: u64,
    pub shrink_ms: u64,
}

impl Default for Windows {
    fn default() -> Self {
        Self { grow_ms: 5_000, shrink_ms: 60_000 }
    }
}

/// How many workers are wanted, and the load that says so.
#[derive(Clone, Debug)]
pub struct Scale {
    min: u16,
    max: u16,
    /// What a worker may use of one CPU, in percent.
    cpu: u16,
    wanted: u16,
    /// When it was looked, and the mean of one CPU that a worker used since the look before, in thousandths.
    looks: VecDeque<(Moment, u32)>,
    /// The mean that led to the last change, in percent.
    because: Option<u16>,
}

impl Scale {
    /// Between `min` and `max`; goes on with `last`, unless that is 0.
    pub fn new(min: u16, max: u16, cpu: u16, last: u16) -> Self {
        let wanted = if last == 0 { min } else { last.clamp(min, max) };
        Self { min, max, cpu: cpu.max(1), wanted, looks: VecDeque::new(), because: None }
    }

    /// How many there shall be.
    pub fn wanted(&self) -> u16 {
        self.wanted
    }

    /// The fewest.
    pub fn min(&self) -> u16 {
        self.min
    }

    /// Whether there is anything to decide.
    pub fn is_open(&self) -> bool {
        self.min < self.max
    }

    /// The mean that led to the last change, in percent of one CPU.
    pub fn because(&self) -> Option<u16> {
        self.because
    }

    /// A look at the load. Each stands for the time since the one before.
    pub fn look(&mut self, now: Moment, mean_permille: u32, windows: Windows) {
        self.looks.push_back((now, mean_permille));
        while self.looks.len() > LOOKS
            || self.looks.get(1).is_some_and(|(second, _)| *second + windows.shrink_ms <= now)
        {
            self.looks.pop_front();
        }
        let next = match (self.mean(now, windows.grow_ms), self.mean(now, windows.shrink_ms)) {
            (Some(mean), _) if mean > self.limit() => Some((self.grown(mean), mean)),
            (_, Some(mean)) if self.is_calm(mean) => Some((self.wanted - 1, mean)),
            (Some(_) | None, Some(_) | None) => None,
        };
        if let Some((wanted, mean)) = next.filter(|(wanted, _)| *wanted != self.wanted) {
            self.wanted = wanted;
            self.because = Some(u16::try_from(mean / 10).unwrap_or(u16::MAX));
            self.looks.clear();
        }
    }

    /// In thousandths.
    fn limit(&self) -> u64 {
        u64::from(self.cpu) * 10
    }

    /// So many that each would be just below the limit, at least one more.
    fn grown(&self, mean: u64) -> u16 {
        let enough = (mean * u64::from(self.wanted)).div_ceil(self.limit());
        let enough = u16::try_from(enough).unwrap_or(u16::MAX);
        enough.max(self.wanted.saturating_add(1)).min(self.max)
    }

    /// Whether those that stay would still be well below the limit.
    fn is_calm(&self, mean: u64) -> bool {
        let rest = u64::from(self.wanted.saturating_sub(1));
        self.wanted > self.min && mean * u64::from(self.wanted) * 100 < self.limit() * rest * CALM_PERCENT
    }

    /// The mean over the last time of this length; none before so long was looked.
    fn mean(&self, now: Moment, window_ms: u64) -> Option<u64> {
        let (first, _) = self.looks.front()?;
        if now.saturating_sub(*first) < window_ms {
            return None;
        }
        let begin = now.saturating_sub(window_ms);
        let (mut sum, mut count) = (0, 0);
        for (_, permille) in self.looks.iter().filter(|(at, _)| *at > begin) {
            sum += u64::from(*permille);
            count += 1;
        }
        (count > 0).then(|| sum / count)
    }
}

#[cfg(test)]
mod laws {
    use super::*;
    use proptest::prelude::*;

    /// Workers that share a load evenly, each of at most one CPU.
    fn mean(load: u32, workers: u16) -> u32 {
        (load / u32::from(workers)).min(1000)
    }

    /// The counts over a time in which this load, in thousandths of one CPU, does not change.
    fn counts(scale: &mut Scale, now: &mut Moment, load: u32, seconds: u64) -> Vec<u16> {
        let step = |_| {
            *now += 1000;
            scale.look(*now, mean(load, scale.wanted()), Windows::default());
            scale.wanted()
        };
        (0..seconds).map(step).collect()
    }

    fn scales() -> impl Strategy<Value = Scale> {
        (1..16u16, 0..48u16, 20..=95u16, 0..70u16)
            .prop_map(|(min, more, cpu, last)| Scale::new(min, min + more, cpu, last))
    }

    proptest! {
        #[test]
        fn it_stays_between_its_ends(mut scale in scales(), loads in proptest::collection::vec((0..70_000u32, 0..200u64), 0..20)) {
            let mut now = 0;
            for (load, seconds) in loads {
                for count in counts(&mut scale, &mut now, load, seconds) {
                    prop_assert!((scale.min..=scale.max).contains(&count));
                }
            }
        }

        #[test]
        fn a_constant_load_leads_one_way_and_then_nowhere(mut scale in scales(), load in 0..70_000u32) {
            let mut now = 0;
            let counts = counts(&mut scale, &mut now, load, 5000);
            let rises = counts.windows(2).filter(|pair| pair[1] > pair[0]).count();
            let falls = counts.windows(2).filter(|pair| pair[1] < pair[0]).count();
            prop_assert!(rises == 0 || falls == 0, "{counts:?}");
            let last = counts.len() - 1;
            prop_assert_eq!(counts[last], counts[last - 100]);
        }

        #[test]
        fn more_load_never_leads_to_fewer(scale in scales(), load in 0..60_000u32, more in 0..10_000u32) {
            let (mut one, mut two) = (scale.clone(), scale);
            let (mut now, mut then) = (0, 0);
            let first = counts(&mut one, &mut now, load, 5000);
            let second = counts(&mut two, &mut then, load + more, 5000);
            // A mean in whole thousandths may cost one.
            let (first, second) = (first.last().unwrap(), second.last().unwrap());
            prop_assert!(*second + 1 >= *first, "{first} {second}");
        }

        #[test]
        fn in_the_end_they_are_not_too_busy(mut scale in scales(), load in 0..70_000u32) {
            let mut now = 0;
            counts(&mut scale, &mut now, load, 5000);
            let mean = u64::from(mean(load, scale.wanted()));
            prop_assert!(mean <= scale.limit() || scale.wanted() == scale.max);
        }
    }

    #[test]
    fn it_grows_within_seconds_and_shrinks_within_a_minute() {
        let mut scale = Scale::new(1, 8, 70, 0);
        let mut now = 0;
        let busy = counts(&mut scale, &mut now, 1900, 30);
        // One worker is at its end: as many more as would be needed for what it shows, then again.
        assert_eq!(busy.iter().position(|count| *count > 1), Some(5));
        assert_eq!(busy.last(), Some(&3));
        let calm = counts(&mut scale, &mut now, 100, 200);
        // The mean over a minute must have come down first.
        assert!((20..=60).contains(&calm.iter().position(|count| *count < 3).unwrap()), "{calm:?}");
        assert_eq!((calm.last(), scale.because()), (Some(&1), Some(5)));
    }
}
