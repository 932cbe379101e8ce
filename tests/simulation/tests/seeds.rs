//! A slice of the simulation that every run of the tests goes through. More of it: `make sim SEEDS=100000`.

use simulation::hunt::{hunt, run};
use simulation::plan::Plan;

/// How many seeds; the same every time, so that a failure is one of the code and not of luck.
const SEEDS: u64 = 50;

#[test]
fn every_seed_holds() {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let harvest = hunt(1, SEEDS, cores);
    if let Some(found) = harvest.finding {
        panic!(
            "seed {} breaks a rule: {}: {}; see `make sim SEED={}`",
            found.seed, found.violation.rule, found.violation.what, found.seed
        );
    }
    assert_eq!(harvest.seeds, SEEDS);
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
