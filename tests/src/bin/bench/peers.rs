//! Other supervisors: measured in the same run by the script `01_supervise.py` in the folder that `KING_PEERS` names, else
//! as published for the reference machine.

use crate::stage;
use anyhow::{Context, bail};
use std::path::Path;
use tokio::process::Command;

const SCRIPT: &str = "01_supervise.py";
const TRIALS: &str = "3";

/// A supervisor that starts quickly, and one that many use.
#[derive(Clone, Copy)]
pub enum Peer {
    Runit,
    Pm2,
}

impl Peer {
    fn name(self) -> &'static str {
        match self {
            Self::Runit => "runit",
            Self::Pm2 => "pm2",
        }
    }

    fn published_ms(self) -> f64 {
        match self {
            Self::Runit => 445.0,
            Self::Pm2 => 931.0,
        }
    }
}

/// Whether long runs were asked for.
#[expect(clippy::disallowed_methods, reason = "a setting of the benchmarks that is no argument")]
pub fn is_long() -> bool {
    std::env::var("KING_LONG").is_ok_and(|long| long == "1")
}

/// How each is called, and the median of its starts of 200 processes in milliseconds.
///
/// # Errors
/// When the script is not there or fails.
#[expect(clippy::disallowed_methods, reason = "a setting of the benchmarks that is no argument")]
pub async fn start_200<const N: usize>(peers: [Peer; N]) -> anyhow::Result<[(String, f64); N]> {
    let folder = std::env::var("KING_PEERS").ok();
    let mut found = peers.map(|peer| (format!("{} (published)", peer.name()), peer.published_ms()));
    let Some(folder) = folder else {
        return Ok(found);
    };
    for (peer, place) in peers.into_iter().zip(&mut found) {
        *place = (peer.name().to_owned(), measured(Path::new(&folder), peer).await?);
    }
    Ok(found)
}

async fn measured(peers: &Path, peer: Peer) -> anyhow::Result<f64> {
    let script = peers.join(SCRIPT);
    if !script.is_file() {
        bail!("KING_PEERS names {}, but there is no {SCRIPT} in it", peers.display());
    }
    let work = stage::fresh("peers")?;
    let mut python = Command::new("python3");
    python.arg(&script).arg(peer.name()).current_dir(peers).env("KB", &work);
    python.env("SIZES", "200").env("TRIALS", TRIALS).env("CRASHES", "1").env("IDLE", "1");
    python.env("QUIET_WAIT", "3").env("PYTHONDONTWRITEBYTECODE", "1").kill_on_drop(true);
    let output = python.output().await.context("could not run python3")?;
    if !output.status.success() {
        bail!("{} failed: {}", script.display(), String::from_utf8_lossy(&output.stderr));
    }
    let text = std::fs::read_to_string(work.join(format!("results/01_supervise_{}.json", peer.name())))?;
    let results: serde_json::Value = serde_json::from_str(&text)?;
    results["start_ms"]["200"]["median"].as_f64().context("the script gives the median of 200")
}
