//! The writer of the log benchmarks: this program in another mode. Each round writes so many numbered lines of 100 bytes
//! as fast as it can, flushed one by one or in blocks of 64 KiB, and notes when it began and ended and how long it was
//! ever held up. A round begins when its file is there.
#![allow(
    clippy::disallowed_methods,
    reason = "it watches files and processes, which tell nobody of a change"
)]

use anyhow::{Context, bail};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub const MODE: &str = "--spew";
pub const LINE_BYTES: usize = 100;
const BLOCK_BYTES: usize = 64 * 1024;
/// Between two looks for the file of the next round.
const LOOK: Duration = Duration::from_millis(2);
/// After so many bytes the clock is looked at.
const STAMP_BYTES: usize = 16 * 1024;

/// How lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Manner {
    /// Each by itself, as a program without a buffer does.
    Flushed,
    Blocks,
}

/// What a round shall do; its file holds it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    pub lines: u64,
    pub manner: Manner,
}

/// What a round was like, in nanoseconds of the monotonic clock.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Done {
    pub began: u64,
    pub ended: u64,
    /// The longest time between two looks at the clock.
    pub held_up: u64,
}

/// Now, by the clock that processes share.
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

pub fn order_file(folder: &Path, round: usize) -> PathBuf {
    folder.join(format!("go.{round}"))
}

pub fn done_file(folder: &Path, round: usize) -> PathBuf {
    folder.join(format!("done.{round}"))
}

/// Leaves a file that is whole as soon as it is there.
///
/// # Errors
/// When it cannot be written.
pub fn leave(path: &Path, value: &impl Serialize) -> anyhow::Result<()> {
    let beside = path.with_extension("new");
    std::fs::write(&beside, serde_json::to_vec(value)?)?;
    std::fs::rename(&beside, path).with_context(|| format!("could not leave {}", path.display()))
}

/// Writes so many rounds.
///
/// # Errors
/// When it cannot write.
pub fn run(folder: &Path, rounds: usize) -> anyhow::Result<()> {
    for round in 0..rounds {
        let order: Order = loop {
            match std::fs::read(order_file(folder, round)) {
                Ok(bytes) => break serde_json::from_slice(&bytes)?,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => std::thread::sleep(LOOK),
                Err(error) => bail!(error),
            }
        };
        let done = write(&order)?;
        leave(&done_file(folder, round), &done)?;
    }
    Ok(())
}

fn write(order: &Order) -> anyhow::Result<Done> {
    // Standard output of Rust is buffered by lines: the file itself is not.
    let mut out = std::fs::File::from(std::io::stdout().as_fd().try_clone_to_owned()?);
    let most = match order.manner {
        Manner::Flushed => LINE_BYTES,
        Manner::Blocks => BLOCK_BYTES,
    };
    let mut buffer = Vec::with_capacity(BLOCK_BYTES + LINE_BYTES);
    let began = now();
    let (mut stamp, mut since_stamp, mut held_up) = (began, 0, 0);
    for number in 0..order.lines {
        push_line(&mut buffer, number);
        if buffer.len() + LINE_BYTES > most || number + 1 == order.lines {
            out.write_all(&buffer)?;
            since_stamp += buffer.len();
            buffer.clear();
        }
        if since_stamp >= STAMP_BYTES {
            let time = now();
            held_up = held_up.max(time - stamp);
            (stamp, since_stamp) = (time, 0);
        }
    }
    Ok(Done { began, ended: now(), held_up })
}

fn push_line(buffer: &mut Vec<u8>, number: u64) {
    let begin = buffer.len();
    buffer.extend_from_slice(&[b'a' + (number % 26) as u8; LINE_BYTES]);
    let line = &mut buffer[begin..];
    let mut rest = number;
    for place in (0..10).rev() {
        line[place] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    line[10] = b' ';
    line[LINE_BYTES - 1] = b'\n';
}

/// The number of a line that was written.
pub fn number_of(line: &[u8]) -> Option<u64> {
    std::str::from_utf8(line.get(..10)?).ok()?.parse().ok()
}
