//! What each instance uses: by its control group where it has one, by its processes elsewhere.

use super::census::Links;
use super::cgroup::Group;
use super::proc::{Buffer, narrow, ticks_per_second};
use super::roster::Watched;
use super::tree::{Allowance, Tree, TreeFigures};
use events::InstanceId;
use events::metric::InstanceFigures;
use std::collections::{BTreeMap, HashMap};

/// The descriptors of an instance that does something are counted once in so many seconds.
const DESCRIPTORS_EVERY: usize = 5;
/// Most processes of one instance whose descriptors are counted.
const DESCRIPTORS_OF: usize = 16;
/// The processes of an instance that used no processor time are looked at all the same once in so many seconds: the kernel
/// may have taken memory from them meanwhile.
const RESTED_EVERY: usize = 15;

/// The meters of all instances.
#[derive(Default)]
pub struct InstanceMeters {
    /// By the main process too: an instance with workers has several.
    meters: BTreeMap<(InstanceId, u32), Meter>,
    turn: usize,
}

/// When something is measured.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// When the sample before was taken, in clock ticks since boot.
    pub since_ticks: u64,
    pub elapsed_us: u64,
    /// Processor threads of the host: nobody can use more.
    pub cpus: u32,
}

struct Meter {
    tree: Tree,
    /// What its processes were like when they were looked at last; none where that may be something else by now.
    known: Option<TreeFigures>,
    group: Option<Group>,
    group_used_us: Option<u64>,
    /// What was used and is more than can have been within one sample: it is told in the next ones.
    owed_us: u64,
    descriptors: u32,
}

impl InstanceMeters {
    /// Measures all that are on the roster.
    pub fn sample(
        &mut self,
        roster: &BTreeMap<InstanceId, Watched>,
        span: Span,
        most_files: usize,
        buffer: &mut Buffer,
    ) -> Vec<InstanceFigures> {
        self.meters.retain(|(id, pid), _| {
            roster.get(id).is_some_and(|watched| watched.mains.values().any(|main| main == pid))
        });
        let mut allowance = self.allowance(most_files);
        self.turn = self.turn.wrapping_add(1);
        let mut all = Vec::with_capacity(roster.len());
        for (place, (&instance, watched)) in roster.iter().enumerate() {
            let mut figures = blank(instance, watched.restarts);
            for &pid in watched.mains.values() {
                let meter = self
                    .meters
                    .entry((instance, pid))
                    .or_insert_with(|| Meter::new(pid, instance, &mut allowance));
                if (place + self.turn).is_multiple_of(RESTED_EVERY) {
                    meter.known = None;
                }
                let used = meter.sample(&span, &mut allowance, buffer);
                let may_differ =
                    used.look == Look::Taken && (place + self.turn).is_multiple_of(DESCRIPTORS_EVERY);
                if meter.descriptors == 0 || may_differ {
                    meter.descriptors = meter.tree.pids().take(DESCRIPTORS_OF).map(descriptors).sum();
                }
                meter.tell(&used, &span, &mut figures);
            }
            all.push(figures);
        }
        all
    }

    /// Takes in what a census has found.
    pub fn extend(&mut self, links: &Links, most_files: usize) {
        let mut allowance = self.allowance(most_files);
        self.meters.values_mut().for_each(|meter| meter.extend(links, &mut allowance));
    }

    /// Which process belongs to which instance.
    pub fn owners(&self) -> HashMap<u32, InstanceId> {
        let owned = self.meters.iter().map(|((id, _), meter)| (*id, meter.tree.pids()));
        owned.flat_map(|(id, pids)| pids.map(move |pid| (pid, id))).collect()
    }

    fn allowance(&self, most_files: usize) -> Allowance {
        let open: usize = self.meters.values().map(|meter| meter.tree.files()).sum();
        Allowance(most_files.saturating_sub(open))
    }
}

impl Meter {
    fn new(pid: u32, instance: InstanceId, allowance: &mut Allowance) -> Self {
        let tree = Tree::new(pid, allowance);
        let group = Group::of(pid, instance);
        Self { tree, known: None, group, group_used_us: None, owed_us: 0, descriptors: 0 }
    }

    /// What its processes use, and the processor time since before in microseconds.
    ///
    /// Nothing begins, ends or takes memory without processor time. So where the group has used none, its processes are as
    /// they were: one file is read instead of three for each of them. Most instances are idle most of the time.
    fn sample(&mut self, span: &Span, allowance: &mut Allowance, buffer: &mut Buffer) -> Used {
        let of_group = self.group.as_ref().and_then(|group| group.used_us(buffer));
        let before = of_group.and_then(|now| self.group_used_us.replace(now));
        let since = of_group.map(|now| now.saturating_sub(before.unwrap_or(now)));
        let has_rested = before.is_some() && since == Some(0);
        if let Some(tree) = self.known.filter(|_| has_rested) {
            return Used { tree, us: 0, look: Look::Spared };
        }
        let tree = self.tree.sample(span.since_ticks, allowance, buffer);
        self.known = Some(TreeFigures { ticks: 0, ..tree });
        let us = since.unwrap_or(tree.ticks * 1_000_000 / ticks_per_second());
        Used { tree, us, look: Look::Taken }
    }

    /// Takes in what a census has found.
    fn extend(&mut self, links: &Links, allowance: &mut Allowance) {
        let before = self.tree.files();
        self.tree.extend(links, allowance);
        if self.tree.files() != before {
            self.known = None;
        }
    }

    /// Adds what it uses to the figures of its instance.
    fn tell(&mut self, used: &Used, span: &Span, figures: &mut InstanceFigures) {
        let most = span.elapsed_us.saturating_mul(u64::from(span.cpus));
        let owed = self.owed_us + used.us;
        let told = owed.min(most);
        self.owed_us = owed - told;
        let cpu = narrow((told * 1000).checked_div(span.elapsed_us).unwrap_or_default());
        figures.cpu = figures.cpu.saturating_add(cpu);
        figures.memory_kib = figures.memory_kib.saturating_add(narrow(used.tree.memory_kib));
        figures.processes = figures.processes.saturating_add(used.tree.processes);
        figures.threads = figures.threads.saturating_add(used.tree.threads);
        figures.descriptors = figures.descriptors.saturating_add(self.descriptors);
    }
}

struct Used {
    tree: TreeFigures,
    us: u64,
    look: Look,
}

/// Whether the processes themselves were looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    Taken,
    Spared,
}

fn blank(instance: InstanceId, restarts: u32) -> InstanceFigures {
    let (cpu, memory_kib, descriptors, processes, threads, lost) = (0, 0, 0, 0, 0, 0);
    InstanceFigures { instance, cpu, memory_kib, descriptors, processes, threads, restarts, lost }
}

/// How many descriptors a process has: the size of its folder since Linux 6.2, counted one by one before.
fn descriptors(pid: u32) -> u32 {
    let folder = format!("/proc/{pid}/fd");
    let size = std::fs::metadata(&folder).map_or(0, |metadata| metadata.len());
    if size > 0 {
        return narrow(size);
    }
    std::fs::read_dir(folder).map_or(0, |entries| u32::try_from(entries.count()).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn descriptors_of_this_process_are_counted() {
        let before = descriptors(std::process::id());
        let files: Vec<_> = (0..50).map(|_| std::fs::File::open("/proc/self/stat").unwrap()).collect();
        let after = descriptors(std::process::id());
        // Other tests of this process open and close files too.
        assert!(before > 0 && after >= before + 25, "{before}, with {} more {after}", files.len());
    }

    #[test]
    fn no_more_is_told_than_can_have_been_used_and_the_rest_later() {
        let span = Span { since_ticks: 0, elapsed_us: 1_000_000, cpus: 2 };
        let mut meter = Meter::new(std::process::id(), InstanceId(Uuid::from_u128(1)), &mut Allowance(0));
        let used = |us| Used { tree: TreeFigures::default(), us, look: Look::Taken };
        let mut tell = |us| {
            let mut figures = blank(InstanceId(Uuid::from_u128(1)), 0);
            meter.tell(&used(us), &span, &mut figures);
            figures.cpu
        };
        assert_eq!((tell(3_500_000), tell(0), tell(0), tell(500_000)), (2000, 1500, 0, 500));
    }

    #[test]
    fn processes_are_looked_at_only_when_their_group_did_something() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let used = |us: u64| std::fs::write(file.path(), format!("usage_usec {us}\n")).unwrap();
        let span = Span { since_ticks: 0, elapsed_us: 1_000_000, cpus: 1 };
        let (mut allowance, mut buffer) = (Allowance(100), Buffer::default());
        let mut meter = Meter::new(std::process::id(), InstanceId(Uuid::from_u128(1)), &mut allowance);
        meter.group = Some(Group::told_by(file.path()));
        let mut look = |meter: &mut Meter| {
            let used = meter.sample(&span, &mut allowance, &mut buffer);
            assert!(used.tree.processes > 0 && used.tree.memory_kib > 0, "{:?}", used.tree);
            (used.look, used.us)
        };
        used(7);
        assert_eq!([look(&mut meter), look(&mut meter)], [(Look::Taken, 0), (Look::Spared, 0)]);
        used(9);
        assert_eq!([look(&mut meter), look(&mut meter)], [(Look::Taken, 2), (Look::Spared, 0)]);
        // What a census finds is to be looked at.
        let children = HashMap::from([(std::process::id(), vec![1])]);
        meter.extend(&Links { children, ..Links::default() }, &mut Allowance(100));
        assert_eq!([look(&mut meter), look(&mut meter)], [(Look::Taken, 0), (Look::Spared, 0)]);
    }

    #[test]
    fn workers_are_counted_together() {
        let one = InstanceId(Uuid::from_u128(1));
        let mut others: Vec<_> = (0..2)
            .map(|_| std::process::Command::new("sleep").arg("1000").spawn().expect("it can be run"))
            .collect();
        let mains = (0..).zip(others.iter().map(std::process::Child::id)).collect();
        let (mut meters, mut buffer) = (InstanceMeters::default(), Buffer::default());
        let span = Span { since_ticks: 0, elapsed_us: 1_000_000, cpus: 1 };
        let all = meters.sample(&BTreeMap::from([(one, Watched::new(mains, 0))]), span, 100, &mut buffer);
        for other in &mut others {
            assert_eq!(meters.owners().get(&other.id()), Some(&one));
            other.kill().expect("it runs");
            other.wait().expect("it was killed");
        }
        assert_eq!((all.len(), all[0].processes), (1, 2), "{all:?}");
    }

    #[test]
    fn an_instance_that_ended_uses_nothing_and_one_that_is_forgotten_is_not_told() {
        let (one, two) = (InstanceId(Uuid::from_u128(1)), InstanceId(Uuid::from_u128(2)));
        let own = Watched::new(BTreeMap::from([(0, std::process::id())]), 3);
        let ended = Watched::new(BTreeMap::new(), 1);
        let (mut meters, mut buffer) = (InstanceMeters::default(), Buffer::default());
        let span = Span { since_ticks: 0, elapsed_us: 1_000_000, cpus: 1 };
        let all = meters.sample(&BTreeMap::from([(one, own), (two, ended)]), span, 100, &mut buffer);
        assert!(all[0].memory_kib > 0 && all[0].descriptors > 0 && all[0].restarts == 3, "{all:?}");
        assert_eq!(all[1], blank(two, 1));
        assert_eq!(meters.owners().get(&std::process::id()), Some(&one));
        assert!(meters.sample(&BTreeMap::new(), span, 100, &mut buffer).is_empty());
        assert!(meters.owners().is_empty());
    }
}
