//! `sim`: runs seeds, or one of them with everything that happened.

use clap::Parser;
use simulation::coverage::{Coverage, Sight};
use simulation::hunt::{self, Finding};
use simulation::plan::Plan;
use std::process::ExitCode;
use std::time::Instant;

/// How much of a trace is printed.
const TRACE: usize = 400;

/// Runs the kingdom on a model of JetStream, in virtual time.
#[derive(Debug, Parser)]
#[command(name = "sim", after_help = "Examples:\n  sim --seeds 100000\n  sim --seed 4711")]
struct Args {
    /// How many seeds to run
    #[arg(long, default_value_t = 2000)]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Run only this one, and tell everything that happened
    #[arg(long)]
    seed: Option<u64>,
    /// How many run at once; all cores when absent
    #[arg(long)]
    threads: Option<usize>,
    /// Stop at the first that fails and print only it, without a trace
    #[arg(long)]
    brief: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    // What a panic says stands in the finding.
    std::panic::set_hook(Box::new(|panic| {
        if let Some(place) = panic.location() {
            eprintln!("panicked at {place}");
        }
    }));
    match args.seed {
        Some(seed) => tell(seed, &Plan::of(seed)),
        None => many(&args),
    }
}

/// One seed, with everything that happened.
fn tell(seed: u64, plan: &Plan) -> ExitCode {
    let run = hunt::run(plan, true);
    for line in run.trace.iter().skip(run.trace.len().saturating_sub(TRACE)) {
        println!("{line}");
    }
    println!("\nfaults:");
    plan.faults.iter().for_each(|(at, fault)| println!("  {:>10} {fault:?}", at / 1000));
    match run.violation {
        Some(violation) => {
            println!("\nseed {seed} breaks a rule: {}\n  {}", violation.rule, violation.what);
            ExitCode::FAILURE
        }
        None => {
            println!("\nseed {seed} holds: {} commits in {} s", run.commits, run.virtual_micros / 1_000_000);
            ExitCode::SUCCESS
        }
    }
}

fn many(args: &Args) -> ExitCode {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let began = Instant::now();
    let harvest = hunt::hunt(args.from, args.seeds, args.threads.unwrap_or(cores));
    let seconds = began.elapsed().as_secs_f64();
    if args.brief {
        return brief(harvest.finding.as_ref());
    }
    let rate = harvest.seeds as f64 / seconds;
    println!("{} seeds in {seconds:.1} s ({rate:.0}/s), {} commits", harvest.seeds, harvest.commits);
    if let Some(found) = &harvest.finding {
        return failed(found);
    }
    covered(&harvest.coverage)
}

fn brief(finding: Option<&Finding>) -> ExitCode {
    match finding {
        Some(found) => {
            println!("{}\t{}\t{}", found.seed, found.violation.rule, found.violation.what);
            ExitCode::FAILURE
        }
        None => ExitCode::SUCCESS,
    }
}

fn failed(found: &Finding) -> ExitCode {
    let smallest = hunt::shrink(&Plan::of(found.seed), found.violation.rule);
    let commands: usize = smallest.users.iter().map(Vec::len).sum();
    println!(
        "\nseed {} fails; made smaller to {} faults and {commands} commands:\n",
        found.seed,
        smallest.faults.len()
    );
    let code = tell(found.seed, &smallest);
    println!("\nrun it again, whole: make sim SEED={}", found.seed);
    code
}

fn covered(coverage: &Coverage) -> ExitCode {
    println!("\nseen:");
    Sight::ALL.iter().for_each(|sight| println!("  {:>9}  {sight}", coverage.count(*sight)));
    let missing = coverage.missing();
    if missing.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("\nnever seen; run more seeds, or look why:");
    missing.iter().for_each(|sight| println!("  {sight}"));
    ExitCode::FAILURE
}
