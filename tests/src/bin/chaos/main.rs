//! `make chaos`: a whole kingdom of real programs under faults, until something is wrong or the time is over.
//!
//! It ends with a table; with 1 and the place of all files when something was wrong.

use clap::Parser;
use futures_util::FutureExt;
use kingdom_tests::chaos::disk;
use kingdom_tests::chaos::fault::Fault;
use kingdom_tests::chaos::run::{Plan, Run};
use std::hash::{BuildHasher, RandomState};
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;

/// Injects faults into a kingdom of three NATS servers and three Kings, and proves from the log that it kept its word.
#[derive(Debug, Parser)]
#[command(after_help = "Examples:
  make chaos                                   # every fault that fits into four minutes
  make chaos SEED=7                            # the same choices again
  make chaos ROUNDS=3                          # three times over all faults
  make chaos ONLY=kill-writer,cut-servant      # these, three times")]
struct Args {
    /// Chooses the faults, their order and their length; drawn when absent.
    #[arg(long)]
    seed: Option<u64>,
    /// How often to go over all faults; when absent, what fits into four minutes.
    #[arg(long)]
    rounds: Option<u32>,
    /// Only these faults, separated by commas.
    #[arg(long, value_delimiter = ',', value_parser = fault)]
    only: Vec<Fault>,
}

fn fault(name: &str) -> Result<Fault, String> {
    let names = || Fault::ALL.iter().map(|fault| fault.name()).collect::<Vec<_>>().join(", ");
    Fault::named(name).ok_or_else(|| format!("there is no such fault; there are: {}", names()))
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    disk::enter_namespace();
    let seed = args.seed.unwrap_or_else(|| RandomState::new().hash_one("chaos") % 1_000_000);
    let plan = Plan { seed, rounds: args.rounds, only: args.only };
    Ok(tokio::runtime::Runtime::new()?.block_on(run(&plan)))
}

async fn run(plan: &Plan) -> ExitCode {
    println!("chaos: seed {}", plan.seed);
    let mut run = Run::start(plan.seed).await;
    println!("chaos: the kingdom is up in {}", run.site.path().display());
    let ended = AssertUnwindSafe(async {
        run.all(plan).await;
        if !run.is_broken() {
            run.end().await;
        }
    });
    let sound = ended.catch_unwind().await.is_ok() && !run.is_broken();
    println!("\n{}\n", run.table.text());
    if sound {
        println!("chaos: all {} rounds hold", run.table.rounds().len());
        return ExitCode::SUCCESS;
    }
    let folder = run.site.keep();
    println!(
        "chaos: something is wrong. The same choices again: make chaos SEED={}\n\
         chaos: data of every program in {}, what each said in {}",
        plan.seed,
        folder.display(),
        folder.join("log").display()
    );
    ExitCode::FAILURE
}
