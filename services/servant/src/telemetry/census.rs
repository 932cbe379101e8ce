//! Every process of the host, a part of them each second: which take the most, and who is whose child.

use super::proc::{Buffer, ProcFile, Stat, page_kib, ticks_per_second};
use events::InstanceId;
use events::limits::TOP_PROCESSES;
use events::metric::{ProcessFigures, Top};
use std::collections::HashMap;
use std::io;
use std::time::Instant;

/// In so many steps all processes are looked at, while there are not too many.
pub const CYCLE: usize = 10;
/// Most processes that one step looks at: where there are more, a cycle takes longer.
const MOST_PER_STEP: usize = 500;
/// Most processes of a host that are looked at.
const MOST: usize = 50_000;

/// A process as it was seen.
#[derive(Clone, Debug)]
struct Seen {
    at: Instant,
    start: u64,
    ticks: u64,
    /// In thousandths of one processor.
    cpu: u32,
    memory_kib: u64,
    parent: u32,
    session: u32,
    name: Vec<u8>,
}

/// Looks at all processes, again and again.
#[derive(Default)]
pub struct Census {
    left: Vec<u32>,
    step: usize,
    round: HashMap<u32, Seen>,
    before: HashMap<u32, Seen>,
}

/// Who is whose, as of the last whole cycle.
#[derive(Debug, Default)]
pub struct Links {
    pub children: HashMap<u32, Vec<u32>>,
    pub sessions: HashMap<u32, Vec<u32>>,
}

impl Census {
    /// Looks at some processes; whether all have been looked at by now.
    ///
    /// # Errors
    /// When the list of processes cannot be read.
    pub fn step(&mut self, buffer: &mut Buffer) -> io::Result<bool> {
        if self.left.is_empty() {
            self.left = pids()?;
            self.step = self.left.len().div_ceil(CYCLE).clamp(1, MOST_PER_STEP);
            self.round.clear();
        }
        let from = self.left.len().saturating_sub(self.step);
        for pid in self.left.split_off(from) {
            // It may be gone by now.
            if let Some(seen) = look(pid, self.before.get(&pid), buffer) {
                self.round.insert(pid, seen);
            }
        }
        let is_whole = self.left.is_empty();
        if is_whole {
            std::mem::swap(&mut self.before, &mut self.round);
        }
        Ok(is_whole)
    }

    /// Who is whose.
    pub fn links(&self) -> Links {
        let mut links = Links::default();
        for (&pid, seen) in &self.before {
            links.children.entry(seen.parent).or_default().push(pid);
            links.sessions.entry(seen.session).or_default().push(pid);
        }
        links
    }

    /// The processes that take the most.
    pub fn top(&self, instance_of: impl Fn(u32) -> Option<InstanceId>) -> Top {
        let list = |key: fn(&Seen) -> u64| {
            let mut all: Vec<(&u32, &Seen)> = self.before.iter().filter(|(_, seen)| key(seen) > 0).collect();
            let order = |(pid, seen): &(&u32, &Seen)| (std::cmp::Reverse(key(seen)), **pid);
            if all.len() > TOP_PROCESSES {
                all.select_nth_unstable_by_key(TOP_PROCESSES, order);
                all.truncate(TOP_PROCESSES);
            }
            all.sort_unstable_by_key(order);
            all.into_iter().map(|(&pid, seen)| figures(pid, seen, instance_of(pid))).collect()
        };
        Top { by_cpu: list(|seen| u64::from(seen.cpu)), by_memory: list(|seen| seen.memory_kib) }
    }
}

fn figures(pid: u32, seen: &Seen, instance: Option<InstanceId>) -> ProcessFigures {
    let name = String::from_utf8_lossy(&seen.name).into_owned();
    ProcessFigures { pid, name, cpu: seen.cpu, memory_kib: seen.memory_kib, instance }
}

fn pids() -> io::Result<Vec<u32>> {
    let entries = std::fs::read_dir("/proc")?;
    let pid = |entry: io::Result<std::fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
    Ok(entries.filter_map(pid).take(MOST).collect())
}

fn look(pid: u32, before: Option<&Seen>, buffer: &mut Buffer) -> Option<Seen> {
    let file = ProcFile::open(format!("/proc/{pid}/stat")).ok()?;
    let stat = Stat::parse(file.read_short(buffer).ok()?).filter(|stat| !stat.is_dead())?;
    let at = Instant::now();
    let cpu = before.filter(|before| before.start == stat.start).map_or(0, |before| {
        let ticks = stat.own_ticks.saturating_sub(before.ticks);
        let elapsed_ms = u64::try_from(at.duration_since(before.at).as_millis()).unwrap_or(u64::MAX);
        super::proc::narrow(
            (ticks * 1_000_000 / ticks_per_second()).checked_div(elapsed_ms).unwrap_or_default(),
        )
    });
    Some(Seen {
        at,
        start: stat.start,
        ticks: stat.own_ticks,
        cpu,
        memory_kib: stat.resident_pages * page_kib(),
        parent: stat.parent,
        session: stat.session,
        name: stat.name.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cycle(census: &mut Census) -> usize {
        let mut buffer = Buffer::default();
        (1..).find(|_| census.step(&mut buffer).unwrap()).unwrap()
    }

    #[test]
    fn a_process_that_works_is_seen_to_and_is_its_parents_child() {
        let mut busy = std::process::Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        let mut census = Census::default();
        assert!(cycle(&mut census) <= CYCLE + 1);
        let until = Instant::now() + std::time::Duration::from_millis(300);
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        cycle(&mut census);
        let one = InstanceId(uuid::Uuid::from_u128(1));
        let top = census.top(|pid| (pid == busy.id()).then_some(one));
        busy.kill().unwrap();
        busy.wait().unwrap();
        // Whether it is at the top hangs on what else this machine does.
        let seen = &census.before[&busy.id()];
        assert!(seen.cpu > 0 && seen.name == b"sh", "{seen:?}");
        for process in top.by_cpu.iter().filter(|process| process.pid == busy.id()) {
            assert_eq!(process.instance, Some(one));
        }
        assert!(top.by_cpu.windows(2).all(|pair| pair[0].cpu >= pair[1].cpu));
        assert!(top.by_cpu.len() <= TOP_PROCESSES && top.by_memory.len() <= TOP_PROCESSES);
        assert!(top.by_memory.windows(2).all(|pair| pair[0].memory_kib >= pair[1].memory_kib));
        assert!(census.links().children[&std::process::id()].contains(&busy.id()));
    }
}
