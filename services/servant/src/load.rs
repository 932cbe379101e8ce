//! What workers use of the CPU, from `/proc` alone: the ticks of each and of all that it started and that still runs.

use events::InstanceId;
use std::collections::HashMap;
use std::time::{Duration, Instant};
use tokio::time::{Interval, MissedTickBehavior};

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(1);
/// Most processes of one worker that are counted.
const PROCESSES: usize = 256;

/// When it is looked. Time that was missed is not made up for: each look stands for the time since the one before.
pub fn looks() -> Interval {
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    looks
}

/// The looks of before, by instance.
#[derive(Default)]
pub struct Load {
    last: HashMap<InstanceId, Look>,
}

/// Ticks of each process at a time.
struct Look {
    at: Instant,
    ticks: HashMap<u32, u64>,
}

impl Load {
    /// What each of these used of one CPU since the last look, on average, in thousandths; none at the first look.
    pub fn look(&mut self, instance: InstanceId, workers: &[u32], at: Instant) -> Option<u32> {
        let ticks: HashMap<u32, u64> = workers.iter().flat_map(|worker| tree(*worker)).collect();
        let before = self.last.insert(instance, Look { at, ticks })?;
        let now = &self.last.get(&instance)?.ticks;
        // A process that was not there before has used all of its ticks since, and one that is gone cannot be asked.
        let used: u64 = now
            .iter()
            .map(|(pid, ticks)| ticks - before.ticks.get(pid).copied().unwrap_or(0).min(*ticks))
            .sum();
        let elapsed_ms = at.saturating_duration_since(before.at).as_millis();
        let workers = u128::try_from(workers.len()).ok().filter(|count| *count > 0)?;
        let used_ms = u128::from(used) * 1000 / u128::from(ticks_per_second());
        u32::try_from((used_ms * 1000).checked_div(elapsed_ms)? / workers).ok()
    }

    /// Forgets all instances but these.
    pub fn keep(&mut self, is_kept: impl Fn(&InstanceId) -> bool) {
        self.last.retain(|instance, _| is_kept(instance));
    }
}

/// A process and what it started, with the ticks that each has used. The kernel lists the children of each thread
/// (proc(5), `/proc/pid/task/tid/children`).
fn tree(main: u32) -> Vec<(u32, u64)> {
    let (mut found, mut next) = (Vec::new(), vec![main]);
    while let Some(pid) = next.pop() {
        if found.len() >= PROCESSES {
            break;
        }
        // It may have ended meanwhile.
        let Some(ticks) = ticks(pid) else { continue };
        found.push((pid, ticks));
        next.extend(children(pid));
    }
    found
}

fn children(pid: u32) -> Vec<u32> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    let lists =
        threads.filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// User and system time (proc(5), fields 14 and 15 of `stat`).
fn ticks(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn ticks_per_second() -> u64 {
    rustix::param::clock_ticks_per_second()
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn the_work_of_what_a_worker_started_is_counted() {
        // The shell waits for its child, which does the work.
        let mut worker =
            std::process::Command::new("sh").args(["-c", "while :; do :; done & wait"]).spawn().unwrap();
        let (mut load, instance) = (Load::default(), InstanceId(Uuid::from_u128(1)));
        let begun = Instant::now();
        assert_eq!(load.look(instance, &[worker.id()], begun), None);
        while begun.elapsed() < Duration::from_secs(10)
            && tree(worker.id()).iter().map(|(_, ticks)| ticks).sum::<u64>() < 5
        {
            std::thread::yield_now();
        }
        let mean = load.look(instance, &[worker.id()], Instant::now());
        for (pid, _) in tree(worker.id()).into_iter().rev() {
            let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        }
        worker.wait().unwrap();
        assert!(mean.unwrap() > 0, "{mean:?}");
    }
}
