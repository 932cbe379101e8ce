//! The flags of a servant.

use crate::reconcile::Settings;
use crate::reconcile::scale::Windows;
use crate::{disk, host};
use anyhow::{Result, ensure};
use clap::Parser;
use events::label::{LabelValue, parse_label};
use events::report::PortRange;
use events::{DomainName, LabelName, ServantName};
use service::CommonArgs;
use std::path::PathBuf;

/// The agent on a host: runs the instances that the King assigns to it, watches them and reports.
///
/// Its instances outlive it: each has a small holder process of its own. When the servant is started again on the same
/// data folder, it finds them as they are.
#[derive(Clone, Debug, Parser)]
#[command(name = "servant", version, after_help = EXAMPLES)]
pub struct Args {
    /// The name of this servant, a DNS label [default: the host's name]
    #[arg(long, env = "KING_SERVANT", value_name = "NAME")]
    pub name: Option<ServantName>,

    /// The domain that it belongs to: its Foreman's.
    #[arg(long, env = "KING_DOMAIN", value_name = "NAME", default_value = "default")]
    pub domain: DomainName,

    /// A label, by which commands choose servants; again for more (in the environment separated by commas).
    #[arg(long = "label", env = "KING_LABELS", value_name = "NAME=VALUE", value_delimiter = ',', value_parser = parse_label)]
    pub labels: Vec<(LabelName, LabelValue)>,

    /// The ports that the King may give to instances here, both ends included.
    #[arg(long, env = "KING_PORTS", value_name = "FIRST-LAST", default_value = "20000-24999", value_parser = parse_ports)]
    pub ports: PortRange,

    /// Run no arbitrary commands here: the King refuses them, and says so. Without it whoever may speak to the kingdom
    /// can run anything as this servant's user.
    #[arg(long, env = "KING_NO_EXEC")]
    pub no_exec: bool,

    /// Stop the instances too when the servant is told to stop; they run again when it is back.
    #[arg(long, env = "KING_STOP_INSTANCES_ON_EXIT")]
    pub stop_instances_on_exit: bool,

    /// How long an instance must be healthy after a crash loop to count as steady, in milliseconds.
    #[arg(long, env = "KING_STEADY_MS", value_name = "MS", default_value_t = 30_000)]
    pub steady_ms: u64,

    /// How full the disk of the data folder may be before old releases and the like are removed, in percent.
    #[arg(long, env = "KING_DISK_HIGH", value_name = "PERCENT", default_value_t = 85, value_parser = clap::value_parser!(u8).range(1..=99))]
    pub disk_high: u8,

    /// How full it may be before nothing new is placed here, in percent. A disk with 16 GiB free is never full.
    #[arg(long, env = "KING_DISK_CRITICAL", value_name = "PERCENT", default_value_t = 95, value_parser = clap::value_parser!(u8).range(2..=100))]
    pub disk_critical: u8,

    /// How many unused releases of each app are kept while there is room, for a quick way back.
    #[arg(long, env = "KING_KEEP_RELEASES", value_name = "COUNT", default_value_t = 3, value_parser = clap::value_parser!(u16).range(0..=1000))]
    pub keep_releases: u16,

    /// How long they are kept, in days.
    #[arg(long, env = "KING_KEEP_DAYS", value_name = "DAYS", default_value_t = 7, value_parser = clap::value_parser!(u16).range(0..=3650))]
    pub keep_days: u16,

    /// How much output of instances that are gone waits here until it can be stored, in megabytes; never more than a tenth of
    /// the disk. Beyond that the oldest is given up, and a gap tells how much it was.
    #[arg(long, env = "KING_KEEP_OUTPUT", value_name = "MB", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub keep_output: u32,

    /// How long workers must be too busy before there are more, in milliseconds.
    #[arg(long, env = "KING_GROW_MS", value_name = "MS", default_value_t = Windows::default().grow_ms)]
    pub grow_ms: u64,

    /// How long fewer workers must be enough before one is taken away, in milliseconds.
    #[arg(long, env = "KING_SHRINK_MS", value_name = "MS", default_value_t = Windows::default().shrink_ms)]
    pub shrink_ms: u64,

    /// Where builds and instances look for programs.
    #[arg(
        long,
        env = "PATH",
        hide_env_values = true,
        value_name = "PATH",
        default_value = "/usr/local/bin:/usr/bin:/bin"
    )]
    pub path: String,

    /// The socket of the Docker engine that runs containers; without an engine there, none are run.
    #[arg(long, env = "KING_DOCKER_SOCKET", value_name = "PATH", default_value = "/var/run/docker.sock")]
    pub docker_socket: PathBuf,

    #[command(flatten)]
    pub common: CommonArgs,
}

impl Args {
    /// What the reconciler goes by.
    pub fn settings(&self) -> Settings {
        Settings {
            steady_ms: self.steady_ms,
            cpus: u16::try_from(host::cpus()).unwrap_or(u16::MAX),
            windows: Windows { grow_ms: self.grow_ms, shrink_ms: self.shrink_ms },
            ..Settings::default()
        }
    }

    /// How the disk is kept from filling.
    ///
    /// # Errors
    /// When it would be full before it is too full.
    pub fn disk_settings(&self) -> Result<disk::policy::Settings> {
        ensure!(
            self.disk_high < self.disk_critical,
            "--disk-high {} must be below --disk-critical {}",
            self.disk_high,
            self.disk_critical
        );
        Ok(disk::policy::Settings {
            high_percent: self.disk_high,
            critical_percent: self.disk_critical,
            keep_releases: self.keep_releases.into(),
            keep_ms: u64::from(self.keep_days) * DAY_MS,
            output_bytes: u64::from(self.keep_output) << 20,
        })
    }
}

const DAY_MS: u64 = 24 * 3_600_000;

const EXAMPLES: &str = "\
Examples:
  servant                                       # one servant on this host, everything by default
  servant --name left --data /srv/king          # its data in /srv/king/servant-left
  servant --ports 30000-30999 --domain berlin
  servant --label role=web --label zone=east    # kingctl exec --selector role=web reaches it
  KING_NATS=nats://127.0.0.1:4333 servant --log-format json

A servant that is told to stop (SIGTERM) leaves its instances running, unless --stop-instances-on-exit is given.";

fn parse_ports(text: &str) -> std::result::Result<PortRange, String> {
    let wrong = || format!("{text:?} is not a range of ports like 20000-24999");
    let (first, last) = text.split_once('-').ok_or_else(wrong)?;
    let range = PortRange {
        first: first.trim().parse().map_err(|_| wrong())?,
        last: last.trim().parse().map_err(|_| wrong())?,
    };
    if range.first < 1024 || range.first > range.last {
        return Err(format!("{text:?}: the first port must be at least 1024 and not above the last"));
    }
    Ok(range)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_flags_are_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn labels_come_one_by_one_or_in_a_list() {
        let one = |name: &str, value: &str| (name.parse().expect("a name"), value.parse().expect("a value"));
        let args = Args::try_parse_from(["servant", "--label", "role=web", "--label", "zone=east,disk=SSD"]);
        let wanted = vec![one("role", "web"), one("zone", "east"), one("disk", "SSD")];
        assert_eq!(args.expect("they are labels").labels, wanted);
        for bad in ["role", "role=", "=web", "Role=web", "role=a b"] {
            assert!(Args::try_parse_from(["servant", "--label", bad]).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_disk_is_too_full_before_it_is_full() {
        let parse =
            |flags: &[&str]| Args::try_parse_from([&["servant"], flags].concat()).expect("they are numbers");
        let settings = parse(&["--keep-days", "2"]).disk_settings().expect("the usual ones are sound");
        assert_eq!(
            (settings.high_percent, settings.critical_percent, settings.keep_ms),
            (85, 95, 2 * DAY_MS)
        );
        assert!(parse(&["--disk-high", "95"]).disk_settings().is_err());
        assert!(Args::try_parse_from(["servant", "--disk-high", "100"]).is_err());
    }

    #[test]
    fn port_ranges_are_checked() {
        assert_eq!(parse_ports("30000-30010"), Ok(PortRange { first: 30_000, last: 30_010 }));
        for bad in ["", "1-2", "30000", "30010-30000", "30000-70000", "a-b"] {
            assert!(parse_ports(bad).is_err(), "{bad}");
        }
    }
}
