//! The control groups of this host: what it can limit, and a group for each slot of each instance. By plain files, as the
//! kernel offers them: version 2, version 1, or both at once. Groups are made here, joined and left in
//! [`crate::holder`].

use crate::holder::groups::Groups;
use crate::holder::words::{Confinement, GroupOrder, Slot};
use crate::users;
use events::manifest::{LIMITS_CPU, LIMITS_MEMORY, LIMITS_PIDS, Limits, Supervision};
use events::{ExecId, InstanceId, ServantId};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// The folder of all servants of the host in each hierarchy.
const KING: &str = "king";
const CONTROLLERS: [Controller; 3] = [Controller::Memory, Controller::Cpu, Controller::Pids];
/// Most groups of one slot: more than one only while what was killed is not gone.
const GROUPS: usize = 16;
/// The period of limits on processor time, in microseconds.
const CPU_PERIOD_US: u64 = 100_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Controller {
    Memory,
    Cpu,
    Pids,
}

impl Controller {
    fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Pids => "pids",
        }
    }

    fn capability(self) -> &'static str {
        match self {
            Self::Memory => LIMITS_MEMORY,
            Self::Cpu => LIMITS_CPU,
            Self::Pids => LIMITS_PIDS,
        }
    }
}

/// A folder of this servant in one hierarchy.
#[derive(Clone, Debug)]
struct Base {
    path: PathBuf,
    is_unified: bool,
}

/// The groups of this servant.
#[derive(Clone, Debug, Default)]
pub struct Cgroups {
    /// Where instances are held together: version 2 if the host has it.
    tracking: Option<Base>,
    controllers: BTreeMap<Controller, Base>,
}

/// A limit that this host cannot hold.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    #[error("this host cannot limit {0}: it has no control group for it that this servant may use")]
    Missing(&'static str),
    #[error("{path} could not be made or set: {error}", path = path.display())]
    Failed { path: PathBuf, error: io::Error },
}

impl Cgroups {
    /// Looks at what the host has, and makes this servant's folders in it.
    pub fn probe(servant: ServantId) -> Self {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let mut groups = Self::default();
        for mount in mounts.lines().filter_map(Mount::parse) {
            groups.try_mount(&mount, &own, servant);
        }
        groups
    }

    fn try_mount(&mut self, mount: &Mount<'_>, own: &str, servant: ServantId) {
        let wanted: Vec<Controller> = match mount.kind {
            Kind::Unified => CONTROLLERS.to_vec(),
            Kind::Old { options } => {
                let has = |controller: &Controller| options.split(',').any(|one| one == controller.name());
                CONTROLLERS.into_iter().filter(has).collect()
            }
        };
        let is_unified = matches!(mount.kind, Kind::Unified);
        if wanted.is_empty() {
            return;
        }
        let Some(path) = base(mount, own, servant, &wanted) else {
            return;
        };
        let base = Base { path, is_unified };
        let usable = if is_unified { enabled(&base.path) } else { wanted };
        if is_unified || self.tracking.is_none() {
            self.tracking = Some(base.clone());
        }
        for controller in usable {
            self.controllers.entry(controller).or_insert_with(|| base.clone());
        }
    }

    /// What this host can limit, as capabilities of its servant, and by what.
    pub fn capabilities(&self) -> BTreeMap<String, String> {
        let by = |base: &Base| if base.is_unified { "cgroup v2" } else { "cgroup v1" };
        let mut found: BTreeMap<String, String> = self
            .controllers
            .iter()
            .map(|(controller, base)| (controller.capability().to_owned(), by(base).to_owned()))
            .collect();
        // Better than nothing, and told as what it is.
        found.entry(LIMITS_MEMORY.to_owned()).or_insert_with(|| "of each process".to_owned());
        found
    }

    /// Whether memory can be limited for all processes of an instance together.
    pub fn limits_memory(&self) -> bool {
        self.controllers.contains_key(&Controller::Memory)
    }

    /// Makes the groups of a slot, with its limits; the first holds it together.
    ///
    /// # Errors
    /// When a limit cannot be held here.
    pub fn make(
        &self,
        instance: InstanceId,
        slot: Slot,
        limits: &Limits,
    ) -> Result<Vec<GroupOrder>, CgroupError> {
        self.named(&format!("{instance}.{slot}"), limits)
    }

    /// Makes groups of their own for a command beside an instance, with the limits that this has: so one cannot take from the
    /// other. What stays of them goes with the instance.
    ///
    /// # Errors
    /// When a limit cannot be held here.
    pub fn make_beside(
        &self,
        instance: InstanceId,
        exec: ExecId,
        limits: &Limits,
    ) -> Result<Vec<GroupOrder>, CgroupError> {
        self.named(&format!("{instance}.exec-{exec}"), limits)
    }

    /// What each process of an instance may, where no group says so for all together.
    ///
    /// # Errors
    /// When this host has no such user.
    pub fn confinement(&self, supervision: &Supervision) -> io::Result<Confinement> {
        let limits = &supervision.limits;
        Ok(Confinement {
            open_files: limits.open_files.map(u64::from),
            data_bytes: limits.memory_bytes.filter(|_| !self.limits_memory()),
            nice: limits.nice,
            user: supervision.user.as_deref().map(users::find).transpose()?,
        })
    }

    fn named(&self, name: &str, limits: &Limits) -> Result<Vec<GroupOrder>, CgroupError> {
        let mut orders = Vec::new();
        match self.tracking.as_ref().map(|base| group(base, name)) {
            Some(Ok(order)) => orders.push(order),
            // Without one it is held together by its session and by who its parents were.
            Some(Err(error)) => tracing::warn!(name, %error, "an instance gets no control group"),
            None => {}
        }
        for (controller, setting) in settings(limits) {
            let base = match self.controllers.get(&controller) {
                Some(base) => base,
                // Each process is limited by itself.
                None if controller == Controller::Memory => continue,
                None => return Err(CgroupError::Missing(controller.name())),
            };
            let order = group(base, name)?;
            set(base, &order.path, &setting)?;
            if !orders.contains(&order) {
                orders.push(order);
            }
        }
        Ok(orders)
    }

    /// Kills what is in the groups of an instance that nobody holds, and removes them.
    pub fn sweep(&self, instance: InstanceId) {
        let prefix = format!("{instance}.");
        for path in self.bases().flat_map(|base| folders(&base.path, &prefix)) {
            let is_unified = path.join("cgroup.controllers").exists();
            Groups::new(&[GroupOrder { path: path.clone(), is_unified }]).kill();
            remove(&path);
        }
    }

    /// Removes the empty groups of an instance.
    pub fn remove(&self, instance: InstanceId) {
        let prefix = format!("{instance}.");
        self.bases().flat_map(|base| folders(&base.path, &prefix)).for_each(|path| remove(&path));
    }

    /// Removes what is empty of this servant's folders: all of them when nothing runs.
    pub fn forget(&self) {
        for base in self.bases() {
            folders(&base.path, "").iter().for_each(|path| remove(path));
            remove(&base.path);
            if let Some(king) = base.path.parent() {
                remove(king);
            }
        }
    }

    fn bases(&self) -> impl Iterator<Item = &Base> {
        self.tracking.iter().chain(self.controllers.values())
    }
}

/// The files that set the limits of each controller that is asked for: of version 2, and of version 1.
struct Setting {
    unified: Vec<(&'static str, String)>,
    old: Vec<(&'static str, String)>,
}

fn settings(limits: &Limits) -> Vec<(Controller, Setting)> {
    let memory = limits.memory_bytes.map(|bytes| {
        let bytes = bytes.to_string();
        // What does not fit is not to be put on a slow disk instead, and ends as a whole.
        let unified = vec![
            ("memory.max", bytes.clone()),
            ("memory.swap.max", "0".to_owned()),
            ("memory.oom.group", "1".to_owned()),
        ];
        let old = vec![("memory.limit_in_bytes", bytes.clone()), ("memory.memsw.limit_in_bytes", bytes)];
        (Controller::Memory, Setting { unified, old })
    });
    let cpu = limits.cpu_milli.map(|milli| {
        let quota = (u64::from(milli) * CPU_PERIOD_US / 1000).to_string();
        let unified = vec![("cpu.max", format!("{quota} {CPU_PERIOD_US}"))];
        let old = vec![("cpu.cfs_period_us", CPU_PERIOD_US.to_string()), ("cpu.cfs_quota_us", quota)];
        (Controller::Cpu, Setting { unified, old })
    });
    let pids = limits.pids.map(|pids| {
        let both = vec![("pids.max", pids.to_string())];
        (Controller::Pids, Setting { unified: both.clone(), old: both })
    });
    memory.into_iter().chain(cpu).chain(pids).collect()
}

/// Those that a kernel may be built without.
const OPTIONAL: [&str; 3] = ["memory.swap.max", "memory.oom.group", "memory.memsw.limit_in_bytes"];

fn set(base: &Base, group: &Path, setting: &Setting) -> Result<(), CgroupError> {
    for (file, value) in if base.is_unified { &setting.unified } else { &setting.old } {
        let path = group.join(file);
        if OPTIONAL.contains(file) && !path.exists() {
            continue;
        }
        std::fs::write(&path, value).map_err(|error| CgroupError::Failed { path, error })?;
    }
    Ok(())
}

/// Makes a group that nobody was in before: what is born in one that was killed once may be killed at once by the kernel.
fn group(base: &Base, name: &str) -> Result<GroupOrder, CgroupError> {
    let names = std::iter::once(name.to_owned()).chain((1..GROUPS).map(|number| format!("{name}.{number}")));
    let mut failed = None;
    for path in names.map(|name| base.path.join(name)) {
        // One that was left behind goes, if nobody is in it any more.
        let _ = std::fs::remove_dir(&path);
        match std::fs::create_dir(&path) {
            Ok(()) => return Ok(GroupOrder { path, is_unified: base.is_unified }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => failed = Some((path, error)),
            Err(error) => return Err(CgroupError::Failed { path, error }),
        }
    }
    let (path, error) = failed.expect("at least one was tried");
    Err(CgroupError::Failed { path, error })
}

fn folders(base: &Path, prefix: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(base).into_iter().flatten().flatten();
    let is_folder = |path: &PathBuf| path.is_dir();
    let is_wanted = |path: &PathBuf| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(prefix))
    };
    entries.map(|entry| entry.path()).filter(is_wanted).filter(is_folder).collect()
}

/// One that is not empty stays, and is removed with its instance.
fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_dir(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::debug!(path = %path.display(), %error, "a control group stays");
    }
}

enum Kind<'a> {
    Unified,
    Old { options: &'a str },
}

/// A mounted hierarchy.
struct Mount<'a> {
    point: &'a Path,
    kind: Kind<'a>,
}

impl<'a> Mount<'a> {
    /// A line of proc_pid_mountinfo(5); none if it is another file system.
    fn parse(line: &'a str) -> Option<Self> {
        let (mount, system) = line.split_once(" - ")?;
        let point = Path::new(mount.split(' ').nth(4)?);
        let mut system = system.split(' ');
        let kind = match system.next()? {
            "cgroup2" => Kind::Unified,
            "cgroup" => Kind::Old { options: system.nth(1)? },
            _ => return None,
        };
        Some(Self { point, kind })
    }

    /// Where this process is in the hierarchy (cgroups(7), `/proc/[pid]/cgroup`).
    fn own<'b>(&self, own: &'b str) -> Option<&'b str> {
        own.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            let is_this = match self.kind {
                Kind::Unified => controllers.is_empty(),
                Kind::Old { options } => {
                    !controllers.is_empty()
                        && controllers.split(',').all(|one| options.split(',').any(|option| option == one))
                }
            };
            is_this.then(|| path.trim_start_matches('/'))
        })
    }
}

/// Makes the folder of this servant: at the top where it may, else below its own group.
fn base(mount: &Mount<'_>, own: &str, servant: ServantId, wanted: &[Controller]) -> Option<PathBuf> {
    let below = mount.own(own).map(|own| mount.point.join(own));
    let places = [Some(mount.point.to_owned()), below];
    places.into_iter().flatten().find_map(|top| {
        let king = top.join(KING);
        let path = king.join(servant.to_string());
        std::fs::create_dir_all(&path).ok()?;
        if matches!(mount.kind, Kind::Unified) {
            for folder in [&top, &king, &path] {
                for controller in wanted {
                    // What cannot be handed down is found missing below.
                    let _ = std::fs::write(
                        folder.join("cgroup.subtree_control"),
                        format!("+{}", controller.name()),
                    );
                }
            }
        }
        Some(path)
    })
}

/// The controllers that a group of version 2 hands to those in it.
fn enabled(base: &Path) -> Vec<Controller> {
    let text = std::fs::read_to_string(base.join("cgroup.subtree_control")).unwrap_or_default();
    CONTROLLERS
        .into_iter()
        .filter(|one| text.split_ascii_whitespace().any(|word| word == one.name()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2: &str = "24 30 0:22 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw";
    const V1: &str = "25 30 0:23 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct";

    #[test]
    fn hierarchies_are_told_apart() {
        let own = "5:cpu,cpuacct:/a/b\n4:memory:/\n0::/user/x\n";
        let unified = Mount::parse(V2).unwrap();
        assert!(matches!(unified.kind, Kind::Unified));
        assert_eq!((unified.point, unified.own(own)), (Path::new("/sys/fs/cgroup/unified"), Some("user/x")));
        let old = Mount::parse(V1).unwrap();
        assert_eq!(old.own(own), Some("a/b"));
        assert!(Mount::parse("22 1 0:20 / /proc rw - proc proc rw").is_none());
    }

    #[test]
    fn limits_are_written_in_the_units_of_the_kernel() {
        let limits = Limits { cpu_milli: Some(500), memory_bytes: Some(1 << 20), ..Limits::default() };
        let found: Vec<_> =
            settings(&limits).into_iter().map(|(_, setting)| (setting.unified, setting.old)).collect();
        assert_eq!(found[0].0[0], ("memory.max", "1048576".to_owned()));
        assert_eq!(found[1].0, [("cpu.max", "50000 100000".to_owned())]);
        assert_eq!(found[1].1[1], ("cpu.cfs_quota_us", "50000".to_owned()));
    }

    #[test]
    fn what_the_host_lacks_is_refused_and_not_left_out() {
        let nothing = Cgroups::default();
        let id = InstanceId(uuid::Uuid::nil());
        let limits = Limits { pids: Some(5), ..Limits::default() };
        let error = nothing.make(id, 0, &limits).unwrap_err().to_string();
        assert!(error.starts_with("this host cannot limit pids"), "{error}");
        assert_eq!(nothing.make(id, 0, &Limits::default()).unwrap(), []);
        assert_eq!(nothing.capabilities()[LIMITS_MEMORY], "of each process");
    }
}
