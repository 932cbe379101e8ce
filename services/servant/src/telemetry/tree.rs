//! The processes of one instance, from its main process down: what they use together.
//!
//! Times are summed with those of children that were waited for: so the sum only moves from child to parent when a child
//! ends, and is never counted twice. Children of the main thread are seen at once, others and those that left their
//! parent by the next whole [`census`](super::census).

use super::census::Links;
use super::proc::{Buffer, ProcFile, Stat, number, page_kib, words};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Most processes of one instance that are looked at each second.
const MOST: usize = 64;

/// The processes of an instance.
pub struct Tree {
    main: u32,
    parent: Option<u32>,
    /// The holder, whose children they become when their parent dies.
    holder: Option<u32>,
    /// The session that is theirs alone.
    session: Option<u32>,
    members: BTreeMap<u32, Member>,
    /// The sum of times at the sample before.
    before: Option<u64>,
}

struct Member {
    stat: ProcFile,
    /// Not on every kernel.
    children: Option<ProcFile>,
    /// Opened where there are several.
    statm: Option<ProcFile>,
    was_looked_at: bool,
}

/// What they use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TreeFigures {
    /// Since the sample before.
    pub ticks: u64,
    pub memory_kib: u64,
    pub processes: u32,
    pub threads: u32,
}

/// How many more files may be held open.
#[derive(Debug)]
pub struct Allowance(pub usize);

impl Allowance {
    fn take(&mut self, files: usize) -> bool {
        let is_left = self.0 >= files;
        self.0 = self.0.saturating_sub(files);
        is_left
    }
}

/// Files that a member may hold open.
const FILES: usize = 3;

impl Tree {
    /// The tree of a main process.
    pub fn new(main: u32, allowance: &mut Allowance) -> Self {
        let mut tree =
            Self { main, parent: None, holder: None, session: None, members: BTreeMap::new(), before: None };
        tree.add(main, allowance);
        tree
    }

    pub fn main(&self) -> u32 {
        self.main
    }

    pub fn pids(&self) -> impl Iterator<Item = u32> + '_ {
        self.members.keys().copied()
    }

    /// How many files it holds open at most.
    pub fn files(&self) -> usize {
        self.members.len() * FILES
    }

    /// What they use now. `since` is when the sample before was taken, in clock ticks since boot.
    pub fn sample(&mut self, since: u64, allowance: &mut Allowance, buffer: &mut Buffer) -> TreeFigures {
        let (mut figures, mut sum, mut shared) = (TreeFigures::default(), 0, 0);
        let mut left: Vec<u32> = self.pids().collect();
        while let Some(pid) = left.pop() {
            let Some(look) = self.look(pid, buffer) else {
                self.members.remove(&pid);
                continue;
            };
            sum += look.ticks;
            // What it did before it was known is not of this second.
            if look.is_first && look.start <= since {
                self.before = self.before.map(|before| before + look.ticks);
            }
            figures.processes += u32::from(look.lives);
            figures.threads += look.threads;
            figures.memory_kib += look.private_kib;
            shared = look.shared_kib.max(shared);
            for child in look.children {
                if !self.members.contains_key(&child) && self.add(child, allowance) {
                    left.push(child);
                }
            }
        }
        figures.memory_kib += shared;
        figures.ticks = sum.saturating_sub(self.before.unwrap_or(sum));
        self.before = Some(sum);
        figures
    }

    fn look(&mut self, pid: u32, buffer: &mut Buffer) -> Option<Look> {
        let is_alone = self.members.len() == 1;
        let member = self.members.get_mut(&pid)?;
        let stat = Stat::parse(member.stat.read_short(buffer).ok()?)?;
        if pid == self.main {
            if self.parent.replace(stat.parent) != Some(stat.parent) {
                self.holder = is_holder(stat.parent).then_some(stat.parent);
            }
            let is_own = stat.session == self.main || Some(stat.session) == self.holder;
            self.session = is_own.then_some(stat.session);
        }
        let mut look = Look {
            is_first: !std::mem::replace(&mut member.was_looked_at, true),
            ticks: stat.own_ticks + stat.waited_ticks,
            start: stat.start,
            lives: !stat.is_dead(),
            threads: if stat.is_dead() { 0 } else { stat.threads },
            private_kib: stat.resident_pages * page_kib(),
            shared_kib: 0,
            children: Vec::new(),
        };
        if !is_alone {
            member.split_memory(pid, &mut look, buffer);
        }
        if let Some(children) = &member.children
            && let Ok(text) = children.read_short(buffer)
        {
            look.children.extend(words(text).filter_map(number).map(super::proc::narrow));
        }
        Some(look)
    }

    fn add(&mut self, pid: u32, allowance: &mut Allowance) -> bool {
        if self.members.len() >= MOST || !allowance.take(FILES) {
            return false;
        }
        let Ok(stat) = ProcFile::open(format!("/proc/{pid}/stat")) else { return false };
        let children = ProcFile::open(format!("/proc/{pid}/task/{pid}/children")).ok();
        self.members.insert(pid, Member { stat, children, statm: None, was_looked_at: false });
        true
    }

    /// Takes in what a census has found.
    pub fn extend(&mut self, links: &Links, allowance: &mut Allowance) {
        let of = |map: &HashMap<u32, Vec<u32>>, key: Option<u32>| {
            key.and_then(|key| map.get(&key)).cloned().unwrap_or_default()
        };
        let mut left = of(&links.children, self.holder);
        left.extend(of(&links.sessions, self.session));
        left.retain(|pid| Some(*pid) != self.holder);
        left.push(self.main);
        let mut seen = BTreeSet::new();
        while let Some(pid) = left.pop() {
            let is_new = seen.insert(pid);
            if is_new && (self.members.contains_key(&pid) || self.add(pid, allowance)) {
                left.extend(links.children.get(&pid).into_iter().flatten());
            }
        }
    }
}

impl Member {
    /// Pages of programs and shared memory are counted once for all of them.
    fn split_memory(&mut self, pid: u32, look: &mut Look, buffer: &mut Buffer) {
        if self.statm.is_none() {
            self.statm = ProcFile::open(format!("/proc/{pid}/statm")).ok();
        }
        let Some(text) = self.statm.as_ref().and_then(|statm| statm.read_short(buffer).ok()) else { return };
        // size resident shared
        let mut pages = words(text).skip(1).map(|word| number(word).unwrap_or_default());
        let (resident, shared) = (pages.next().unwrap_or_default(), pages.next().unwrap_or_default());
        look.private_kib = resident.saturating_sub(shared) * page_kib();
        look.shared_kib = shared * page_kib();
    }
}

/// Whether a process is a holder, by the name that holders give themselves.
fn is_holder(pid: u32) -> bool {
    std::fs::read(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim_ascii() == b"king-holder")
}

/// One process, looked at once.
struct Look {
    is_first: bool,
    ticks: u64,
    start: u64,
    lives: bool,
    threads: u32,
    private_kib: u64,
    shared_kib: u64,
    children: Vec<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command};
    use std::time::{Duration, Instant};

    fn sample(tree: &mut Tree) -> TreeFigures {
        tree.sample(super::super::sampler::ticks_since_boot(), &mut Allowance(1000), &mut Buffer::default())
    }

    fn end(mut child: Child) {
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn until(tree: &mut Tree, holds: impl Fn(TreeFigures) -> bool) -> TreeFigures {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let figures = sample(tree);
            if holds(figures) {
                return figures;
            }
            assert!(Instant::now() < deadline, "{figures:?}");
            std::thread::yield_now();
        }
    }

    #[test]
    fn work_of_children_that_come_and_go_is_counted_once() {
        let script = "while :; do (i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done); done";
        let child = Command::new("sh").args(["-c", script]).spawn().unwrap();
        let mut tree = Tree::new(child.id(), &mut Allowance(1000));
        sample(&mut tree);
        let (started, mut ticks) = (Instant::now(), 0);
        while started.elapsed() < Duration::from_secs(1) {
            ticks += sample(&mut tree).ticks;
            std::thread::yield_now();
        }
        let elapsed = started.elapsed();
        end(child);
        let most = elapsed.as_millis() as u64 * super::super::proc::ticks_per_second() / 1000;
        assert!(ticks > 0 && ticks <= most + 5, "{ticks} ticks of {most}");
    }

    #[test]
    fn children_are_found_and_gone_ones_left_out() {
        let mut child = Command::new("sh").args(["-c", "sleep 1000 & sleep 1000 & wait"]).spawn().unwrap();
        let mut tree = Tree::new(child.id(), &mut Allowance(1000));
        let figures = until(&mut tree, |figures| figures.processes == 3);
        assert!(figures.threads == 3 && figures.memory_kib > 0, "{figures:?}");
        let others: Vec<u32> = tree.pids().filter(|pid| *pid != child.id()).collect();
        for pid in others {
            let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        }
        child.wait().unwrap();
        until(&mut tree, |figures| figures == TreeFigures::default());
        assert_eq!(tree.pids().count(), 0);
    }

    #[test]
    fn a_census_finds_what_is_no_child_of_the_main_thread() {
        let script = "import subprocess, threading\nthreading.Thread(target=subprocess.run, args=(['sleep', '1000'],)).start()";
        let child = Command::new("python3").args(["-c", script]).spawn().unwrap();
        let mut tree = Tree::new(child.id(), &mut Allowance(1000));
        let mut census = super::super::census::Census::default();
        let deadline = Instant::now() + Duration::from_secs(20);
        while sample(&mut tree).processes < 2 {
            assert!(Instant::now() < deadline, "the child of a thread is not found");
            if census.step(&mut Buffer::default()).unwrap() {
                tree.extend(&census.links(), &mut Allowance(1000));
            }
        }
        let other = tree.pids().find(|pid| *pid != child.id()).unwrap();
        end(child);
        let other = rustix::process::Pid::from_raw(i32::try_from(other).unwrap()).unwrap();
        rustix::process::kill_process(other, rustix::process::Signal::KILL).unwrap();
    }

    #[test]
    fn without_files_to_spare_nothing_is_looked_at() {
        let tree = Tree::new(std::process::id(), &mut Allowance(2));
        assert_eq!(tree.pids().count(), 0);
    }
}
