//! The control group of an instance, where it has one of its own: its processor time is exact, whatever came and went in
//! it. Version 2, or the controller `cpuacct` of version 1. See cgroups(7).

use super::proc::{Buffer, ProcFile, lines, number, words};
use events::InstanceId;
use std::path::{Path, PathBuf};

/// The processor time of a control group.
pub struct Group {
    file: ProcFile,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// `cpu.stat` of version 2.
    Two,
    /// `cpuacct.usage` of version 1.
    One,
}

impl Group {
    /// The group of this process, if it is the instance's own: named after it.
    pub fn of(pid: u32, instance: InstanceId) -> Option<Self> {
        let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
        let names = [instance.to_string(), instance.0.simple().to_string()];
        [Kind::Two, Kind::One].into_iter().find_map(|kind| {
            let path = path_in(&groups, kind).filter(|path| names.iter().any(|name| path.contains(name)))?;
            let folder = mount(&mounts, kind)?.join(path.trim_start_matches('/'));
            Some(Self { file: ProcFile::open(folder.join(kind.file())).ok()?, kind })
        })
    }

    /// One whose time stands in this file.
    #[cfg(test)]
    pub fn told_by(file: &Path) -> Self {
        Self { file: ProcFile::open(file).unwrap(), kind: Kind::Two }
    }

    /// What all that was ever in it has used, in microseconds; none when it is gone.
    pub fn used_us(&self, buffer: &mut Buffer) -> Option<u64> {
        self.kind.used_us(self.file.read_short(buffer).ok()?)
    }
}

impl Kind {
    fn file(self) -> &'static str {
        match self {
            Self::Two => "cpu.stat",
            Self::One => "cpuacct.usage",
        }
    }

    fn used_us(self, text: &[u8]) -> Option<u64> {
        match self {
            Self::Two => lines(text).find_map(|line| number(line.strip_prefix(b"usage_usec ")?)),
            Self::One => words(text).next().and_then(number).map(|nanos| nanos / 1000),
        }
    }
}

/// The path of a process in a hierarchy: `0::/path`, or `2:cpu,cpuacct:/path`.
fn path_in(groups: &str, kind: Kind) -> Option<&str> {
    groups.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (number, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let fits = match kind {
            Kind::Two => number == "0" && controllers.is_empty(),
            Kind::One => controllers.split(',').any(|name| name == "cpuacct"),
        };
        fits.then_some(path)
    })
}

/// Where a hierarchy is mounted: a line of `mountinfo`, proc(5).
fn mount(mounts: &str, kind: Kind) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (first, second) = line.split_once(" - ")?;
        let mut second = second.split(' ');
        let (system, options) = (second.next()?, second.nth(1)?);
        let fits = match kind {
            Kind::Two => system == "cgroup2",
            Kind::One => system == "cgroup" && options.split(',').any(|option| option == "cpuacct"),
        };
        fits.then(|| first.split(' ').nth(4).map(|point| Path::new(point).to_owned()))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
30 25 0:26 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755
31 30 0:27 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw
35 30 0:31 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid - cgroup cgroup rw,cpu,cpuacct
";

    #[test]
    fn groups_are_found_in_both_versions() {
        assert_eq!(mount(MOUNTS, Kind::Two), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(mount(MOUNTS, Kind::One), Some("/sys/fs/cgroup/cpu,cpuacct".into()));
        let groups = "4:memory:/a\n2:cpu,cpuacct:/king/x\n0::/king/y\n";
        assert_eq!(
            (path_in(groups, Kind::Two), path_in(groups, Kind::One)),
            (Some("/king/y"), Some("/king/x"))
        );
        assert_eq!((mount("", Kind::Two), path_in("", Kind::One)), (None, None));
    }

    #[test]
    fn the_time_is_read_in_both_versions() {
        assert_eq!(Kind::Two.used_us(b"usage_usec 1234\nuser_usec 1000\n"), Some(1234));
        assert_eq!(Kind::One.used_us(b"5678000\n"), Some(5678));
        assert_eq!(Kind::Two.used_us(b"nothing"), None);
    }

    #[test]
    fn the_group_of_somebody_else_is_not_taken() {
        assert!(Group::of(std::process::id(), InstanceId(uuid::Uuid::from_u128(7))).is_none());
    }
}
