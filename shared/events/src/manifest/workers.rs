//! Workers: several processes of one instance, and how they share what they listen on.

use super::{ManifestError, Process, Restart, broken};
use crate::limits::{WORKER_CPU_PERCENT, WORKERS};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr};

/// What a worker may use of one CPU before there are more of them, unless the manifest says otherwise, in percent.
pub const WORKER_CPU: u16 = 70;

/// How many processes an instance runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workers {
    /// Fewest; as many as the host has CPUs when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<u16>,
    /// Most; as many as the host has CPUs when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u16>,
    /// What they may use of one CPU each, on average, before there are more, in percent.
    pub cpu: u16,
    /// How they come to their sockets.
    #[serde(default, skip_serializing_if = "Listen::is_shared")]
    pub listen: Listen,
    /// Where the shared sockets are bound; the loopback when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
}

/// How workers come to their sockets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Listen {
    /// One socket for each port, bound once and handed to all of them by `LISTEN_FDS`, as sd_listen_fds(3) says.
    #[default]
    Shared,
    /// Each binds a port of its own: the first worker the first port of the manifest, and so on.
    Own,
}

impl Listen {
    fn is_shared(&self) -> bool {
        *self == Self::Shared
    }
}

impl Workers {
    /// As many as the host has CPUs.
    pub const AUTO: Self =
        Self { min: None, max: None, cpu: WORKER_CPU, listen: Listen::Shared, address: None };

    /// Always so many.
    pub const fn fixed(count: u16) -> Self {
        Self { min: Some(count), max: Some(count), ..Self::AUTO }
    }

    /// Fewest and most on a host with so many CPUs, for a process type with so many ports.
    pub fn range(&self, cpus: u16, ports: usize) -> (u16, u16) {
        let places = match self.listen {
            Listen::Shared => WORKERS,
            Listen::Own => u16::try_from(ports).unwrap_or(WORKERS),
        };
        let places = places.clamp(1, WORKERS);
        let min = self.min.unwrap_or(cpus).clamp(1, places);
        (min, self.max.unwrap_or(cpus).clamp(min, places))
    }

    /// Where the shared sockets are bound.
    pub fn bound_to(&self) -> IpAddr {
        self.address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    pub(super) fn check(&self, at: &str, process: &Process) -> Result<(), ManifestError> {
        for (field, count) in [("min", self.min), ("max", self.max)] {
            if let Some(count) = count.filter(|count| !(1..=WORKERS).contains(count)) {
                return broken(format!("{at}.{field}"), format!("is {count}; from 1 to {WORKERS}"));
            }
        }
        if let (Some(min), Some(max)) = (self.min, self.max)
            && min > max
        {
            return broken(format!("{at}.min"), format!("is {min}, more than `max`, which is {max}"));
        }
        if !WORKER_CPU_PERCENT.contains(&self.cpu) {
            let (least, most) = WORKER_CPU_PERCENT.into_inner();
            let rule = format!("is {}; from {least} to {most} percent of one CPU", self.cpu);
            return broken(format!("{at}.cpu"), rule);
        }
        if process.restart != Restart::Always {
            let rule = "are replaced whenever they end, so they need `restart: always`; leave `restart` away";
            return broken(at, rule);
        }
        if process.image.is_some() {
            return broken(at, "are processes of the host, and a container has one; leave `workers` away");
        }
        match self.listen {
            Listen::Shared => Ok(()),
            Listen::Own => self.check_own_ports(at, process.ports.len()),
        }
    }

    fn check_own_ports(&self, at: &str, ports: usize) -> Result<(), ManifestError> {
        if self.address.is_some() {
            let rule =
                "says where shared sockets are bound; with `listen: own` the app binds its port itself";
            return broken(format!("{at}.address"), rule);
        }
        let most = usize::from(self.max.or(self.min).unwrap_or(1));
        if ports < most {
            let rule =
                format!("is `own`, which needs a port for each of {most} workers; `ports` names {ports}");
            return broken(format!("{at}.listen"), rule);
        }
        Ok(())
    }
}
