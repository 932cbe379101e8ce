//! A slice of the simulation that every run of the tests goes through. More of it: `make sim SEEDS=100000`.

use simulation::coverage::Sight;
use simulation::hunt::{hunt, run};
use simulation::plan::Plan;

/// How many seeds; the same every time, so that a failure is one of the code and not of luck. Without optimization they
/// take too long: `make test` optimizes.
const SEEDS: u64 = if cfg!(debug_assertions) { 200 } else { 2000 };
/// What so few seeds may leave out: it needs two rare things at once.
const RARE: [Sight; 1] = [Sight::DeposedInFlight];

#[test]
fn every_seed_holds_and_what_must_be_seen_is_seen() {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let harvest = hunt(1, SEEDS, cores);
    if let Some(found) = harvest.finding {
        panic!(
            "seed {} breaks a rule: {}: {}; see `make sim SEED={}`",
            found.seed, found.violation.rule, found.violation.what, found.seed
        );
    }
    assert_eq!(harvest.seeds, SEEDS);
    if cfg!(debug_assertions) {
        return;
    }
    let missing: Vec<_> =
        harvest.coverage.missing().into_iter().filter(|sight| !RARE.contains(sight)).collect();
    assert_eq!(missing, [], "situations that were never met");
}

#[test]
fn a_seed_means_the_same_every_time() {
    for seed in [3, 5, 8] {
        let plan = Plan::of(seed);
        let (one, two) = (run(&plan, true), run(&plan, true));
        assert!(!one.trace.is_empty());
        assert_eq!(one.trace, two.trace);
    }
}
