//! Many seeds, on every core; and a plan that fails made as small as it gets.

use crate::coverage::Coverage;
use crate::judge::Violation;
use crate::plan::Plan;
use crate::world::{self, Run};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Most runs that making a plan smaller may take.
const SHRINKING: usize = 400;

/// A seed that failed.
#[derive(Clone, Debug)]
pub struct Finding {
    pub seed: u64,
    pub violation: Violation,
}

/// What came of many seeds.
#[derive(Clone, Debug, Default)]
pub struct Harvest {
    pub seeds: u64,
    pub commits: u64,
    pub coverage: Coverage,
    /// The lowest seed that failed.
    pub finding: Option<Finding>,
}

/// Runs seeds from `first` on, so many, until one fails.
pub fn hunt(first: u64, count: u64, threads: usize) -> Harvest {
    let (next, harvest) = (AtomicU64::new(first), Mutex::new(Harvest::default()));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| worker(&next, first + count, &harvest));
        }
    });
    harvest.into_inner().expect("no worker panics with it")
}

fn worker(next: &AtomicU64, end: u64, harvest: &Mutex<Harvest>) {
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end {
            return;
        }
        let run = run(&Plan::of(seed), false);
        let mut harvest = harvest.lock().expect("no worker panics with it");
        harvest.seeds += 1;
        harvest.commits += run.commits;
        harvest.coverage.add(&run.coverage);
        if let Some(violation) = run.violation {
            if harvest.finding.as_ref().is_none_or(|found| seed < found.seed) {
                harvest.finding = Some(Finding { seed, violation });
            }
            next.store(end, Ordering::Relaxed);
            return;
        }
    }
}

/// Runs a plan; code that panics breaks a rule too.
pub fn run(plan: &Plan, is_traced: bool) -> Run {
    match catch_unwind(AssertUnwindSafe(|| world::run(plan, is_traced))) {
        Ok(run) => run,
        Err(panic) => {
            let words = panic.downcast_ref::<String>().cloned();
            let words = words.or_else(|| panic.downcast_ref::<&str>().map(|words| (*words).to_owned()));
            let what = words.unwrap_or_default();
            Run {
                violation: Some(Violation { rule: "no code panics", what }),
                coverage: Coverage::default(),
                trace: Vec::new(),
                commits: 0,
                virtual_micros: 0,
            }
        }
    }
}

/// The smallest plan that still breaks the same rule: without the faults and commands that do not matter.
pub fn shrink(plan: &Plan, rule: &str) -> Plan {
    let mut best = plan.clone();
    let mut runs = 0;
    let mut fails = |plan: &Plan| {
        runs += 1;
        runs <= SHRINKING && run(plan, false).violation.is_some_and(|found| found.rule == rule)
    };
    thin(&mut best, |plan| &mut plan.faults, &mut fails);
    for user in 0..best.users.len() {
        thin(&mut best, |plan| &mut plan.users[user], &mut fails);
    }
    thin(&mut best, |plan| &mut plan.faults, &mut fails);
    best
}

/// Leaves out halves, then quarters, and so on, as long as it fails.
fn thin<T: Clone>(
    plan: &mut Plan,
    part: impl Fn(&mut Plan) -> &mut Vec<T>,
    fails: &mut impl FnMut(&Plan) -> bool,
) {
    let mut size = part(plan).len().div_ceil(2);
    while size > 0 {
        let mut start = 0;
        while start < part(plan).len() {
            let mut smaller = plan.clone();
            let list = part(&mut smaller);
            let end = (start + size).min(list.len());
            list.drain(start..end);
            if fails(&smaller) {
                *plan = smaller;
            } else {
                start += size;
            }
        }
        size /= 2;
    }
}
