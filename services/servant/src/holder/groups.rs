//! The control groups of a slot: who is in them, and the end of all of them. What is born in a group stays in it,
//! whatever session or parent it gives itself, so nothing escapes.

use super::words::GroupOrder;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

/// The groups of one run.
#[derive(Debug, Default)]
pub struct Groups {
    orders: Vec<GroupOrder>,
    /// Kills for want of memory before this run.
    killed_before: u64,
}

impl Groups {
    pub fn new(orders: &[GroupOrder]) -> Self {
        let mut groups = Self { orders: orders.to_vec(), killed_before: 0 };
        groups.killed_before = groups.memory_kills();
        groups
    }

    /// The group to be born in, and the lists of those to be put into before anything else.
    ///
    /// # Errors
    /// When one cannot be opened.
    pub fn open(&self) -> io::Result<(Option<OwnedFd>, Vec<OwnedFd>)> {
        let (mut born, mut joined) = (None, Vec::new());
        for order in &self.orders {
            if order.is_unified && born.is_none() {
                born = Some(File::open(&order.path)?.into());
            } else {
                joined.push(File::options().write(true).open(order.path.join("cgroup.procs"))?.into());
            }
        }
        Ok((born, joined))
    }

    /// Who is in the first of them. A group that is gone has nobody.
    pub fn members(&self) -> Vec<Pid> {
        self.orders.first().map(|order| listed(&order.path)).unwrap_or_default()
    }

    /// Kills all that is in them.
    pub fn kill(&self) {
        let Some(order) = self.orders.first() else {
            return;
        };
        // Since Linux 5.14, and not in version 1: there each is signalled by itself.
        if !order.is_unified || std::fs::write(order.path.join("cgroup.kill"), "1").is_err() {
            self.signal(&self.members(), Signal::KILL);
        }
    }

    /// Signals these members, and no stranger who got the number of one that has ended.
    pub fn signal(&self, members: &[Pid], signal: Signal) {
        let open = |pid: &Pid| Some((*pid, pidfd_open(*pid, PidfdFlags::empty()).ok()?));
        let open: Vec<(Pid, OwnedFd)> = members.iter().filter_map(open).collect();
        let still = self.members();
        for (_, process) in open.iter().filter(|(pid, _)| still.contains(pid)) {
            match pidfd_send_signal(process, signal) {
                // It has ended meanwhile.
                Ok(()) | Err(Errno::SRCH) => {}
                Err(error) => super::note(&format!("a process could not be signalled: {error}")),
            }
        }
    }

    /// Whether something of this run was killed because its memory was used up.
    pub fn ran_out_of_memory(&self) -> bool {
        self.memory_kills() > self.killed_before
    }

    /// Removes them. One that is not empty yet stays, and goes with its instance.
    pub fn remove(&self) {
        for order in &self.orders {
            let _ = std::fs::remove_dir(&order.path);
        }
    }

    fn memory_kills(&self) -> u64 {
        let counts = self.orders.iter().filter_map(|order| {
            let name = if order.is_unified { "memory.events" } else { "memory.oom_control" };
            let text = std::fs::read_to_string(order.path.join(name)).ok()?;
            text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse::<u64>().ok())
        });
        counts.sum()
    }
}

fn listed(path: &Path) -> Vec<Pid> {
    let text = std::fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| Pid::from_raw(line.parse().ok().filter(|pid| *pid > 0)?)).collect()
}
