//! What is started, and with which flags: the only place that knows the command lines of the programs.

use super::UpArgs;
use super::nats::{self, Layout};
use crate::failure::Failure;
use anyhow::anyhow;
use service::data::Folder;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a program may take to end.
const GRACE: Duration = Duration::from_secs(10);
/// How long a Servant may take: its instances have a grace of their own.
const SERVANT_GRACE: Duration = Duration::from_secs(40);

/// Ports for instances, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    first: u16,
    last: u16,
}

/// `20000-24999`.
///
/// # Errors
/// When the text is no such range.
pub fn parse_ports(text: &str) -> Result<Ports, String> {
    let range = text
        .split_once('-')
        .and_then(|(first, last)| Some(Ports { first: first.parse().ok()?, last: last.parse().ok()? }));
    match range {
        Some(ports) if ports.first > 0 && ports.first <= ports.last => Ok(ports),
        Some(_) | None => Err(format!("{text:?} is not a range of ports like 20000-24999")),
    }
}

impl Ports {
    /// The part of one of so many; the last ones of an uneven division stay unused.
    fn share(self, index: u16, of: u16) -> Result<Self, Failure> {
        let each = (self.last - self.first + 1) / of.max(1);
        if each == 0 {
            return Err(Failure::Usage(format!(
                "{} ports are too few for {of} Servants; give more with --ports",
                self.last - self.first + 1
            )));
        }
        let first = self.first + index * each;
        Ok(Self { first, last: first + (each - 1) })
    }
}

/// One program to start.
#[derive(Clone, Debug)]
pub struct Program {
    /// Its name here, and that of its log and pid file.
    pub name: String,
    pub path: PathBuf,
    pub arguments: Vec<OsString>,
    pub log: PathBuf,
    pub pid: PathBuf,
    /// How long it may take to end before it is killed.
    pub grace: Duration,
}

/// Everything to start.
#[derive(Debug)]
pub struct Plan {
    pub layout: Layout,
    pub http: SocketAddr,
    /// One, or the three of a cluster, which need each other.
    pub nats: Vec<Program>,
    pub king: Program,
    /// The Kings that follow the first one.
    pub backups: Vec<Program>,
    /// Foreman, Servants, Alerter.
    pub others: Vec<Program>,
}

impl Plan {
    /// Makes the plan, and the files that it needs.
    ///
    /// # Errors
    /// When a program is missing or a file cannot be written.
    pub fn of(args: &UpArgs, layout: Layout, data: &Path, folder: &Folder) -> Result<Self, Failure> {
        let pids = folder.join("pids");
        let maker = Maker { args, nats_url: layout.url(), data, programs: programs(args)?, pids };
        maker.make_folders()?;
        let servers = nats::prepare(data, layout)?;
        let mut others = vec![maker.service("foreman", "foreman", &[])?];
        for index in 0..args.servants {
            others.push(maker.servant(index)?);
        }
        others.push(maker.service("alerter", "alerter", &[])?);
        Ok(Self {
            layout,
            http: args.http,
            nats: servers.configs.iter().map(|(name, config)| maker.nats(name, config)).collect(),
            king: maker.king(0, &servers.system_password_file)?,
            backups: (1..args.kings)
                .map(|index| maker.king(index, &servers.system_password_file))
                .collect::<Result<_, _>>()?,
            others,
        })
    }
}

/// Where a King serves HTTP.
///
/// # Errors
/// When there is no such port.
pub fn king_address(first: SocketAddr, index: u16) -> Result<SocketAddr, Failure> {
    let port = first.port().checked_add(index).ok_or_else(|| {
        Failure::Usage(format!(
            "there is no port {index} after {}; choose a lower one with --http",
            first.port()
        ))
    })?;
    Ok(SocketAddr::new(first.ip(), port))
}

struct Maker<'a> {
    args: &'a UpArgs,
    nats_url: String,
    data: &'a Path,
    programs: PathBuf,
    pids: PathBuf,
}

impl Maker<'_> {
    fn make_folders(&self) -> Result<(), Failure> {
        std::fs::create_dir_all(self.data.join("log"))?;
        Ok(std::fs::create_dir_all(&self.pids)?)
    }

    fn program(&self, name: &str, path: PathBuf, arguments: Vec<OsString>, grace: Duration) -> Program {
        Program {
            log: self.data.join("log").join(format!("{name}.log")),
            pid: self.pids.join(name),
            name: name.to_owned(),
            path,
            arguments,
            grace,
        }
    }

    /// A King; the further ones have folders of their own and the ports after the first one's.
    fn king(&self, index: u16, password_file: &Path) -> Result<Program, Failure> {
        let http = king_address(self.args.http, index)?;
        let flags = [
            "--http".into(),
            http.to_string().into(),
            "--nats-system-user".into(),
            nats::SYSTEM_USER.into(),
            "--nats-system-password-file".into(),
            password_file.into(),
        ];
        if index == 0 {
            return self.service("king", "king", &flags);
        }
        let name = format!("king-{}", index + 1);
        self.service_in(&self.data.join("kings").join(&name), &name, "king", &flags)
    }

    /// One of the kingdom's own programs, with the flags that all of them share.
    fn service(&self, name: &str, program: &str, flags: &[OsString]) -> Result<Program, Failure> {
        self.service_in(self.data, name, program, flags)
    }

    fn service_in(
        &self,
        data: &Path,
        name: &str,
        program: &str,
        flags: &[OsString],
    ) -> Result<Program, Failure> {
        let path = self.programs.join(program);
        if !path.is_file() {
            return Err(Failure::NotFound(format!(
                "the program {} is missing; build all of them with `make build`, or name their folder with --programs",
                path.display()
            )));
        }
        let mut arguments = vec!["--nats".into(), self.nats_url.clone().into(), "--data".into(), data.into()];
        arguments.extend_from_slice(flags);
        Ok(self.program(name, path, arguments, GRACE))
    }

    fn servant(&self, index: u16) -> Result<Program, Failure> {
        let name = format!("s{}", index + 1);
        let ports = self.args.ports.share(index, self.args.servants)?;
        let flags = [
            "--name".into(),
            name.clone().into(),
            "--ports".into(),
            format!("{}-{}", ports.first, ports.last).into(),
            "--stop-instances-on-exit".into(),
        ];
        let program = self.service(&format!("servant-{name}"), "servant", &flags)?;
        Ok(Program { grace: SERVANT_GRACE, ..program })
    }

    fn nats(&self, name: &str, config: &Path) -> Program {
        let arguments = vec!["--config".into(), config.into()];
        self.program(name, nats_server(self.args, &self.programs), arguments, GRACE)
    }
}

/// The folder of the programs.
fn programs(args: &UpArgs) -> Result<PathBuf, Failure> {
    if let Some(folder) = &args.programs {
        return Ok(folder.clone());
    }
    let own = std::env::current_exe()?;
    let folder =
        own.parent().ok_or_else(|| anyhow!("kingctl does not know its own folder; give --programs"))?;
    Ok(folder.to_owned())
}

/// The one that is named; or that of scripts/bootstrap, above target/release; or the one on the PATH.
fn nats_server(args: &UpArgs, programs: &Path) -> PathBuf {
    if let Some(program) = &args.nats_server {
        return program.clone();
    }
    let candidates = [
        programs.join("nats-server"),
        programs.join("../../.tools/bin/nats-server"),
        PathBuf::from(".tools/bin/nats-server"),
    ];
    let found = candidates.into_iter().find(|candidate| candidate.is_file());
    found.unwrap_or_else(|| PathBuf::from("nats-server"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_shared_out_without_overlap() {
        let all = parse_ports("20000-24999").expect("a range");
        let shares: Vec<_> = (0..3).map(|index| all.share(index, 3).expect("enough")).collect();
        assert_eq!(shares[0], Ports { first: 20000, last: 21665 });
        assert_eq!(shares[1].first, shares[0].last + 1);
        assert!(shares[2].last <= 24999);
        assert!(parse_ports("1-2").expect("a range").share(0, 3).is_err());
        let whole = parse_ports("1-65535").expect("a range");
        assert_eq!(whole.share(0, 1).expect("enough"), whole);
    }

    #[test]
    fn ranges_are_checked() {
        for text in ["", "1", "0-5", "9-3", "1-70000", "a-b", "-"] {
            assert!(parse_ports(text).is_err(), "{text}");
        }
    }
}
