//! An instance that counts: this program in another mode. It writes numbered lines, each by itself, until it is told to
//! stop by a file; how many it has written stands in a file of its own, which nothing of the kingdom touches.
#![allow(
    clippy::disallowed_methods,
    reason = "it watches for a file, which tells nobody of a change, and reads what an instance is told"
)]

use anyhow::Context;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub const MODE: &str = "--count";
/// Between two lines.
const TICK: Duration = Duration::from_millis(200);

/// As soon as it is there, nothing more is written.
pub fn stop_file(folder: &Path) -> PathBuf {
    folder.join("stop")
}

fn written_file(folder: &Path, instance: &str) -> PathBuf {
    folder.join(instance)
}

fn done_file(folder: &Path, instance: &str) -> PathBuf {
    folder.join(format!("{instance}.done"))
}

/// How many lines an instance has written in all, as soon as it writes no more.
///
/// # Errors
/// When it goes on, or its file says nothing.
pub fn written(folder: &Path, instance: &str) -> anyhow::Result<u64> {
    let path = done_file(folder, instance);
    let text = std::fs::read_to_string(&path).with_context(|| format!("{} is not there", path.display()))?;
    text.trim().parse().with_context(|| format!("{} says {text:?}", path.display()))
}

/// The number of a line that was written.
pub fn number_of(line: &[u8]) -> Option<u64> {
    std::str::from_utf8(line).ok()?.strip_prefix("line ")?.parse().ok()
}

/// Writes until it is told to stop, then waits for its end.
///
/// # Errors
/// When it cannot write.
pub fn run(folder: &Path) -> anyhow::Result<()> {
    let instance = std::env::var("KING_INSTANCE").context("an instance knows its id")?;
    // Standard output of Rust is buffered by lines: the file itself is not.
    let mut out = File::from(std::io::stdout().as_fd().try_clone_to_owned()?);
    let kept = File::create(written_file(folder, &instance))?;
    let mut number = 0_u64;
    while !stop_file(folder).exists() {
        number += 1;
        out.write_all(format!("line {number}\n").as_bytes())?;
        kept.write_all_at(&number.to_le_bytes(), 0)?;
        std::thread::sleep(TICK);
    }
    std::fs::write(done_file(folder, &instance), format!("{number}\n"))?;
    loop {
        std::thread::park();
    }
}
