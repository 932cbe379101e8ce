//! `make chaos`: a whole kingdom of real programs under faults, until something is wrong or the time is over.
//!
//! `make chaos SEED=7` chooses the faults, `ROUNDS=3` goes three times over all of them, `ONLY=kill-writer,cut-servant`
//! takes these. It ends with a table; with 1 and the place of all files when something was wrong.

use futures_util::FutureExt;
use kingdom_tests::chaos::disk;
use kingdom_tests::chaos::fault::Fault;
use kingdom_tests::chaos::run::{Plan, Run};
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

fn main() -> anyhow::Result<ExitCode> {
    disk::enter_namespace();
    let plan = plan()?;
    let runtime = tokio::runtime::Runtime::new()?;
    Ok(runtime.block_on(run(&plan)))
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
        "chaos: something is wrong. The same faults again: make chaos SEED={}\n\
         chaos: data of every program in {}, what each said in {}",
        plan.seed,
        folder.display(),
        folder.join("log").display()
    );
    ExitCode::FAILURE
}

fn plan() -> anyhow::Result<Plan> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    let seed = number("SEED")?.unwrap_or(u64::try_from(now)?);
    let only = std::env::var("ONLY").unwrap_or_default();
    let only = only.split(',').filter(|name| !name.is_empty()).map(fault).collect::<anyhow::Result<_>>()?;
    Ok(Plan { seed, rounds: number("ROUNDS")?, only })
}

fn fault(name: &str) -> anyhow::Result<Fault> {
    let names: Vec<_> = Fault::ALL.iter().map(|fault| fault.name()).collect();
    Fault::named(name)
        .ok_or_else(|| anyhow::anyhow!("there is no fault {name:?}; there are: {}", names.join(", ")))
}

fn number<T: FromStr>(variable: &str) -> anyhow::Result<Option<T>> {
    match std::env::var(variable) {
        Ok(text) if !text.is_empty() => {
            let parsed = text.parse();
            parsed.map(Some).map_err(|_| anyhow::anyhow!("{variable}={text} is no number"))
        }
        Ok(_) | Err(_) => Ok(None),
    }
}
