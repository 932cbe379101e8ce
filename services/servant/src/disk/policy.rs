//! What is removed to keep a disk from filling, in which order, and when it counts as full. Pure: what there is and what
//! time it is comes in.
//!
//! Releases and images can be had again: first goes what was not used for long, and what newer ones have taken the place
//! of; and when the disk is too full all the same, more of them, those not used for longest first. Output of instances that
//! are gone and that is stored nowhere else cannot: it goes only beyond its cap, the oldest first.

use events::Timestamp;
use events::disk::{Disk, DiskLevel, Removable, RemovalReason};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// A level is left only when the disk is emptier by so much than where it began, in percent: so it does not flutter.
const HYSTERESIS_PERCENT: u8 = 2;
/// The output that waits takes no more than this part of a disk, whatever its cap.
const OUTPUT_PART: u64 = 10;
/// A disk with so much room is not full, whatever part of it that is.
pub const PLENTY_BYTES: u64 = 16 << 30;

/// The settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// From here on what can be had again is removed.
    pub high_percent: u8,
    /// From here on nothing new is taken.
    pub critical_percent: u8,
    /// So many unused releases of each app are kept, for a quick way back.
    pub keep_releases: usize,
    /// How long they are kept, and unused images, in milliseconds.
    pub keep_ms: u64,
    /// So much output of instances that are gone waits until it can be stored.
    pub output_bytes: u64,
}

/// How full a disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    pub used_bytes: u64,
    /// What this process may still use.
    pub free_bytes: u64,
}

impl Usage {
    /// What there is of it.
    fn total(self) -> u64 {
        self.used_bytes.saturating_add(self.free_bytes)
    }

    /// As `df` tells it: rounded up.
    pub fn percent(self) -> u8 {
        let total = u128::from(self.used_bytes) + u128::from(self.free_bytes);
        let percent = (u128::from(self.used_bytes) * 100).div_ceil(total.max(1));
        u8::try_from(percent).unwrap_or(100)
    }

    /// As it would be with so much less on it.
    fn without(self, bytes: u64) -> Self {
        let freed = bytes.min(self.used_bytes);
        Self { used_bytes: self.used_bytes - freed, free_bytes: self.free_bytes.saturating_add(freed) }
    }

    /// As it would be with so much more on it.
    pub fn with(self, bytes: u64) -> Self {
        let taken = bytes.min(self.free_bytes);
        Self { used_bytes: self.used_bytes.saturating_add(taken), free_bytes: self.free_bytes - taken }
    }

    /// Whether it is at least so full.
    pub fn reaches(self, percent: u8) -> bool {
        self.free_bytes < PLENTY_BYTES && self.percent() >= percent
    }
}

impl Settings {
    /// The level of a disk, which was at another before.
    pub fn level(&self, usage: Usage, before: DiskLevel) -> DiskLevel {
        let at = |level: DiskLevel, percent: u8| {
            let left = if before >= level { HYSTERESIS_PERCENT } else { 0 };
            usage.reaches(percent.saturating_sub(left))
        };
        if at(DiskLevel::Critical, self.critical_percent) {
            DiskLevel::Critical
        } else if at(DiskLevel::High, self.high_percent) {
            DiskLevel::High
        } else {
            DiskLevel::Normal
        }
    }

    /// How a disk is told of.
    pub fn disk(&self, usage: Usage, before: DiskLevel) -> Disk {
        Disk { level: self.level(usage, before), used_percent: usage.percent(), free_bytes: usage.free_bytes }
    }
}

/// Something that nothing uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub what: Removable,
    /// Those of one group take each other's place: an app's releases.
    pub group: String,
    pub name: String,
    pub unused_since: Timestamp,
    pub bytes: u64,
}

/// Which of the candidates are to be removed, by their places, in order, and why.
pub fn removals(
    settings: &Settings,
    now: Timestamp,
    usage: Usage,
    candidates: &[Candidate],
) -> Vec<(usize, RemovalReason)> {
    let (output, rest): (Vec<usize>, Vec<usize>) =
        (0..candidates.len()).partition(|place| is_output(candidates[*place].what));
    let mut chosen: Vec<(usize, RemovalReason)> = Vec::new();
    let cap = settings.output_bytes.min(usage.total() / OUTPUT_PART);
    chosen.extend(beyond(cap, candidates, output).into_iter().map(|place| (place, RemovalReason::Cap)));
    let (old, rest): (Vec<usize>, Vec<usize>) =
        rest.into_iter().partition(|place| now.since(candidates[*place].unused_since) > settings.keep_ms);
    chosen.extend(old.into_iter().map(|place| (place, RemovalReason::Age)));
    let surplus: BTreeSet<usize> = surplus(settings, candidates, &rest).collect();
    chosen.extend(surplus.iter().map(|place| (*place, RemovalReason::Count)));
    let freed: u64 = chosen.iter().map(|(place, _)| candidates[*place].bytes).sum();
    let mut usage = usage.without(freed);
    let mut rest: Vec<usize> = rest.into_iter().filter(|place| !surplus.contains(place)).collect();
    rest.sort_by_key(|place| (candidates[*place].unused_since, *place));
    for place in rest {
        if !usage.reaches(settings.high_percent) {
            break;
        }
        usage = usage.without(candidates[place].bytes);
        chosen.push((place, RemovalReason::Room));
    }
    chosen
}

/// The oldest of what takes more than this together.
fn beyond(cap: u64, candidates: &[Candidate], mut places: Vec<usize>) -> Vec<usize> {
    places.sort_by_key(|place| (candidates[*place].unused_since, *place));
    let mut total: u64 = places.iter().map(|place| candidates[*place].bytes).sum();
    let is_too_much = |place: &usize| {
        let is_so = total > cap;
        total -= candidates[*place].bytes;
        is_so
    };
    places.into_iter().take_while(is_too_much).collect()
}

/// Releases beyond those that are kept of each app, the newest first.
fn surplus(settings: &Settings, candidates: &[Candidate], left: &[usize]) -> impl Iterator<Item = usize> {
    let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for place in left {
        match candidates[*place].what {
            Removable::Release => groups.entry(&candidates[*place].group).or_default().push(*place),
            // They have no order by which one takes another's place.
            Removable::Image | Removable::Output => {}
        }
    }
    let keep = settings.keep_releases;
    groups
        .into_values()
        .flat_map(move |mut group| {
            group.sort_by_key(|place| (Reverse(candidates[*place].unused_since), Reverse(*place)));
            group.split_off(keep.min(group.len()))
        })
        .collect::<Vec<_>>()
        .into_iter()
}

fn is_output(what: Removable) -> bool {
    match what {
        Removable::Release | Removable::Image => false,
        Removable::Output => true,
    }
}

#[cfg(test)]
mod laws {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn settings() -> impl Strategy<Value = Settings> {
        let numbers = (1..90_u8, 1..9_u8, 0..4_usize, 0..1_000_000_u64, 0..600_u64);
        numbers.prop_map(|(high_percent, more, keep_releases, keep_ms, output_bytes)| Settings {
            high_percent,
            critical_percent: high_percent + more,
            keep_releases,
            keep_ms,
            output_bytes,
        })
    }

    fn usage() -> impl Strategy<Value = Usage> {
        (0..2_000_u64, 0..2_000_u64).prop_map(|(used_bytes, free_bytes)| Usage { used_bytes, free_bytes })
    }

    fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
        let what = prop_oneof![
            3 => Just(Removable::Release), 1 => Just(Removable::Image), 2 => Just(Removable::Output)
        ];
        let one =
            (what, 0..3_u8, 0..1_000_000_u64, 0..300_u64).prop_map(|(what, group, since, bytes)| Candidate {
                what,
                group: group.to_string(),
                name: String::new(),
                unused_since: Timestamp(since),
                bytes,
            });
        prop::collection::vec(one, 0..20)
    }

    fn after(usage: Usage, candidates: &[Candidate], gone: &[(usize, RemovalReason)]) -> Usage {
        usage.without(gone.iter().map(|(place, _)| candidates[*place].bytes).sum())
    }

    proptest! {
        #[test]
        fn what_is_removed_is_enough_or_all_and_none_of_it_is_too_much(
            settings in settings(), usage in usage(), candidates in candidates(),
        ) {
            let gone = removals(&settings, NOW, usage, &candidates);
            let places: BTreeSet<usize> = gone.iter().map(|(place, _)| *place).collect();
            prop_assert_eq!(places.len(), gone.len(), "each once");
            let left = after(usage, &candidates, &gone);
            let is_left = |(place, one): (usize, &Candidate)| one.what != Removable::Output && !places.contains(&place);
            prop_assert!(!left.reaches(settings.high_percent) || !candidates.iter().enumerate().any(is_left));
            if let Some((last, RemovalReason::Room)) = gone.last() {
                let before = after(usage, &candidates, &gone[..gone.len() - 1]);
                prop_assert!(before.reaches(settings.high_percent), "{} was not needed", last);
            }
        }

        #[test]
        fn once_it_is_done_there_is_nothing_left_to_do(
            settings in settings(), usage in usage(), candidates in candidates(),
        ) {
            let gone = removals(&settings, NOW, usage, &candidates);
            let left: Vec<Candidate> = candidates.iter().enumerate()
                .filter(|(place, _)| gone.iter().all(|(gone, _)| gone != place))
                .map(|(_, candidate)| candidate.clone()).collect();
            let again = removals(&settings, NOW, after(usage, &candidates, &gone), &left);
            prop_assert_eq!(again, Vec::new());
        }

        #[test]
        fn with_room_the_newest_of_each_app_are_kept_and_nothing_young_but_surplus_goes(
            settings in settings(), candidates in candidates(),
        ) {
            let empty = Usage { used_bytes: 0, free_bytes: 1_000_000 };
            for (place, why) in removals(&settings, NOW, empty, &candidates) {
                let it = &candidates[place];
                let is_old = NOW.since(it.unused_since) > settings.keep_ms;
                let newer = candidates.iter().enumerate().filter(|(other, one)| {
                    one.what == Removable::Release && one.group == it.group
                        && (one.unused_since, *other) > (it.unused_since, place)
                }).count();
                match why {
                    RemovalReason::Age => prop_assert!(is_old && it.what != Removable::Output),
                    RemovalReason::Count => prop_assert!(it.what == Removable::Release && newer >= settings.keep_releases),
                    RemovalReason::Room => prop_assert!(false, "there is room"),
                    RemovalReason::Cap => prop_assert!(it.what == Removable::Output),
                }
            }
        }

        #[test]
        fn output_goes_beyond_its_cap_alone_the_oldest_first_and_no_more_than_must(
            settings in settings(), usage in usage(), candidates in candidates(),
        ) {
            let gone = removals(&settings, NOW, usage, &candidates);
            let cap = settings.output_bytes.min(usage.total() / OUTPUT_PART);
            let is_gone = |place: usize| gone.iter().any(|(gone, _)| *gone == place);
            let output = candidates.iter().enumerate().filter(|(_, one)| one.what == Removable::Output);
            let (lost, kept): (Vec<_>, Vec<_>) = output.partition(|(place, _)| is_gone(*place));
            let bytes: u64 = kept.iter().map(|(_, one)| one.bytes).sum();
            prop_assert!(bytes <= cap);
            let last = lost.iter().max_by_key(|(place, one)| (one.unused_since, *place));
            if let Some((place, last)) = last {
                prop_assert!(bytes + last.bytes > cap, "{} need not go", place);
                prop_assert!(kept.iter().all(|(other, one)| (one.unused_since, *other) > (last.unused_since, *place)));
            }
            for (place, why) in &gone {
                prop_assert_eq!(*why == RemovalReason::Cap, candidates[*place].what == Removable::Output);
            }
        }

        #[test]
        fn a_level_does_not_flutter(settings in settings(), usage in usage(), before in 0..3_usize) {
            let before = [DiskLevel::Normal, DiskLevel::High, DiskLevel::Critical][before];
            let level = settings.level(usage, before);
            prop_assert_eq!(settings.level(usage, level), level);
            prop_assert!(!usage.reaches(settings.critical_percent) || level == DiskLevel::Critical);
            prop_assert!(!usage.reaches(settings.high_percent) || level >= DiskLevel::High);
        }
    }

    #[test]
    fn a_large_disk_with_room_is_not_full() {
        let settings = Settings {
            high_percent: 85,
            critical_percent: 95,
            keep_releases: 3,
            keep_ms: 0,
            output_bytes: 1 << 30,
        };
        let usage = Usage { used_bytes: 99 << 40, free_bytes: 20 << 30 };
        assert_eq!((usage.percent(), settings.level(usage, DiskLevel::Normal)), (100, DiskLevel::Normal));
        assert_eq!(settings.level(usage.with(10 << 30), DiskLevel::Normal), DiskLevel::Critical);
    }
}
