//! What is removed to keep a disk from filling, in which order, and when it counts as full. Pure: what there is and what
//! time it is comes in.
//!
//! First goes what was not used for long, and what newer ones have taken the place of. Only when the disk is too full all
//! the same, more goes, the least loss first: releases and images, which can be had again, those not used for longest
//! first; then output of instances that are gone and that is stored nowhere else.

use events::Timestamp;
use events::disk::{Disk, DiskLevel, Removable, RemovalReason};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// A level is left only when the disk is emptier by so much than where it began, in percent: so it does not flutter.
const HYSTERESIS_PERCENT: u8 = 2;
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
    /// How long they are kept, and output that cannot be stored, in milliseconds.
    pub keep_ms: u64,
}

/// How full a disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    pub used_bytes: u64,
    /// What this process may still use.
    pub free_bytes: u64,
}

impl Usage {
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
    let mut chosen: Vec<(usize, RemovalReason)> = Vec::new();
    let places = |left: &[(usize, RemovalReason)]| -> Vec<usize> {
        (0..candidates.len()).filter(|place| left.iter().all(|(gone, _)| gone != place)).collect()
    };
    let is_old = |place: &usize| now.since(candidates[*place].unused_since) > settings.keep_ms;
    chosen.extend(places(&[]).into_iter().filter(is_old).map(|place| (place, RemovalReason::Age)));
    chosen.extend(surplus(settings, candidates, places(&chosen)).map(|place| (place, RemovalReason::Count)));
    let freed: u64 = chosen.iter().map(|(place, _)| candidates[*place].bytes).sum();
    let mut usage = usage.without(freed);
    let mut rest = places(&chosen);
    rest.sort_by_key(|place| (loss(candidates[*place].what), candidates[*place].unused_since, *place));
    for place in rest {
        if !usage.reaches(settings.high_percent) {
            break;
        }
        usage = usage.without(candidates[place].bytes);
        chosen.push((place, RemovalReason::Room));
    }
    chosen
}

/// Releases beyond those that are kept of each app, the newest first.
fn surplus(settings: &Settings, candidates: &[Candidate], left: Vec<usize>) -> impl Iterator<Item = usize> {
    let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for place in left {
        match candidates[place].what {
            Removable::Release => groups.entry(&candidates[place].group).or_default().push(place),
            // Whoever looks after them knows how many are kept.
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

/// What is lost with it: the least first.
fn loss(what: Removable) -> u8 {
    match what {
        Removable::Release | Removable::Image => 0,
        Removable::Output => 1,
    }
}

#[cfg(test)]
mod laws {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn settings() -> impl Strategy<Value = Settings> {
        (1..90_u8, 1..9_u8, 0..4_usize, 0..1_000_000_u64).prop_map(|(high, more, keep_releases, keep_ms)| {
            Settings { high_percent: high, critical_percent: high + more, keep_releases, keep_ms }
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
            prop_assert!(!left.reaches(settings.high_percent) || places.len() == candidates.len());
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
                    RemovalReason::Age => prop_assert!(is_old),
                    RemovalReason::Count => prop_assert!(it.what == Removable::Release && newer >= settings.keep_releases),
                    RemovalReason::Room => prop_assert!(false, "there is room"),
                }
            }
        }

        #[test]
        fn output_goes_for_room_only_when_nothing_else_is_left(
            settings in settings(), usage in usage(), candidates in candidates(),
        ) {
            let gone = removals(&settings, NOW, usage, &candidates);
            let for_room = |what: Removable| gone.iter().any(|(place, why)| *why == RemovalReason::Room && candidates[*place].what == what);
            if for_room(Removable::Output) {
                let others = candidates.iter().enumerate().filter(|(_, one)| one.what != Removable::Output);
                for (place, _) in others {
                    prop_assert!(gone.iter().any(|(gone, _)| *gone == place));
                }
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
        let settings = Settings { high_percent: 85, critical_percent: 95, keep_releases: 3, keep_ms: 0 };
        let usage = Usage { used_bytes: 99 << 40, free_bytes: 20 << 30 };
        assert_eq!((usage.percent(), settings.level(usage, DiskLevel::Normal)), (100, DiskLevel::Normal));
        assert_eq!(settings.level(usage.with(10 << 30), DiskLevel::Normal), DiskLevel::Critical);
    }
}
