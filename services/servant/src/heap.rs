//! The memory of the process: a burst of work, as when hundreds of instances start together, leaves much that is free and
//! still counted to it. It is kept in few heaps, what is large has pages of its own, and what is free is given back when
//! the burst is over.
//!
//! Does nothing where the C library is another than glibc.
#![allow(unsafe_code, reason = "the C library has no safe form of these calls")]

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;
use tokio::time::Instant;

/// Most heaps of the process. By default each thread gets its own, up to eight for each processor, and what one has freed
/// helps no other.
#[cfg(target_env = "gnu")]
const HEAPS: libc::c_int = 2;
/// What is larger has pages of its own, which go back as soon as it is freed. By default that holds only until the first
/// is freed: then the buffers of the local stores, of 512 KiB each, come and go in between what stays, and leave holes.
#[cfg(target_env = "gnu")]
const OWN_PAGES: libc::c_int = 256 * 1024;
/// So much work leaves something worth to be given back.
const BURST: usize = 128;
/// After so long without any the burst is over.
const SILENCE: Duration = Duration::from_secs(2);

/// The variable in which the C library is told at the start of a program what nothing can tell it later.
const TUNABLES: &str = "GLIBC_TUNABLES";
/// By default each thread keeps what it has freed for itself, up to seven pieces of each of 64 sizes: with dozens of threads
/// that rarely work it is megabytes, which fill for days.
const NO_CACHES: &str = "glibc.malloc.tcache_count=0";

/// Starts this program anew, once, so that no thread keeps memory of its own. Called before anything is open.
pub fn without_caches() {
    if cfg!(not(target_env = "gnu")) || std::env::var_os(TUNABLES).is_some() {
        return;
    }
    // As long as it stands where it was started from: an update may be replacing it.
    let Ok(program) = std::env::current_exe() else { return };
    let error = Command::new(&program).args(std::env::args_os().skip(1)).env(TUNABLES, NO_CACHES).exec();
    eprintln!("servant: {} cannot be started anew and takes more memory: {error}", program.display());
}

/// Keeps the memory in few heaps, and what is large out of them. Called before there is a second thread.
pub fn keep_few() {
    #[cfg(target_env = "gnu")]
    // SAFETY: each sets a number.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, HEAPS);
        libc::mallopt(libc::M_MMAP_THRESHOLD, OWN_PAGES);
    }
}

/// Gives back what is free. Takes some milliseconds.
fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: what is in use stays as it is.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// What was done since memory was given back.
#[derive(Debug, Default)]
pub struct Burst {
    count: usize,
    last: Option<Instant>,
}

impl Burst {
    /// So much was done.
    pub fn add(&mut self, count: usize, now: Instant) {
        if count > 0 {
            self.count = self.count.saturating_add(count);
            self.last = Some(now);
        }
    }

    /// Gives memory back, on a thread that nobody waits for, once a burst is over.
    pub fn end(&mut self, now: Instant) {
        if self.is_over(now) {
            *self = Self::default();
            tokio::task::spawn_blocking(give_back);
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        self.count >= BURST && self.last.is_some_and(|last| now.duration_since(last) >= SILENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_over_when_it_was_one_and_nothing_came_for_a_while() {
        let (began, mut burst) = (Instant::now(), Burst::default());
        burst.add(BURST - 1, began);
        assert!(!burst.is_over(began + SILENCE));
        burst.add(1, began + SILENCE);
        assert!(!burst.is_over(began + SILENCE));
        burst.add(0, began + SILENCE * 2);
        assert!(burst.is_over(began + SILENCE * 2));
    }
}
