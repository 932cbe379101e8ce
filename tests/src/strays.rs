//! Who runs: processes as `/proc` shows them. Tests trust it more than what the kingdom says of itself.

use rustix::process::{Pid, Signal, kill_process};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A process of a kingdom.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    pub pid: u32,
    pub parent: u32,
    /// Its `KING_INSTANCE`, when it belongs to an instance.
    pub instance: Option<String>,
    pub command_line: String,
}

/// Every process that has to do with a data folder: by its arguments, its environment or its working folder.
pub fn of_folder(folder: &Path) -> Vec<Seen> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let own = std::process::id();
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| *pid != own).filter_map(|pid| look(pid, folder)).collect()
}

fn look(pid: u32, folder: &Path) -> Option<Seen> {
    let place = PathBuf::from(format!("/proc/{pid}"));
    let stat = std::fs::read_to_string(place.join("stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let (state, parent) = (fields.next()?, fields.next()?.parse().ok()?);
    let text = |name: &str| {
        String::from_utf8_lossy(&std::fs::read(place.join(name)).unwrap_or_default()).into_owned()
    };
    let (command_line, environment) = (text("cmdline"), text("environ"));
    let here = folder.to_str().expect("a temporary folder has a plain path");
    let working_here = std::fs::read_link(place.join("cwd")).is_ok_and(|cwd| cwd.starts_with(folder));
    let ours = working_here || command_line.contains(here) || environment.contains(here);
    let instance = environment.split('\0').find_map(|pair| pair.strip_prefix("KING_INSTANCE="));
    (ours && state != "Z").then(|| Seen {
        pid,
        parent,
        instance: instance.map(str::to_owned),
        command_line: command_line.replace('\0', " "),
    })
}

/// How many times each instance runs: its processes whose parent is none of its own.
pub fn runs(folder: &Path) -> BTreeMap<String, Vec<u32>> {
    let seen = of_folder(folder);
    let mut members: BTreeMap<&str, BTreeSet<u32>> = BTreeMap::new();
    for process in &seen {
        if let Some(instance) = &process.instance {
            members.entry(instance).or_default().insert(process.pid);
        }
    }
    let mut runs: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for process in &seen {
        if let Some(instance) = &process.instance
            && !members[instance.as_str()].contains(&process.parent)
        {
            runs.entry(instance.clone()).or_default().push(process.pid);
        }
    }
    runs
}

/// The processes that have ended and that nobody has waited for, of a program of this name.
pub fn zombies(name: &str) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let is_zombie = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let parts = stat.split_once('(').and_then(|(_, rest)| rest.rsplit_once(") "));
        parts.is_some_and(|(named, rest)| named == name && rest.starts_with('Z'))
    };
    pids.filter(is_zombie).collect()
}

/// The processes whose parent is one of these.
pub fn children(of: &BTreeSet<u32>) -> Vec<u32> {
    let lists = of.iter().map(|pid| {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        let read = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("children"));
        tasks.filter_map(|task| read(task).ok()).collect::<String>()
    });
    let lists: Vec<String> = lists.collect();
    lists.iter().flat_map(|list| list.split_ascii_whitespace()).filter_map(|pid| pid.parse().ok()).collect()
}

/// How many files, sockets and the like a process has open.
pub fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// Kills everything of a data folder until nothing is left of it.
pub fn kill_all(folder: &Path) {
    // What forks meanwhile is found by the next round.
    for _ in 0..200 {
        let seen = of_folder(folder);
        if seen.is_empty() {
            return;
        }
        for process in seen {
            kill9(process.pid);
        }
    }
}

/// Sends SIGKILL to a process, which may be gone already.
pub fn kill9(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::KILL);
    }
}
