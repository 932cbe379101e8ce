//! The benchmarks: each figure of the kingdom beside a bare limit or a peer, measured in the same run.
//!
//! `make bench` runs all of them, `make bench ONLY=name` one. Every benchmark has a real `nats-server` with
//! `sync_interval: always` and a kingdom of real processes, started by `kingctl up`, with its data below `target/`.
//! What is measured stands at the top of each module; [`bare`] holds the limits that the figures are put beside.

mod samples;
mod row;
mod stage;
mod bare;
mod commands;
mod round_trip;
mod callers;
mod reports;
mod commits;
mod push;
mod answer;
mod crash;
mod peers;
mod supervise;
mod count;
mod kills;
mod cycles;
mod start;
mod past;
mod replay;
mod crowd;
mod memory;
mod moments;
mod failover;
mod telemetry;
mod spew;
mod capture;

use bare::Limit;
use row::Row;

/// As in the King.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A benchmark: it measures and gives its rows.
const NAMES: [&str; 19] = [
    "command_round_trip",
    "commands_256_callers",
    "events_per_second",
    "git_push",
    "push_to_answer",
    "crash_to_successor",
    "start_200_instances",
    "servant_kills",
    "start_stop_cycles",
    "start_second_time",
    "replay",
    "memory_large",
    "state_at",
    "event_ls",
    "failover_kill",
    "failover_with_leader",
    "transfer",
    "telemetry_cost_200",
    "log_capture",
];

async fn measure(name: &str) -> anyhow::Result<Vec<Row>> {
    match name {
        "command_round_trip" => round_trip::measure().await,
        "commands_256_callers" => callers::measure().await,
        "events_per_second" => commits::measure().await,
        "git_push" => push::measure().await,
        "push_to_answer" => answer::measure().await,
        "crash_to_successor" => crash::measure().await,
        "start_200_instances" => supervise::measure().await,
        "servant_kills" => kills::measure().await,
        "start_stop_cycles" => cycles::measure().await,
        "start_second_time" => start::measure().await,
        "replay" => replay::measure().await,
        "memory_large" => memory::measure().await,
        "state_at" => moments::measure_states(),
        "event_ls" => moments::measure_pages(),
        "failover_kill" => failover::killed().await,
        "failover_with_leader" => failover::killed_with_leader().await,
        "transfer" => failover::transferred().await,
        "telemetry_cost_200" => telemetry::measure().await,
        "log_capture" => capture::measure().await,
        unknown => anyhow::bail!("there is no benchmark {unknown:?}; there are: {}", NAMES.join(", ")),
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // As in the King.
    rustix::thread::disable_transparent_huge_pages(true)?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(limit) = Limit::parse(&arguments)? {
        return limit.run().await;
    }
    let mut wanted: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if wanted.is_empty() {
        wanted.extend(NAMES);
    }
    let mut rows = Vec::new();
    for name in wanted {
        eprintln!("bench: {name} …");
        let measured = measure(name).await?;
        measured.iter().for_each(|row| eprintln!("bench: {}", row.line()));
        rows.extend(measured);
    }
    row::report(&rows)
}
