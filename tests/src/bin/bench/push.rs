//! `git push` of 100 files, 1 MB, a branch and a semver tag to a new app of the King, everything stored durably
//! included; beside the first push of the same to apache with `git http-backend`, by the script `04_git.py` in the
//! folder that `KING_PEERS` names. Without that folder there is nothing beside it.

use crate::row::{Row, Target};
use crate::samples::Samples;
use crate::stage::{self, Stage};
use anyhow::{Context, bail};
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::process::Command;

const PUSHES: usize = 9;
const FILES: usize = 100;
const FILE_BYTES: usize = 10_486;
const MOST: f64 = 2.0;
const SCRIPT: &str = "04_git.py";

/// Measures.
///
/// # Errors
/// When the kingdom does not run, a push is refused, or the peer's script fails.
#[expect(clippy::disallowed_methods, reason = "the one setting of the benchmarks that is no argument")]
pub async fn measure() -> anyhow::Result<Vec<Row>> {
    let peers = std::env::var("KING_PEERS").ok();
    let apache = match &peers {
        Some(folder) => Some(apache(Path::new(folder)).await?),
        None => None,
    };
    let stage = Stage::start("git_push", 1).await?;
    let mut took = Vec::new();
    for turn in 0..=PUSHES {
        let pushed = push(&stage, turn).await?;
        // The first one warms up.
        if turn > 0 {
            took.push(pushed);
        }
    }
    stage.stop().await;
    let row = Row::of("git_push", &Samples::millis(&took), "ms", Target::RatioAtMost(MOST));
    let beside =
        if apache.is_some() { "apache with git http-backend" } else { "apache (KING_PEERS is not set)" };
    Ok(vec![row.beside(beside, apache)])
}

async fn push(stage: &Stage, turn: usize) -> anyhow::Result<Duration> {
    let app = format!("pushed-{turn}");
    let repository = stage.repository(&app, &[("Procfile", "web: sleep 1000\n")]).await;
    fill(&repository.path)?;
    repository.commit(&[]).await;
    repository.git(&["tag", "v1.0.0"]).await.success();
    stage.is_quiet().await;
    let began = Instant::now();
    repository.git(&["push", "--quiet", "king", "main", "v1.0.0"]).await.success();
    Ok(began.elapsed())
}

/// Files that cannot be compressed.
fn fill(folder: &Path) -> anyhow::Result<()> {
    let mut random = std::fs::File::open("/dev/urandom")?;
    let mut bytes = vec![0; FILE_BYTES];
    for index in 0..FILES {
        random.read_exact(&mut bytes)?;
        std::fs::write(folder.join(format!("f{index:03}")), &bytes)?;
    }
    Ok(())
}

/// The median of apache's first pushes, in milliseconds.
async fn apache(peers: &Path) -> anyhow::Result<f64> {
    let script = peers.join(SCRIPT);
    if !script.is_file() {
        bail!("KING_PEERS names {}, but there is no {SCRIPT} in it", peers.display());
    }
    let work = stage::fresh("peers")?;
    let mut python = Command::new("python3");
    python.arg(&script).current_dir(peers).env("KB", &work).env("TRIALS", PUSHES.to_string());
    python.env("QUIET_WAIT", "3").env("PYTHONDONTWRITEBYTECODE", "1").kill_on_drop(true);
    let output = python.output().await.context("could not run python3")?;
    if !output.status.success() {
        bail!("{} failed: {}", script.display(), String::from_utf8_lossy(&output.stderr));
    }
    let text = std::fs::read_to_string(work.join("results/04_git_push.json"))?;
    let results: serde_json::Value = serde_json::from_str(&text)?;
    results["http"]["first_push_ms"]["median"].as_f64().context("the script gives the median of first pushes")
}
