//! How a process type is held: what it may use, as whom it runs, how it is told to end and what it waits for.

use super::{Manifest, ManifestError, broken};
use crate::ProcessName;
use crate::limits::{CPU_MILLI, LIMIT_MEMORY_BYTES, OPEN_FILES, PIDS, USER_BYTES};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// How a process type is held. Each part may be absent, and then stands in no bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Supervision {
    /// What one instance may use at most.
    #[serde(default, skip_serializing_if = "Limits::is_empty")]
    pub limits: Limits,
    /// The user of the host that it runs as; the servant's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// What tells it to end; SIGTERM when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<StopSignal>,
    /// Process types of the same app: on a host, its instances start once those there are healthy.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub after: BTreeSet<ProcessName>,
}

/// What one instance may use at most, all its processes together but for `open_files`, which holds for each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Time on processors, in thousandths of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_milli: Option<u32>,
    /// Processes and threads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_files: Option<u32>,
    /// From -20, the most favoured, to 19.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nice: Option<i8>,
}

/// The capability of a servant that can limit memory, and of those that can limit the others.
pub const LIMITS_MEMORY: &str = "limit-memory";
pub const LIMITS_CPU: &str = "limit-cpu";
pub const LIMITS_PIDS: &str = "limit-pids";

impl Limits {
    /// Nothing is limited.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What a servant must be able to do so that they hold.
    pub fn needs(&self) -> impl Iterator<Item = &'static str> {
        let memory = self.memory_bytes.map(|_| LIMITS_MEMORY);
        let cpu = self.cpu_milli.map(|_| LIMITS_CPU);
        memory.into_iter().chain(cpu).chain(self.pids.map(|_| LIMITS_PIDS))
    }

    fn check(&self, at: &str) -> Result<(), ManifestError> {
        let rules = [
            ("memory", self.memory_bytes, LIMIT_MEMORY_BYTES),
            ("cpu", self.cpu_milli.map(u64::from), CPU_MILLI),
            ("pids", self.pids.map(u64::from), PIDS),
            ("open_files", self.open_files.map(u64::from), OPEN_FILES),
        ];
        for (field, value, range) in rules {
            if let Some(value) = value.filter(|value| !range.contains(value)) {
                let unit = match field {
                    "memory" => " bytes",
                    "cpu" => " thousandths of a processor",
                    _ => "",
                };
                let (first, last) = (range.start(), range.end());
                return broken(format!("{at}.{field}"), format!("is {value}{unit}; from {first} to {last}"));
            }
        }
        match self.nice {
            Some(nice) if !(-20..=19).contains(&nice) => {
                broken(format!("{at}.nice"), format!("is {nice}; from -20 to 19"))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// A signal that tells a process to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum StopSignal {
    SigTerm,
    SigInt,
    SigQuit,
    SigHup,
    SigUsr1,
    SigUsr2,
    SigWinch,
}

impl StopSignal {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::SigTerm,
        Self::SigInt,
        Self::SigQuit,
        Self::SigHup,
        Self::SigUsr1,
        Self::SigUsr2,
        Self::SigWinch,
    ];

    /// Its number (signal(7)).
    pub fn number(self) -> i32 {
        match self {
            Self::SigTerm => 15,
            Self::SigInt => 2,
            Self::SigQuit => 3,
            Self::SigHup => 1,
            Self::SigUsr1 => 10,
            Self::SigUsr2 => 12,
            Self::SigWinch => 28,
        }
    }
}

/// The name of a signal, as in signal(7); its number where it has none.
pub fn signal_name(signal: i32) -> String {
    const NAMES: [&str; 31] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
        "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
        "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
    ];
    let name = usize::try_from(signal - 1).ok().and_then(|index| NAMES.get(index));
    name.map_or_else(|| format!("signal {signal}"), |name| format!("SIG{name}"))
}

impl Supervision {
    /// Nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn check(&self, at: &str) -> Result<(), ManifestError> {
        self.limits.check(&format!("{at}.limits"))?;
        if let Some(user) = &self.user {
            let plain = user.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
            if !plain || user.is_empty() || user.len() > USER_BYTES || user.starts_with('-') {
                let rule =
                    format!("is not the name of a user: 1 to {USER_BYTES} of a-z, 0-9, '-', '_' and '.'");
                return broken(format!("{at}.user"), rule);
            }
        }
        Ok(())
    }
}

/// Every process type waits for known ones, and none for itself, however far around.
pub(super) fn check_order(manifest: &Manifest) -> Result<(), ManifestError> {
    for (name, process) in &manifest.processes {
        let at = format!("processes.{name}.after");
        let unknown = process.supervision.after.iter().find(|one| !manifest.processes.contains_key(*one));
        if let Some(unknown) = unknown {
            return broken(at, format!("names {unknown:?}, which is no process type of this app"));
        }
        if waits_for(manifest, name).contains(name) {
            return broken(at, "leads back to itself: nothing of that could ever start");
        }
    }
    Ok(())
}

/// All that a process type waits for, directly or not.
fn waits_for<'a>(manifest: &'a Manifest, name: &ProcessName) -> BTreeSet<&'a ProcessName> {
    let direct = |name: &ProcessName| manifest.processes.get(name).map(|process| &process.supervision.after);
    let mut found = BTreeSet::new();
    let mut open: Vec<&ProcessName> = direct(name).into_iter().flatten().collect();
    while let Some(next) = open.pop() {
        if found.insert(next) {
            open.extend(direct(next).into_iter().flatten());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_their_names() {
        let names = StopSignal::ALL.map(|signal| {
            assert_eq!(serde_json::to_value(signal).unwrap(), signal_name(signal.number()));
            signal_name(signal.number())
        });
        assert_eq!(names[0], "SIGTERM");
        assert_eq!((signal_name(9), signal_name(11)), ("SIGKILL".into(), "SIGSEGV".into()));
        assert_eq!((signal_name(0), signal_name(40)), ("signal 0".into(), "signal 40".into()));
    }
}
