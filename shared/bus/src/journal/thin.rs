//! Which snapshots are superfluous: the further back, the wider apart they may stand.

use events::EventNumber;

/// Most snapshots that are kept.
pub(super) const SNAPSHOTS: usize = 48;
/// Most bytes of all snapshots together.
pub(super) const SNAPSHOT_BYTES: u64 = 192 * 1024 * 1024;

/// The index of the snapshot to forget, of snapshots by (event, bytes) in order; none when all may stay.
///
/// Never the newest. The one goes whose going leaves the smallest gap, measured by its age.
pub(super) fn superfluous(snapshots: &[(EventNumber, u64)]) -> Option<usize> {
    let bytes: u64 = snapshots.iter().map(|(_, bytes)| bytes).sum();
    if snapshots.len() < 2 || (snapshots.len() <= SNAPSHOTS && bytes <= SNAPSHOT_BYTES) {
        return None;
    }
    let newest = snapshots.last()?.0;
    let weight = |index: usize| {
        let before = index.checked_sub(1).map_or(0, |before| snapshots[before].0);
        let gap = snapshots[index + 1].0 - before;
        gap as f64 / (1 + newest - snapshots[index].0) as f64
    };
    (0..snapshots.len() - 1).min_by(|a, b| weight(*a).total_cmp(&weight(*b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes snapshots every so many events and forgets what is superfluous.
    fn kept(count: u64, every: u64, bytes: u64) -> Vec<EventNumber> {
        let mut snapshots = Vec::new();
        for number in 1..=count {
            snapshots.push((number * every, bytes));
            while let Some(index) = superfluous(&snapshots) {
                snapshots.remove(index);
            }
        }
        snapshots.into_iter().map(|(event, _)| event).collect()
    }

    #[test]
    fn a_million_events_keep_all_their_snapshots() {
        assert_eq!(kept(25, 40_000, 1_000_000).len(), 25);
    }

    #[test]
    fn the_newest_stays_and_gaps_widen_with_age() {
        let kept = kept(2000, 40_000, 1_000_000);
        assert_eq!(kept.len(), SNAPSHOTS);
        assert_eq!(kept.last(), Some(&80_000_000));
        let gap = |index: usize| kept[index + 1] - kept[index];
        assert!(gap(SNAPSHOTS - 2) <= 80_000 && gap(0) > gap(SNAPSHOTS - 2), "{kept:?}");
        assert!(kept.windows(2).all(|pair| pair[1] - pair[0] <= pair[1] / 2), "{kept:?}");
    }

    #[test]
    fn large_snapshots_are_fewer() {
        assert_eq!(kept(40, 40_000, SNAPSHOT_BYTES / 8).len(), 8);
        assert_eq!(kept(3, 40_000, 2 * SNAPSHOT_BYTES), [120_000]);
    }
}
