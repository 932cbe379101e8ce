//! The second `make up` on a data folder, from its start until `/readyz` says 200: everything is built and there.
//! The King reads its log anew, which holds what a small kingdom has said so far.

use crate::row::{Row, Target};
use crate::samples::Samples;
use crate::stage::{self, Stage};
use anyhow::ensure;
use kingdom_tests::ports::Ports;
use kingdom_tests::process::{Process, clean_environment};
use rustix::process::Signal;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::Command;

const STARTS: usize = 5;
const MOST_MS: f64 = 3000.0;
const END_PATIENCE: Duration = Duration::from_secs(60);

/// So that every `make up` finds all of it built, whatever was changed meanwhile.
async fn build() -> anyhow::Result<()> {
    let mut make = Command::new("make");
    make.arg("--silent").arg(format!("--directory={}", stage::root().display())).arg("build");
    let ended = make.env_clear().envs(clean_environment()).stdin(Stdio::null()).status().await?;
    ensure!(ended.success(), "`make build` failed");
    Ok(())
}

/// Measures.
///
/// # Errors
/// When the kingdom does not start.
pub async fn measure() -> anyhow::Result<Vec<Row>> {
    let name = "start_second_time";
    Stage::start(name, 1).await?.stop().await;
    let ports = Ports::reserve();
    let data = stage::folder().join(name);
    let flags = stage::up_flags(&data, &ports, 1).into_iter().skip(1);
    let flags: Vec<String> = flags.map(|flag| flag.to_string_lossy().into_owned()).collect();
    let arguments = [
        "--silent".to_owned(),
        format!("--directory={}", stage::root().display()),
        "up".to_owned(),
        format!("UP={}", flags.join(" ")),
    ];
    build().await?;
    let mut took = Vec::new();
    for _ in 0..STARTS {
        let mut make = Process::new("make", &data, PathBuf::from("make"), &arguments);
        let began = Instant::now();
        make.start();
        stage::is_ready(&ports).await;
        took.push(began.elapsed());
        make.signal(Signal::TERM);
        make.ended(END_PATIENCE).await;
    }
    let row = Row::of(name, &Samples::millis(&took), "ms", Target::AtMost(MOST_MS));
    Ok(vec![row.beside("nothing", None)])
}
